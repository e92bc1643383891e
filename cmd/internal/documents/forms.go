package documents

import (
	"slices"
	"strconv"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/internal/printable"
)

// csv has a line of names, and then one for each movement.
func (s *Statement) csv() []Line {
	lines := []Line{{csvLine("index", "time", "operation", "counterparty", "amount", "balance",
		"memo"), -1}}
	for _, m := range slices.Backward(s.Movements) {
		// A number below zero begins like a formula, and has to stay a number.
		lines = append(lines, Line{strings.Join([]string{
			csvLine(strconv.FormatInt(m.Index, 10), written(m.Time), string(m.Operation),
				m.Counterparty),
			m.Amount.String(), m.Balance.String(), csvLine(m.Memo),
		}, ","), m.Index})
	}
	return lines
}

func csvLine(cells ...string) string { return strings.TrimSuffix(printable.CSV(cells...), "\n") }

// json is one object, whose array of movements has a line for each.
func (s *Statement) json() []Line {
	lines := []Line{{"{", -1}}
	for _, member := range []atm.Field{
		{Name: "account", Value: s.Account},
		{Name: "bank", Value: s.Bank},
		{Name: "closing", Value: s.Closing.String()},
		{Name: "created", Value: written(s.Created)},
		{Name: "from", Value: s.From},
		{Name: "index", Value: s.Index},
		{Name: "opening", Value: s.Opening.String()},
		{Name: "to", Value: s.To},
	} {
		text := string(audit.AppendResult(nil, atm.Record{member}))
		lines = append(lines, Line{text[1:len(text)-1] + ",", -1})
	}
	lines = append(lines, Line{`"movements":[`, -1})
	for i, m := range slices.Backward(s.Movements) {
		text := string(audit.AppendResult(nil, m.record))
		if i > 0 {
			text += ","
		}
		lines = append(lines, Line{text, m.Index})
	}
	return append(lines, Line{"]", -1}, Line{"}", -1})
}
