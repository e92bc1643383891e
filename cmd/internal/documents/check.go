package documents

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
)

// A Report is what a check found. Its codes are those of audit.Verify.
type Report struct {
	Code     int
	Sentence string // for people
	Line     int    // the first that is wrong, from 1; 0 for none that can be named

	Statement *Statement // that was verified; nil for none
}

// OK reports whether the document was verified.
func (r *Report) OK() bool { return r.Code == audit.Verified }

// CheckStatement checks a file with a statement by what is in the file beside it. vkey has the
// public keys of the log, one a line.
func CheckStatement(file, proof []byte, vkey string) *Report {
	r := &Report{}
	keys := strings.Fields(vkey)
	v := verifier{in: lines{rest: proof}, open: func(signed []byte) (checkpoint.Checkpoint,
		error,
	) {
		c, _, err := checkpoint.OpenEach(signed, keys)
		return c, err
	}}
	if err := v.verify(); err != nil {
		return r.fail(err)
	}
	want, err := v.Lines(v.form)
	if err != nil {
		return r.fail(faultf(audit.CannotVerify, "the proof: %w", err))
	}
	if r.Line, err = compare(file, want); err != nil {
		return r.fail(faultf(audit.ContentDiffers, "%w", err))
	}
	r.Statement = &v.Statement
	since, until := "its opening", written(v.Created)
	if v.From != "" {
		since = v.From
	}
	if v.To != "" {
		until = v.To + ", as it was at " + until
	}
	r.Sentence = fmt.Sprintf("statement of account %s by %s, from %s to %s: %d movements, from %s "+
		"to %s; all %d changes of the account are in the log, %d of them with their entries",
		v.Account, v.Bank, since, until, len(v.Movements), v.Opening, v.Closing, v.versions,
		v.whole)
	return r
}

func (r *Report) fail(err error) *Report {
	r.Code, r.Sentence = audit.CannotVerify, err.Error()
	var known *fault
	if errors.As(err, &known) {
		r.Code = known.code
	}
	return r
}

// compare finds the first line of a file that is not what is proved.
func compare(file []byte, want []Line) (line int, err error) {
	if bytes.Equal(file, Text(want)) {
		return 0, nil
	}
	whole := bytes.HasSuffix(file, []byte("\n"))
	got := strings.Split(strings.TrimSuffix(string(file), "\n"), "\n")
	if len(file) == 0 {
		got = nil
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i].Text {
		i++
	}
	number := i + 1
	switch {
	case i == len(want) && i == len(got) && !whole:
		return i, fmt.Errorf("line %d has no end", i)
	case i == len(want):
		return number, fmt.Errorf("line %d is too many: the statement ends before it", number)
	case i == len(got):
		return number, fmt.Errorf("line %d is missing: %s %s", number, want[i].said(),
			quote(want[i].Text))
	case got[i] == want[i].Text+"\r":
		return number, fmt.Errorf("line %d ends with a carriage return, which was not written: "+
			"another program changed the ends of the lines", number)
	}
	found := -1 // where in the proved statement the line stands
	for j := i + 1; j < len(want) && found < 0; j++ {
		if want[j].Text == got[i] {
			found = j
		}
	}
	missing := true // the line that belongs here is nowhere further down
	for j := i + 1; j < len(got) && missing; j++ {
		missing = got[j] != want[i].Text
	}
	switch {
	case found >= 0 && missing:
		return number, fmt.Errorf("a line is missing before line %d: %s %s", number,
			want[i].said(), quote(want[i].Text))
	case found >= 0:
		return number, fmt.Errorf("line %d was moved: it is line %d, and %s %s", number, found+1,
			want[i].said(), quote(want[i].Text))
	case !missing:
		return number, fmt.Errorf("line %d was added: %s is in no entry", number, quote(got[i]))
	}
	is, should := difference(got[i], want[i].Text)
	return number, fmt.Errorf("line %d was changed: it says %s where %s %s", number, is,
		want[i].said(), should)
}

// said names what a line is taken from: an entry of the log, or the statement.
func (l Line) said() string {
	if l.Entry < 0 {
		return "the statement says"
	}
	return fmt.Sprintf("entry %d says", l.Entry)
}

// difference returns the words in which two texts differ, quoted.
func difference(a, b string) (string, string) {
	from := 0
	for from < len(a) && from < len(b) && a[from] == b[from] {
		from++
	}
	end := 0
	for end < len(a)-from && end < len(b)-from && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	const within = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:"
	for from > 0 && strings.IndexByte(within, a[from-1]) >= 0 {
		from--
	}
	for end > 0 && strings.IndexByte(within, a[len(a)-end]) >= 0 {
		end--
	}
	return quote(a[from : len(a)-end]), quote(b[from : len(b)-end])
}

// quote quotes a text, or its beginning.
func quote(text string) string {
	const most = 160
	if len(text) > most {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(text[:most], "\ufffd"))
	}
	return fmt.Sprintf("%q", text)
}
