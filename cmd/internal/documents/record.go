package documents

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"golang.org/x/mod/sumdb/tlog"
)

// errRecord reports a line that is not the canonical JSON of a record.
var errRecord = errors.New("no record in canonical JSON")

const (
	maxLine  = 4 << 20 // bytes; a page of 500 rows has less than 1 MiB
	maxDepth = 6       // how deep records are nested
)

// parseRecord reads the canonical JSON of a record. There is one text for each record, so a
// change that does not change what the record says is found too.
func parseRecord(line []byte) (atm.Record, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	value, err := readValue(d, 0)
	if err != nil {
		return nil, errRecord
	}
	record, ok := value.(atm.Record)
	if !ok || !bytes.Equal(audit.AppendResult(nil, record), line) {
		return nil, errRecord
	}
	return record, nil
}

func readValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch v := token.(type) {
	case string, bool:
		return v, nil
	case json.Number:
		return v.Int64()
	case json.Delim:
		if depth == maxDepth {
			return nil, errRecord
		}
		if v == '{' {
			return readMembers(d, depth)
		}
		return readItems(d, depth)
	}
	return nil, errRecord
}

// readMembers reads a record after its bracket. Names are sorted, so none is there twice.
func readMembers(d *json.Decoder, depth int) (any, error) {
	record := atm.Record{}
	last := ""
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok || name <= last || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return nil, errRecord
		}
		value, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		record, last = append(record, atm.Field{Name: name, Value: value}), name
	}
	_, err := d.Token()
	return record, err
}

// readItems reads an array after its bracket. All items are records, or all are strings.
func readItems(d *json.Decoder, depth int) (any, error) {
	var items []any
	for d.More() {
		value, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		items = append(items, value)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return listOf(items)
}

// listOf makes a list of one kind of items.
func listOf(items []any) (any, error) {
	records, words := []atm.Record{}, []string{}
	for _, item := range items {
		switch v := item.(type) {
		case atm.Record:
			records = append(records, v)
		case string:
			words = append(words, v)
		}
	}
	switch len(items) {
	case len(records):
		return records, nil
	case len(words):
		return words, nil
	}
	return nil, errRecord
}

// recordOf is a result of the server as it was before it went over the wire, where an empty
// string became nothing.
func recordOf(result any) (any, error) {
	switch v := result.(type) {
	case nil:
		return "", nil
	case string, bool, int64:
		return v, nil
	case []any:
		items := make([]any, len(v))
		for i, item := range v {
			var err error
			if items[i], err = recordOf(item); err != nil {
				return nil, err
			}
		}
		return listOf(items)
	case map[string]any:
		record := atm.Record{}
		for name, value := range v {
			value, err := recordOf(value)
			if err != nil {
				return nil, err
			}
			record = append(record, atm.Field{Name: name, Value: value})
		}
		slices.SortFunc(record, func(a, b atm.Field) int { return strings.Compare(a.Name, b.Name) })
		return record, nil
	}
	return nil, fmt.Errorf("the server answers with a %T", result)
}

// fields reads the members of a record. The first error stays.
type fields struct {
	of  atm.Record
	err error
}

// member returns a member of a record, which must be of type T.
func member[T any](f *fields, name string) T {
	value, ok := f.of.Get(name).(T)
	if !ok {
		f.fail(fmt.Errorf("%s is missing, or of another kind", name))
	}
	return value
}

func (f *fields) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

func (f *fields) text(name string) string { return member[string](f, name) }

func (f *fields) money(name string) atm.Amount {
	text := f.text(name)
	amount, ok := atm.ParseMoney(text)
	if !ok {
		f.fail(fmt.Errorf("%s is %q", name, text))
	}
	return amount
}

func (f *fields) time(name string) time.Time {
	t, err := time.Parse(audit.TimeFormat, f.text(name))
	if err != nil {
		f.fail(err)
	}
	return t
}

func (f *fields) hash(name string) merkle.Hash {
	hash, err := tlog.ParseHash(f.text(name))
	if err != nil {
		f.fail(err)
	}
	return hash
}

// lines reads a file line by line.
type lines struct {
	rest   []byte
	number int // of the line that was read last, from 1
}

// next returns the next line, and io.EOF after the last. Each line has an end.
func (l *lines) next() ([]byte, error) {
	if len(l.rest) == 0 {
		return nil, io.EOF
	}
	l.number++
	line, rest, ended := bytes.Cut(l.rest, []byte("\n"))
	if !ended || len(line) > maxLine {
		return nil, errRecord
	}
	l.rest = rest
	return line, nil
}
