package ctl

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/cmd/internal/exit"
)

// maxRows is the largest number of rows of an import, because the server carries out all of
// them in one transaction.
const maxRows = 500

// A Row is a row of a file: its fields in the order of the columns, and its line.
type Row struct {
	Line   int
	Fields []string
}

// ReadRows reads the rows of a file of comma-separated values, whose first line names the
// columns. The first of columns is required, the others are optional, and their order is free.
// check checks the fields of a row, and may complete them.
func ReadRows(path string, columns []string, check func([]string) error) ([]Row, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, exit.Usagef("%w", err)
	}
	defer f.Close()
	rows, err := readRows(f, columns, check)
	if err != nil {
		return nil, exit.Usagef("%s: %w", path, err)
	}
	return rows, nil
}

func readRows(
	from io.Reader, columns []string, check func([]string) error,
) (rows []Row, err error) {
	r := csv.NewReader(from)
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("its first line names the columns: %w", err)
	}
	place := make(map[string]int)
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if _, twice := place[name]; twice || !slices.Contains(columns, name) {
			return nil, fmt.Errorf("line 1: %q is not a column, or occurs twice; columns are %s",
				name, strings.Join(columns, ", "))
		}
		place[name] = i
	}
	if _, is := place[columns[0]]; !is {
		return nil, fmt.Errorf("line 1: there is no column %s", columns[0])
	}
	var problems []error
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err // the error names the line
		}
		line, _ := r.FieldPos(0)
		row := Row{Line: line, Fields: make([]string, len(columns))}
		for i, name := range columns {
			if at, is := place[name]; is {
				row.Fields[i] = strings.TrimSpace(record[at])
			}
		}
		if problem := check(row.Fields); problem != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", line, problem))
		}
		if rows = append(rows, row); len(rows) > maxRows {
			return nil, fmt.Errorf("it has more than %d rows: divide it", maxRows)
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("it has no rows")
	}
	return rows, errors.Join(problems...)
}

// CheckImport has the server check the rows, and returns them as the argument of the method. If
// the server would refuse rows, CheckImport prints the reasons with their lines, and returns an
// error.
func (env *Env) CheckImport(
	ctx context.Context, op atm.Operation, rows []Row, done string,
) (string, error) {
	var text strings.Builder
	w := csv.NewWriter(&text)
	for _, row := range rows {
		if err := w.Write(row.Fields); err != nil {
			return "", err
		}
	}
	w.Flush()
	result, err := env.Call(ctx, string(op), text.String())
	if err != nil {
		return "", err
	}
	report, _ := result.(map[string]any)
	found, _ := report["problems"].([]any)
	for _, problem := range found {
		fields, _ := problem.(map[string]any)
		if i, _ := fields["row"].(int64); i >= 1 && int(i) <= len(rows) {
			fields["line"] = int64(rows[i-1].Line)
		}
		delete(fields, "row")
	}
	if len(found) == 0 {
		return text.String(), nil
	}
	if err := env.Print([]string{"line", "code", "reason"}, found); err != nil {
		return "", err
	}
	return "", &exit.Error{
		Code: exit.Refused,
		Err: fmt.Errorf("nothing was %s: %d of %d rows would be refused", done, len(found),
			len(rows)),
	}
}
