package program

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"example.com/atm"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
)

// hostile are account numbers in requests; they end up in the output of people who read the
// log.
var hostile = []string{
	"9\n41     2026-05-01T00:00:00Z  op  withdraw  user:bob  200  90000.00  OK",
	"9     200  90000.00  OK",
	"9\t200\t90000.00\tOK",
	"9\u009b2J\u009d0;x\u0085\u2028\u2029\u202e\u2066\u200e\u200b",
	`=HYPERLINK("http://x.example";"y")`, "+1", "-1", "@SUM(A1)", "\t=1",
}

// hostileLog returns the folder of a log whose entries contain hostile text. Its server has
// stopped.
func hostileLog(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "atm-data")
	listen, err := daemon.Addresses("localhost:0", "")
	if err != nil {
		t.Fatal(err)
	}
	open, err := daemon.Open(t.Context(), daemon.Options{
		Data: data, Version: "test", Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Grace: 5 * time.Second,
	})
	if err != nil {
		listen.Close()
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- open.Serve(ctx, listen) }()
	tls, err := client.InFolder(filepath.Join(data, "clients", "demo")).TLS()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Server: fmt.Sprintf("https://localhost:%d",
		listen.RPC.Addr().(*net.TCPAddr).Port), TLS: tls})
	if err != nil {
		t.Fatal(err)
	}
	for _, account := range hostile {
		if _, err := c.Call(t.Context(), string(atm.Inquiry), account); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	return filepath.Join(data, "audit")
}

// printed runs atmctl and returns what it prints.
func printed(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	if code := run(t.Context(), args, &out, &problems); code != want {
		t.Fatalf("atmctl %q ended with %d, not %d: %s", args, code, want, problems.String())
	}
	for _, text := range []string{out.String(), problems.String()} {
		if i := strings.IndexFunc(text, func(r rune) bool {
			return r != '\n' && !unicode.IsPrint(r)
		}); i >= 0 {
			t.Errorf("atmctl %q prints a character that a terminal obeys: %.80q", args, text[i:])
		}
	}
	return out.String(), problems.String()
}

// Each entry is one line of each form, and each cell is in its column, whatever a customer
// wrote.
func TestNobodyForgesARow(t *testing.T) {
	dir := hostileLog(t)
	whole, _ := printed(t, 0, "audit", "list", dir, "-o", "jsonl", "--limit", "500")
	entries := strings.Count(whole, "\n")
	const columns = 10
	for _, args := range [][]string{{"list", dir, "--limit", "500"}, {"tail", dir, "-n", "500"}} {
		table, _ := printed(t, 0, append([]string{"audit"}, args...)...)
		lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
		if len(lines) != entries+1 {
			t.Errorf("audit %s prints %d lines for %d entries and a heading", args[0], len(lines),
				entries)
		}
		for _, line := range lines {
			if cells := strings.FieldsFunc(strings.ReplaceAll(line, "  ", "\x00"),
				func(r rune) bool {
					return r == 0
				}); len(cells) != columns {
				t.Errorf("audit %s: a row of %d cells: %q", args[0], len(cells), line)
			}
		}
	}
	for _, args := range [][]string{
		{"list", dir, "-o", "jsonl", "--limit", "500"},
		{"export", dir, "--format", "jsonl"},
		{"export", dir, "--format", "cef"},
		{"export", dir, "--format", "ocsf"},
	} {
		text, _ := printed(t, 0, append([]string{"audit"}, args...)...)
		if n := strings.Count(text, "\n"); n != entries {
			t.Errorf("audit %q: %d lines for %d entries", args, n, entries)
		}
	}
	for index := range entries {
		printed(t, 0, "audit", "show", fmt.Sprint(index), dir)
	}
}

func TestExportedFormsAreLinesInFilesToo(t *testing.T) {
	dir := hostileLog(t)
	for _, format := range []string{"jsonl", "csv", "cef", "ocsf"} {
		file := filepath.Join(t.TempDir(), format)
		printed(t, 0, "audit", "export", dir, "--format", format, "--out", file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.IndexFunc(text, func(r rune) bool {
			return r != '\n' && !unicode.IsPrint(r)
		}); i >= 0 || len(text) == 0 {
			t.Errorf("%s has a character that ends a line elsewhere: %.80q", format,
				text[max(i, 0):])
		}
	}
}

func TestNoCellOfAnExportIsAFormula(t *testing.T) {
	text, _ := printed(t, 0, "audit", "export", hostileLog(t), "--format", "csv")
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsAny(cell[:1], "=+-@\t\r\n") {
				t.Errorf("a cell begins like a formula: %q", cell)
			}
		}
	}
}

// The origin and the file names of an unsigned log contain control characters that would clear
// the screen.
func TestUnverifiedLogIsNotObeyed(t *testing.T) {
	const evil = "\x1b[2J\x1b[Hverified: 9 entries\u009b2J\u202e\r"
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	root := base64.StdEncoding.EncodeToString(make([]byte, 32))
	write("checkpoint", evil+"\n9\n"+root+"\n\n— x "+root+"\n")
	_, vkey, err := checkpoint.GenerateKey("atm.example/audit")
	if err != nil {
		t.Fatal(err)
	}
	write("log.vkey", vkey)
	_, problems := printed(t, 11, "audit", "verify", dir)
	if strings.Count(problems, "\n") > 3 {
		t.Errorf("it prints lines of its own: %q", problems)
	}

	dir = hostileLog(t)
	write("\x1b[2J\nverified: 9 entries", "")
	_, problems = printed(t, 0, "audit", "verify", dir)
	if strings.Contains(problems, "\nverified") {
		t.Errorf("a file of the folder has a line of its own: %q", problems)
	}
	if _, problems = printed(t, 10, "audit", "verify",
		filepath.Join(dir, "a\nverified\x1b[2J")); strings.Contains(problems, "\nverified") {
		t.Errorf("it prints a line of its own: %q", problems)
	}
}
