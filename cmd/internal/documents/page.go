package documents

import (
	"errors"
	"fmt"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit/merkle"
)

// A page is one answer of the server to statement.
type page struct {
	opening, closing atm.Amount
	next             string
	since            string // the server has no older movements; empty when it has all
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
	f := &fields{of: answer}
	p := &page{opening: f.money("opening"), closing: f.money("closing"), next: f.text("next")}
	p.since, _ = answer.Get("since").(string) // which earlier answers do not have
	for i, record := range member[[]atm.Record](f, "entries") {
		row, err := readRow(record, proved)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", i+1, err)
		}
		p.rows = append(p.rows, row)
	}
	return p, f.err
}

func readRow(record atm.Record, proved bool) (pageRow, error) {
	f := &fields{of: record}
	row := pageRow{Movement: Movement{
		Index: member[int64](f, "index"), Time: f.time("time"),
		Operation: atm.Operation(f.text("operation")), Amount: f.money("amount"),
		Balance: f.money("balance"), Counterparty: f.text("counterparty"), Memo: f.text("memo"),
	}}
	row.Reverses, _ = record.Get("reverses").(int64) // an empty text for none
	if proved {
		row.version, row.leaf = uint64(member[int64](f, "version")), f.hash("leaf")
	}
	for _, field := range record {
		if field.Name != "version" && field.Name != "leaf" {
			row.record = append(row.record, field)
		}
	}
	return row, f.err
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
	case p.since != "":
		return fmt.Errorf("the server has the movements since %s alone: let the statement "+
			"begin then, or later", p.since)
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
