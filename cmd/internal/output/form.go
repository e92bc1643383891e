package output

import (
	"encoding/json"
	"fmt"
	"io"

	"example.com/atm/cmd/internal/exit"
)

// The forms of output. FormText and FormTable are both for people.
const (
	FormText  = "text"
	FormTable = "table"
	FormJSON  = "json"  // one object, or one array of objects
	FormJSONL = "jsonl" // one object per line
)

// IsJSON reports whether a form is for programs.
func IsJSON(form string) bool { return form == FormJSON || form == FormJSONL }

// CheckForm refuses an unknown form. own is the program's name for the form for people.
func CheckForm(form, own string) error {
	switch form {
	case FormText, FormTable, FormJSON, FormJSONL:
		return nil
	}
	return exit.Usagef("--output is %s, json or jsonl, not %q%s", own, form,
		exit.DidYouMean(form, own, FormJSON, FormJSONL))
}

// An Array writes objects for programs: one JSON array with an object per line, or with
// FormJSONL the lines alone. Call End after the last object.
type Array struct {
	w     io.Writer
	lines bool
	count int
}

// NewArray begins an array.
func NewArray(w io.Writer, form string) *Array { return &Array{w: w, lines: form == FormJSONL} }

// Add writes an object, which is JSON.
func (a *Array) Add(object []byte) error {
	a.count++
	before, after := "", "\n"
	switch {
	case a.lines:
	case a.count == 1:
		before, after = "[", ""
	default:
		before, after = ",\n", ""
	}
	_, err := fmt.Fprintf(a.w, "%s%s%s", before, object, after)
	return err
}

// AddValue writes a value as an object.
func (a *Array) AddValue(v any) error {
	object, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return a.Add(object)
}

// End ends the array.
func (a *Array) End() error {
	end := "]\n"
	switch {
	case a.lines:
		return nil
	case a.count == 0:
		end = "[]\n"
	}
	_, err := io.WriteString(a.w, end)
	return err
}
