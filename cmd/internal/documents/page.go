package documents

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/tlog"
)

// A page is one answer of the server to statement.
type page struct {
	opening, closing atm.Amount
	next             string
	rows             []pageRow
}

// A pageRow is one row of a page. The last two are in a page that is proved.
type pageRow struct {
	Movement
	version uint64
	leaf    merkle.Hash
}

// readPage reads an answer.
func readPage(answer atm.Record, proved bool) (*page, error) {
	p := &page{}
	var err, failed error
	if p.opening, err = money(answer, "opening"); err != nil {
		failed = err
	}
	if p.closing, err = money(answer, "closing"); err != nil {
		failed = err
	}
	if p.next, err = member[string](answer, "next"); err != nil {
		failed = err
	}
	rows, err := member[[]atm.Record](answer, "entries")
	if err != nil {
		failed = err
	}
	for i := range rows {
		row, err := readRow(rows[i], proved)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		p.rows = append(p.rows, row)
	}
	return p, failed
}

func readRow(record atm.Record, proved bool) (row pageRow, err error) {
	var at, operation, leaf string
	var version int64
	var failed []error
	note := func(err error) { failed = append(failed, err) }
	row.Index, err = member[int64](record, "index")
	note(err)
	at, err = member[string](record, "time")
	note(err)
	row.Time, err = time.Parse(audit.TimeFormat, at)
	note(err)
	operation, err = member[string](record, "operation")
	note(err)
	row.Operation = atm.Operation(operation)
	row.Amount, err = money(record, "amount")
	note(err)
	row.Balance, err = money(record, "balance")
	note(err)
	row.Counterparty, err = member[string](record, "counterparty")
	note(err)
	row.Memo, err = member[string](record, "memo")
	note(err)
	row.Reverses, _ = record.Get("reverses").(int64) // empty for none
	for _, field := range record {
		if field.Name != "version" && field.Name != "leaf" {
			row.record = append(row.record, field)
		}
	}
	if !proved {
		return row, errors.Join(failed...)
	}
	version, err = member[int64](record, "version")
	note(err)
	row.version = uint64(version)
	leaf, err = member[string](record, "leaf")
	note(err)
	row.leaf, err = tlog.ParseHash(leaf)
	note(err)
	return row, errors.Join(failed...)
}

func money(record atm.Record, name string) (atm.Amount, error) {
	text, err := member[string](record, name)
	if err != nil {
		return 0, err
	}
	amount, ok := audit.ParseMoney(text)
	if !ok {
		return 0, fmt.Errorf("%s is %q", name, text)
	}
	return amount, nil
}

// errChain reports rows that do not follow each other.
var errChain = errors.New("the rows do not follow each other")

// A chain joins the pages of a statement, from the newest to the oldest, and looks whether each
// row follows from the one before it.
type chain struct {
	Statement
	proved   bool // rows have versions, which are contiguous
	begun    bool
	pages    int
	versions int
	cursor   string     // of the next page; empty before the first and after the last
	version  uint64     // of the row that was added last
	before   atm.Amount // the balance before it
}

// add adds the page that is next.
func (c *chain) add(p *page) error {
	switch {
	case !c.begun:
		c.Opening, c.Closing, c.before = p.opening, p.closing, p.closing
	case c.cursor == "":
		return fmt.Errorf("%w: there is a page after the last", errChain)
	case p.opening != c.Opening:
		return fmt.Errorf("%w: the opening balance is %s, and was %s", errChain, p.opening,
			c.Opening)
	}
	for i := range p.rows {
		if err := c.addRow(&p.rows[i]); err != nil {
			return err
		}
	}
	c.pages++
	if c.versions > MaxVersions || c.pages > maxPages {
		return fmt.Errorf("there are more than %d changes of the account: choose a shorter time",
			MaxVersions)
	}
	c.begun, c.cursor = true, p.next
	if c.cursor != "" {
		return nil
	}
	switch {
	case c.before != c.Opening:
		return fmt.Errorf("%w: the oldest begins at %s, and the opening balance is %s", errChain,
			c.before, c.Opening)
	case c.proved && c.From == "" && c.version > 1:
		return fmt.Errorf("%w: it ends at version %d, before the first", errChain, c.version)
	}
	return nil
}

func (c *chain) addRow(row *pageRow) error {
	newest := c.versions == 0
	c.versions++
	switch {
	case row.Balance != c.before:
		return fmt.Errorf("%w: entry %d leaves %s, and what follows it begins at %s", errChain,
			row.Index, row.Balance, c.before)
	case c.proved && !newest && row.version+1 != c.version:
		return fmt.Errorf("%w: version %d of the account comes after version %d", errChain,
			c.version, row.version)
	case c.proved && row.version == 0:
		return fmt.Errorf("%w: entry %d makes version 0", errChain, row.Index)
	}
	c.version, c.before = row.version, row.Balance-row.Amount
	if row.Amount != 0 || row.version == 1 || !c.proved {
		c.Movements = append(c.Movements, row.Movement)
	}
	return nil
}

const (
	limit    = 500 // rows of a page
	maxPages = 1000
)

// asked is what the entry of a page says that was asked for.
func asked(cursor, from, to string) string {
	text := ""
	for _, m := range [][2]string{
		{"cursor", cursor},
		{"from", from},
		{"limit", strconv.Itoa(limit)},
		{"proof", "1"},
		{"to", to},
	} {
		if m[1] != "" {
			text += " " + m[0] + "=" + m[1]
		}
	}
	return text[1:]
}
