//go:build unix

package documents_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/documents"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Main(m)) }

// A bank is a server with accounts on which something happened.
type bank struct {
	*daemontest.Server
	t              *testing.T
	demo, operator *client.Client
	requests       int
}

func newBank(t *testing.T) *bank {
	t.Helper()
	h := daemontest.Start(t, nil)
	return &bank{Server: h, t: t, demo: h.As(t, "demo"), operator: h.As(t, "operator")}
}

// key is the public key of the log.
func (b *bank) key() string {
	b.t.Helper()
	key, err := os.ReadFile(filepath.Join(b.Data, "audit", "log.vkey"))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(key)
}

// open opens an account of the demo customer.
func (b *bank) open(number atm.AccountID, owner, opening string) {
	b.t.Helper()
	daemontest.Must(b.t)(b.operator.Call(b.t.Context(), string(atm.AccountOpen), number.String(),
		owner, opening))
}

// move carries out an operation of the demo customer.
func (b *bank) move(op atm.Operation, args ...any) string {
	b.t.Helper()
	b.requests++
	return daemontest.Must(b.t)(b.demo.Move(b.t.Context(), string(op),
		atm.RequestID(fmt.Sprint("documents-", b.requests)), args...)).Text()
}

// noted is move with a memo, and returns the index of the entry.
func (b *bank) noted(memo string, op atm.Operation, args ...any) string {
	b.t.Helper()
	b.requests++
	args = append(args, fmt.Sprint("documents-", b.requests), memo)
	answer := daemontest.Must(b.t)(b.demo.Call(b.t.Context(), string(op), args...))
	index, _, _ := strings.Cut(answer.Receipt, " ")
	return index
}

// memos are texts that a form could read as something else.
var memos = []string{
	`Rent, March "2026"`, "=SUM(A1)", "+1", "-1", "@x", "<b>&amp;</b>", " two  spaces ", "grüße €",
	"'quoted'", "a;b\u00a0c", "]]>", `{"a":1}`, "-----BEGIN",
}

// busy opens account 200, and moves money of every kind, with holds in between.
func (b *bank) busy() {
	b.t.Helper()
	b.open(200, "user:demo", "500.00")
	for i, memo := range memos {
		amount := fmt.Sprintf("%d.%02d", i+1, i)
		b.noted(memo, atm.Deposit, "200", amount)
		b.noted(memo, atm.Transfer, "200", "100", "0.50")
		hold := b.move(atm.Authorize, "200", "2.00", "")
		received := b.noted(memo, atm.Transfer, "100", "200", "0.75")
		b.move(atm.Reverse, received, "0.25")
		b.move(atm.Withdraw, "200", "1.00")
		if i%2 == 0 {
			b.move(atm.Capture, hold, "1.50")
		} else {
			b.move(atm.Release, hold)
		}
	}
}

// fetch returns a statement of the demo customer as a file, and what proves it.
func (b *bank) fetch(account atm.AccountID, from, to string, form documents.Form) (file,
	proof []byte,
) {
	b.t.Helper()
	saved, err := documents.Fetch(b.t.Context(), b.demo, account, from, to, form, true)
	if err != nil {
		b.t.Fatal(err)
	}
	return documents.Text(saved.Lines), saved.Proof
}

// TestEveryChangeOfAStatementIsNamed changes a statement in each form in random ways, and what
// proves it as well.
func TestEveryChangeOfAStatementIsNamed(t *testing.T) {
	t.Parallel()
	const changes = 200
	b := newBank(t)
	b.busy()
	key := b.key()
	random := rand.New(rand.NewPCG(25, 4))
	for _, form := range documents.Forms {
		file, proof := b.fetch(200, "", "", form)
		if r := documents.CheckStatement(file, proof, key); !r.OK() {
			t.Fatalf("%s: the untouched statement: %d %s", form, r.Code, r.Sentence)
		}
		codes := make(map[int]int)
		for range changes {
			how, changed := change(random, file)
			r := documents.CheckStatement(changed, proof, key)
			if r.OK() || r.Line == 0 || !strings.Contains(r.Sentence, fmt.Sprint("line ", r.Line)) {
				t.Errorf("%s: %s: %d, line %d, %s", form, how, r.Code, r.Line, r.Sentence)
			}
			how, changed = change(random, proof)
			r = documents.CheckStatement(file, changed, key)
			if r.OK() || !strings.Contains(r.Sentence, "proof") {
				t.Errorf("%s: the proof: %s: %d, %s", form, how, r.Code, r.Sentence)
			}
			codes[r.Code]++
		}
		for _, code := range []int{
			audit.CannotVerify, audit.WrongSignature, audit.ContentDiffers,
		} {
			if codes[code] == 0 {
				t.Errorf("%s: no change of the proof ends in code %d: %v", form, code, codes)
			}
		}
	}
}

// change changes a text: a line of it is removed, changed, moved or added, or it is cut at either
// end. It says how.
func change(random *rand.Rand, text []byte) (how string, changed []byte) {
	for {
		lines := bytes.SplitAfter(text, []byte("\n"))
		lines = lines[:len(lines)-1] // what comes after the last one
		at, other := random.IntN(len(lines)), random.IntN(len(lines))
		switch random.IntN(7) {
		case 0:
			how = fmt.Sprintf("line %d is removed", at+1)
			lines = slices.Delete(lines, at, at+1)
		case 1:
			line := slices.Clone(lines[at])
			place := random.IntN(len(line))
			line[place] = byte(' ' + random.IntN('~'-' '))
			how = fmt.Sprintf("line %d is changed at %d to %q", at+1, place, line[place])
			lines[at] = line
		case 2:
			how = fmt.Sprintf("line %d is moved to %d", at+1, other+1)
			line := lines[at]
			lines = slices.Insert(slices.Delete(lines, at, at+1), min(other, len(lines)-1), line)
		case 3:
			how = fmt.Sprintf("line %d is there once more, at %d", at+1, other+1)
			lines = slices.Insert(lines, other, lines[at])
		case 4:
			n := 1 + random.IntN(len(text)-1)
			how = fmt.Sprintf("%d bytes are cut from the end", n)
			lines = [][]byte{text[:len(text)-n]}
		case 5:
			n := 1 + random.IntN(len(text)-1)
			how = fmt.Sprintf("%d bytes are cut from the start", n)
			lines = [][]byte{text[n:]}
		case 6:
			how = fmt.Sprintf("a line is added at %d", at+1)
			lines = slices.Insert(lines, at, []byte("1,2,3\n"))
		}
		if changed = bytes.Join(lines, nil); !bytes.Equal(changed, text) {
			return how, changed
		}
	}
}

// TestStatementsOfEveryLengthAreProved asks for a new account, for times in which nothing
// happened, and for more than one page.
func TestStatementsOfEveryLengthAreProved(t *testing.T) {
	t.Parallel()
	const many = 2000
	b := newBank(t)
	b.open(200, "user:demo", "")
	b.ManyMovements(t, many)
	key := b.key()
	for _, tt := range []struct {
		name       string
		account    atm.AccountID
		from, to   string
		rows       int
		statements string // of the report
	}{
		{"nothing but its opening", 200, "", "", 1, "1 movements, from 0.00 to 0.00; all 1 changes"},
		{"before it was opened", 200, "", "2001-01-01T00:00:00Z", 0, "from 0.00 to 0.00; all 0"},
		{"in the future", 100, "2999-01-01T00:00:00Z", "", 0, "from 1020.00 to 1020.00; all 0"},
		{"several pages", 100, "", "", many + 1, "from 0.00 to 1020.00; all 2001 changes"},
	} {
		for _, form := range documents.Forms {
			file, proof := b.fetch(tt.account, tt.from, tt.to, form)
			r := documents.CheckStatement(file, proof, key)
			if !r.OK() || !strings.Contains(r.Sentence, tt.statements) {
				t.Errorf("%s as %s: %d %s", tt.name, form, r.Code, r.Sentence)
			}
			if form == documents.CSV && bytes.Count(file, []byte("\n")) != tt.rows+1 {
				t.Errorf("%s: %s", tt.name, file)
			}
			bare, err := documents.Fetch(t.Context(), b.demo, tt.account, tt.from, tt.to, form,
				false)
			if err != nil || len(bare.Lines) != bytes.Count(file, []byte("\n")) ||
				bare.Proof != nil {
				t.Errorf("%s as %s without a proof: %d lines, %v", tt.name, form, len(bare.Lines),
					err)
			}
		}
	}
}

// TestFilesOfAStatementAreReadByOtherPrograms reads the CSV and the JSON as their readers do.
func TestFilesOfAStatementAreReadByOtherPrograms(t *testing.T) {
	t.Parallel()
	b := newBank(t)
	b.busy()
	file, _ := b.fetch(200, "", "", documents.CSV)
	rows, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if want := 2 + len(memos)*5 + (len(memos)+1)/2; len(rows) != want {
		t.Errorf("the table has %d rows, not %d", len(rows), want)
	}
	for _, row := range rows {
		if memo := row[6]; memo != "" && strings.ContainsAny(memo[:1], "=+-@") {
			t.Errorf("a spreadsheet takes %q for a formula", memo)
		}
	}
	file, _ = b.fetch(200, "", "", documents.JSON)
	var object struct {
		Account, Opening, Closing string
		Movements                 []struct {
			Index                 int64
			Amount, Balance, Memo string
		}
	}
	if err := json.Unmarshal(file, &object); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, m := range object.Movements {
		if m.Memo != "" && !slices.Contains(seen, m.Memo) {
			seen = append(seen, m.Memo)
		}
	}
	if object.Account != "200" || object.Opening != "0.00" || !slices.Equal(seen, memos) ||
		object.Closing != object.Movements[len(object.Movements)-1].Balance {
		t.Errorf("%+v", object)
	}
}
