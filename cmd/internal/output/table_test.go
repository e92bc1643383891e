package output_test

import (
	"bytes"
	"testing"

	"example.com/atm/cmd/internal/output"
)

// Numbers are right-aligned, wide characters count as two columns, and the text of a stranger
// stays within its cell.
func TestTableLinesUp(t *testing.T) {
	var b bytes.Buffer
	table := output.NewTable(&b, true, "name", "balance", "roles")
	table.Row("山田", "12.50", output.Words([]any{"customer", "teller"}))
	table.Row("Zoe\u0301\n1  2", "1000.00", output.Words(nil))
	table.Row("", "-3", output.Words(true))
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	table.Row("Bob", "5", "no")
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = "NAME                BALANCE  ROLES\n" +
		"山田                  12.50  customer, teller\n" +
		"Zoe\u0301\\u000a1 \\u00202  1000.00  -\n" +
		"-                        -3  yes\n" +
		"Bob                       5  no\n"
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
