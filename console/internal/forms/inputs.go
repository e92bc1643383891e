package forms

import (
	"net/url"
	"slices"
	"strings"
)

// An Input is a field as a form shows it.
type Input struct {
	Name, Label, Hint string
	Value, Problem    string
	Control           string // given, choice, choices, lines or yes; empty for a line of text
	Mode              string // of the keyboard of a phone
	Type              string // of the line of text, if it is not any text
	Options           []Option
	Required, First   bool
}

// An Option is one of a choice.
type Option struct {
	Value  string
	Chosen bool
}

// controls are how fields of a kind are filled in, where that is not a line of text.
var controls = map[Kind]string{
	Given: "given", Choice: "choice", Choices: "choices", Lines: "lines", Yes: "yes",
}

// types are those of the lines of text that a browser helps with. It shows a day and a time as its
// reader writes them, and sends them in one form.
var types = map[Kind]string{Date: "date", Clock: "time", URL: "url"}

// keyboards are those of a phone for a kind of field.
var keyboards = map[Kind]string{
	Amount: "decimal", Count: "numeric", Account: "numeric", Own: "numeric",
}

// Inputs are the fields with their values, and with what is wrong with them. The first that
// is wrong, or else the first, has the focus.
func Inputs(fields []Field, values url.Values, problems map[string]string,
) (shown []Input) {
	first := slices.IndexFunc(fields, func(f Field) bool { return problems[f.Name] != "" })
	if first < 0 {
		first = slices.IndexFunc(fields, func(f Field) bool { return f.Typed() })
	}
	for i, f := range fields {
		if f.Fixed != "" {
			continue
		}
		s := Input{
			Name: f.Name, Label: f.Label, Hint: f.Hint, Value: strings.Join(values[f.Name], " "),
			Problem: problems[f.Name], Required: !f.Optional, First: i == first,
			Control: controls[f.Kind], Mode: keyboards[f.Kind],
			Type: types[f.Kind],
		}
		if f.Kind == Own && len(f.Options) > 0 {
			s.Control = "choice"
		}
		for _, o := range f.Options {
			s.Options = append(s.Options, Option{o, slices.Contains(strings.Fields(s.Value), o)})
		}
		shown = append(shown, s)
	}
	return shown
}
