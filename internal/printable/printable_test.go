package printable_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.com/atm/internal/printable"
)

func TestTextIsSafeOnALine(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"user:alice", "user:alice"},
		{"Zoë → 東京 €", "Zoë → 東京 €"},
		{"", ""},
		{"a\nb", `a\u000ab`},
		{"a\rb\tc", `a\u000db\u0009c`},
		{"\x1b[2J\x07\x00\x7f", `\u001b[2J\u0007\u0000\u007f`},
		{"\u009b2J\u009d0;x\u0085", `\u009b2J\u009d0;x\u0085`},
		{"a\u2028b\u2029", `a\u2028b\u2029`},
		{"\u202a\u202b\u202c\u202d\u202e", `\u202a\u202b\u202c\u202d\u202e`},
		{
			"\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
			`\u2066\u2067\u2068\u2069\u200e\u200f\u061c`,
		},
		{"a\u00adb\u200bc\ufeff\u2060", `a\u00adb\u200bc\ufeff\u2060`},
		{"\U000e0041\U0001d173", `\udb40\udc41\ud834\udd73`},
		{"a\u00a0b\u3000c\u2003\u3164\u115f", `a\u00a0b\u3000c\u2003\u3164\u115f`},
		{"\xff\x9bfoo\xe2\x80", "\ufffd\ufffdfoo\ufffd\ufffd"},
		{"\ue000", `\ue000`},
	} {
		if got := printable.Text(tt.in); got != tt.want {
			t.Errorf("Text(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestCellEndsWhereItSeemsTo(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"a b c", "a b c"},
		{"9  OK", `9 \u0020OK`},
		{" a ", `\u0020a\u0020`},
		{"   ", `\u0020\u0020\u0020`},
		{"9\tOK", `9\u0009OK`},
	} {
		if got := printable.Cell(tt.in); got != tt.want {
			t.Errorf("Cell(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestNoCellOfACSVIsAFormula(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"100", "100"},
		{"12.50", "12.50"},
		{"100→200", "100→200"},
		{`=cmd|' /C calc'!A0`, `"'=cmd|' /C calc'!A0"`},
		{"+1", `"'+1"`},
		{"-1", `"'-1"`},
		{"@SUM(1)", `"'@SUM(1)"`},
		{"\t=1", `"'\u0009=1"`},
		{"\r=1", `"'\u000d=1"`},
		{"  =1", `"'  =1"`},
		{"\uff1d1", "\"'\uff1d1\""},
		{"a;=1", `"a;=1"`},
		{`a"b,c`, `"a""b,c"`},
		{"a\n=1", `"a\u000a=1"`},
	} {
		if got := printable.CSV(tt.in); got != tt.want+"\n" {
			t.Errorf("CSV(%q) = %q, want %q", tt.in, got, tt.want+"\n")
		}
	}
	got, err := csv.NewReader(strings.NewReader(printable.CSV("1", "", `x,"y"`, "z"))).Read()
	if want := []string{"1", "", `x,"y"`, "z"}; err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("read back %q, %v, want %q", got, err, want)
	}
}

func TestWriterLeavesNothingButNewlines(t *testing.T) {
	const in = "a\x1b[2J\nb\u009b\r\u202e\U000e0041é\n"
	const want = `a\u001b[2J` + "\n" + `b\u009b\u000d\u202e\udb40\udc41é` + "\n"
	for size := 1; size <= len(in); size++ { // writes may end within a character
		var b bytes.Buffer
		w := printable.NewWriter(&b)
		for rest := []byte(in); len(rest) > 0; {
			n, err := w.Write(rest[:min(size, len(rest))])
			if err != nil || n != min(size, len(rest)) {
				t.Fatal(n, err)
			}
			rest = rest[n:]
		}
		if got := b.String(); got != want {
			t.Errorf("in pieces of %d: %q, want %q", size, got, want)
		}
	}
}

func TestLinefIsOneLine(t *testing.T) {
	var b bytes.Buffer
	if err := printable.Linef(&b, "not verified: %s", "x\nverified: 9 entries"); err != nil {
		t.Fatal(err)
	}
	if got, want := b.String(), `not verified: x\u000averified: 9 entries`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzText makes sure that any text becomes one visible line, that a second call changes
// nothing, and that JSON keeps its meaning.
func FuzzText(f *testing.F) {
	for _, seed := range []string{
		"a", "\x1b[2J", "\u202e\u2028\n", "\xff\xfe", "=1+1  x",
		"\U0001d173",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, got := range []string{printable.Text(s), printable.Cell(s)} {
			unseen := func(r rune) bool { return !unicode.IsPrint(r) }
			if !utf8.ValidString(got) || strings.ContainsFunc(got, unseen) {
				t.Errorf("%q is not safe: it was made of %q", got, s)
			}
			if again := printable.Text(got); again != got {
				t.Errorf("%q becomes %q the second time", got, again)
			}
		}
		if strings.Count(printable.CSV(s, s), "\n") != 1 {
			t.Errorf("%q is more than one line of CSV", s)
		}
		whole, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		printable.NewWriter(&b).Write(whole)
		var got, want string
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", b.Bytes(), err)
		}
		if err := json.Unmarshal(whole, &want); err != nil || got != want {
			t.Errorf("as JSON %q became %q", want, got)
		}
	})
}
