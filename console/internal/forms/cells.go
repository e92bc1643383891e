package forms

import (
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/atm"
)

// A Column is a field of the rows of a list. Without a name, it is made of several fields: Show
// gets the row.
type Column struct {
	Name, Label string
	Show        func(any) Cell
}

// Of is what the column shows of a row.
func (c Column) Of(row atm.Record) Cell {
	if c.Name == "" {
		return c.Show(row)
	}
	return c.Show(row.Get(c.Name))
}

// Money reports whether the column has amounts.
func (c Column) Money() bool { return c.Show(nil).Money }

// A Cell is what a column shows of a row.
type Cell struct {
	Text  string
	Link  string
	Money bool
	Code  bool // written for machines
	Words bool // written by people, in whatever direction
	Time  time.Time
}

// Plain shows a text, words, or yes and no.
func Plain(value any) Cell {
	switch value := value.(type) {
	case string:
		return Cell{Text: value}
	case atm.Private:
		return Cell{Text: string(value)}
	case []string:
		return Cell{Text: strings.Join(value, ", ")}
	case int64:
		return Cell{Text: strconv.FormatInt(value, 10)}
	case bool:
		if value {
			return Cell{Text: "yes"}
		}
		return Cell{Text: "no"}
	}
	return Cell{}
}

// Code shows a text that is written for machines.
func Code(value any) Cell {
	c := Plain(value)
	c.Code = true
	return c
}

// Words shows what a person wrote.
func Words(value any) Cell {
	c := Plain(value)
	c.Words = c.Text != ""
	return c
}

// Money shows an amount of the protocol.
func Money(value any) Cell {
	written, _ := value.(string)
	return Cell{Text: Dollars(ParseSigned(written)), Money: true}
}

// Moment shows a time in RFC 3339.
func Moment(value any) Cell {
	written, _ := value.(string)
	at, err := time.Parse(time.RFC3339, written)
	if err != nil {
		return Cell{Text: written}
	}
	return Cell{Time: at}
}

// Left shows a time in the future, with the whole days until it.
func Left(value any) Cell {
	c := Moment(value)
	if !c.Time.IsZero() {
		days := int(time.Until(c.Time) / (24 * time.Hour))
		c.Text = strconv.Itoa(days) + " days left, until "
	}
	return c
}

// toAccount shows the number of an account, with a link to its page.
func toAccount(value any) Cell {
	number, _ := value.(string)
	return Cell{Text: number, Link: "/console/accounts/" + url.PathEscape(number)}
}

// toSlip shows the index of an entry, with a link to its slip.
func toSlip(value any) Cell {
	index := Plain(value).Text
	return Cell{Text: index, Link: "/console/slips/" + index}
}

// upper writes the first letter of a text as a capital.
func upper(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + s[size:]
}
