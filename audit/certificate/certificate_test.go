package certificate_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/certificate"
)

var at = time.Date(2026, 11, 29, 12, 0, 0, 123456000, time.UTC)

// stated is what the certificates of these tests state.
func stated() certificate.Statement {
	return certificate.Statement{
		Bank: audittest.Origin, Holder: "Alice Example", Account: "100", Standing: "open", At: at,
		Salt: "AAAAAAAAAAAAAAAAAAAAAA",
	}
}

// entryOf is the entry that a server makes of a statement.
func entryOf(s *certificate.Statement) audit.Entry {
	return audit.Entry{
		ID: atm.NewUUID(s.At), Time: s.At, Event: audit.EventOp, Operation: atm.Certificate,
		Args:     []audit.Arg{{Name: "account", Value: s.Account}},
		Status:   &atm.Status{Code: atm.OK, Result: s.Result()},
		Caller:   &atm.Caller{Principal: atm.Principal{Subject: "user:alice"}},
		ReplayOf: -1,
	}
}

// certify makes a certificate of a statement and an entry, which is put into a log.
func certify(t testing.TB, l *audittest.Log, s *certificate.Statement, e audit.Entry) string {
	t.Helper()
	leaf, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	l.Grow(t, 3)
	l.Add(t, leaf)
	index := int64(len(l.Leaves)) - 1
	dir := t.TempDir()
	audittest.PublishIn(t, dir, l)
	log, err := audit.OpenLogBeside(t.Context(), audit.Dir(dir))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := log.Prove(t.Context(), index)
	if err != nil {
		t.Fatal(err)
	}
	text, err := proof.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	return certificate.Join(s.Text(), leaf, text)
}

func TestCertificateIsCheckedWithTheKeyAlone(t *testing.T) {
	l := audittest.New(t)
	s := stated()
	text := certify(t, l, &s, entryOf(&s))
	got, report := certificate.Check(text, l.Signer.Verifier())
	if !report.OK() || *got != s {
		t.Fatalf("%d %s %+v", report.Code, report.Sentence, got)
	}
	if _, report := certificate.Check(text, audittest.New(t).Signer.Verifier()); report.Code !=
		audit.WrongSignature {
		t.Errorf("with another key: %d %s", report.Code, report.Sentence)
	}
	random := rand.New(rand.NewPCG(25, 1))
	for range 500 {
		changed := []byte(text)
		i := random.IntN(len(changed))
		changed[i] = byte(random.IntN(256))
		if string(changed) == text {
			continue
		}
		if _, report := certificate.Check(string(changed), l.Signer.Verifier()); report.OK() {
			t.Errorf("byte %d was changed to %q, and it is verified", i, changed[i])
		}
	}
}

// TestEntryOfSomethingElseProvesNoCertificate puts statements beside entries that are in the log
// and are about something else.
func TestEntryOfSomethingElseProvesNoCertificate(t *testing.T) {
	l := audittest.New(t)
	for _, tt := range []struct {
		name      string
		statement func(*certificate.Statement)
		entry     func(*audit.Entry)
		says      string
	}{
		{"another name", func(s *certificate.Statement) { s.Holder = "Mallory" }, nil, "hash"},
		{"another salt", func(s *certificate.Statement) { s.Salt = "B" }, nil, "hash"},
		{"another standing", func(s *certificate.Statement) { s.Standing = "closed" }, nil, "hash"},
		{"another bank", func(s *certificate.Statement) { s.Bank = "other" }, nil, "hash"},
		{"another account", func(s *certificate.Statement) { s.Account = "200" }, nil, "account"},
		{"another time", func(s *certificate.Statement) { s.At = at.Add(1000) }, nil, "made at"},
		{"a refusal", nil, func(e *audit.Entry) { e.Status.Code = atm.AccountNotFound }, "no cert"},
		{"a replay", nil, func(e *audit.Entry) { e.ReplayOf = 1 }, "no certificate"},
		{"a statement", nil, func(e *audit.Entry) { e.Operation = atm.Statement }, "no cert"},
		{"administration", nil, func(e *audit.Entry) { e.Event = audit.EventAdmin }, "no cert"},
		{"a bank whose log it is not", nil, func(e *audit.Entry) {
			s := stated()
			s.Bank = "other"
			e.Status.Result = s.Result()
		}, "hash"},
	} {
		s := stated()
		entry := entryOf(&s)
		if tt.entry != nil {
			tt.entry(&entry)
		}
		if tt.statement != nil {
			tt.statement(&s)
		}
		text := certify(t, l, &s, entry)
		_, report := certificate.Check(text, l.Signer.Verifier())
		if report.Code != audit.ContentDiffers || !strings.Contains(report.Sentence, tt.says) {
			t.Errorf("%s: %d %s", tt.name, report.Code, report.Sentence)
		}
	}
	s := stated()
	s.Bank = "other"
	_, report := certificate.Check(certify(t, l, &s, entryOf(&s)), l.Signer.Verifier())
	if report.Code != audit.ContentDiffers || !strings.Contains(report.Sentence, "the bank is") {
		t.Errorf("of another bank: %d %s", report.Code, report.Sentence)
	}
}

func TestBankIsTheNameInTheOriginOfItsLog(t *testing.T) {
	for origin, want := range map[string]string{
		"atm.example": "atm.example", "atm.example/2": "atm.example",
		"atm.example/x": "atm.example/x", "a/b/2": "a/b/2",
	} {
		if got := certificate.Bank(origin); got != want {
			t.Errorf("the bank of %s is %s, not %s", origin, got, want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	l := audittest.New(f)
	s := stated()
	good := certify(f, l, &s, entryOf(&s))
	f.Add(good)
	f.Add(strings.ReplaceAll(good, "\n", "\r\n"))
	f.Add(s.Text() + "\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, report := certificate.Check(text, l.Signer.Verifier()); report.OK() && text != good {
			t.Errorf("%q is verified", text)
		}
	})
}
