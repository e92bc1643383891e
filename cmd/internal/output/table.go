package output

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/printable"
	"golang.org/x/term"
	"golang.org/x/text/width"
)

// A Table is a list for people. The most important columns come first: if a terminal is too
// narrow, the cells of the last columns are cut, and then left out, but numbers are never cut.
// If w is not a terminal, every cell is whole.
type Table struct {
	to       io.Writer
	terminal *os.File // nil for none
	paged    bool
	heading  []string
	rows     [][]string
	columns  []column // none before the first Flush
}

// A column has the widths of its cells, in columns of a terminal.
type column struct {
	width  int
	number bool // all its cells are: they stand on the right, and are never cut
	hidden bool // the terminal is too narrow for it
}

// gap separates two cells.
const gap = "  "

// NewTable begins a table. If paged is set, a table that is longer than the terminal goes
// through the pager.
func NewTable(w io.Writer, paged bool, names ...string) *Table {
	t := &Table{to: w, terminal: exit.Terminal(w), paged: paged}
	for _, name := range names {
		t.heading = append(t.heading, strings.ToUpper(name))
	}
	return t
}

// Row adds a row. Cells are made printable; an empty one is shown as a dash.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, text := range cells {
		if row[i] = printable.Cell(text); text == "" {
			row[i] = "-"
		}
	}
	t.rows = append(t.rows, row)
}

// Reserve makes the columns wide enough for these cells, without printing them. It is for
// tables whose rows come over time.
func (t *Table) Reserve(cells ...string) { t.layOut([][]string{cells}) }

// Flush prints the rows that were added since the last Flush.
func (t *Table) Flush() error {
	var b strings.Builder
	if t.heading != nil {
		if t.columns == nil {
			t.layOut(t.rows)
		}
		bold := make([]string, len(t.heading))
		for i := range bold {
			bold[i] = "1"
		}
		t.line(&b, t.heading, bold)
	}
	styles := make([]string, len(t.columns))
	for _, row := range t.rows {
		for i, cell := range row {
			styles[i] = style(cell)
		}
		t.line(&b, row, styles)
	}
	t.heading, t.rows = nil, nil
	return show(t.to, b.String(), t.paged)
}

// layOut decides the widths of the columns.
func (t *Table) layOut(rows [][]string) {
	t.columns = make([]column, len(t.heading))
	for i, name := range t.heading {
		c := column{width: columns(name)}
		others := false
		for _, row := range rows {
			c.width = max(c.width, columns(row[i]))
			c.number = c.number || row[i] != "-"
			others = others || !number.MatchString(row[i])
		}
		c.number = c.number && !others
		t.columns[i] = c
	}
	if t.terminal == nil {
		return
	}
	screen, _, err := term.GetSize(int(t.terminal.Fd()))
	if err != nil || screen <= 0 {
		return
	}
	excess := (len(t.columns)-1)*len(gap) - screen
	for _, c := range t.columns {
		excess += c.width
	}
	t.fit(excess)
}

// fit makes a table narrower. Cells that are cut keep a few letters. If that is not enough,
// the last columns are left out, and the first ones get the space.
func (t *Table) fit(excess int) {
	const least = 8
	whole := make([]int, len(t.columns))
	for i := len(t.columns) - 1; i >= 0; i-- {
		c := &t.columns[i]
		whole[i] = c.width
		if less := min(excess, c.width-least); less > 0 && !c.number {
			c.width -= less
			excess -= less
		}
	}
	for i := len(t.columns) - 1; i > 0 && excess > 0; i-- {
		if c := &t.columns[i]; !c.number {
			c.hidden = true
			excess -= len(gap) + c.width
		}
	}
	for i := range t.columns {
		c := &t.columns[i]
		if more := min(-excess, whole[i]-c.width); more > 0 && !c.hidden {
			c.width += more
			excess += more
		}
	}
}

// number matches a cell that is a number, or empty.
var number = regexp.MustCompile(`^(-|-?[0-9]+(\.[0-9]+)?)$`)

// line prints a row.
func (t *Table) line(b *strings.Builder, row, styles []string) {
	for i, text := range row {
		c := &t.columns[i]
		if c.hidden {
			continue
		}
		if t.terminal != nil && !c.number {
			text = cut(text, c.width)
		}
		c.width = max(c.width, columns(text)) // of a row that came later
		space := strings.Repeat(" ", c.width-columns(text))
		if colours(t.terminal) && styles[i] != "" {
			text = sgr(styles[i], text)
		}
		if i > 0 {
			b.WriteString(gap)
		}
		switch {
		case c.number && i > 0: // the first one is a name, even if it is a number
			b.WriteString(space + text)
		case i == len(row)-1:
			b.WriteString(text)
		default:
			b.WriteString(text + space)
		}
	}
	b.WriteByte('\n')
}

// cut shortens text to a width.
func cut(text string, to int) string {
	if columns(text) <= to {
		return text
	}
	used := 0
	for i, r := range text {
		if used += runeColumns(r); used > to-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// columns returns how many columns of a terminal text takes.
func columns(text string) (n int) {
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// style returns the colour of a cell that a person should notice.
func style(cell string) string {
	switch cell {
	case "frozen", "disabled":
		return "33" // yellow
	case "closed", "-":
		return "2" // dim
	case "ERROR", "revoked":
		return "31" // red
	}
	return ""
}

func sgr(style, text string) string { return fmt.Sprintf("\x1b[%sm%s\x1b[0m", style, text) }

// Words returns a value of a record as text for people.
func Words(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case bool:
		return map[bool]string{true: "yes", false: "no"}[v]
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = Words(item)
		}
		return strings.Join(items, ", ")
	}
	return fmt.Sprint(value)
}
