//go:build unix

package daemon_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/certificate"
	"example.com/atm/cmd/internal/daemontest"
)

// TestCertificateNamesTheHolderAndItsEntryDoesNot makes certificates of an account that is open,
// and then closed, in three roles.
func TestCertificateNamesTheHolderAndItsEntryDoesNot(t *testing.T) {
	t.Parallel()
	const holder = "Alice Example"
	h := daemontest.Start(t, nil)
	demo, operator := h.As(t, "demo"), h.As(t, "operator")
	must := daemontest.Must(t)
	must(operator.Call(t.Context(), string(atm.AccountOpen), "200", "user:demo", "", holder))
	must(operator.Call(t.Context(), string(atm.AccountOpen), "300", "user:other", "", holder))
	key, err := os.ReadFile(filepath.Join(h.Data, "audit", "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(text, standing string) {
		t.Helper()
		s, report := certificate.Check(text, string(key))
		if !report.OK() || s.Holder != holder || s.Account != "200" || s.Standing != standing ||
			s.Bank != h.Name {
			t.Errorf("%d %s %+v", report.Code, report.Sentence, s)
		}
	}
	first := must(demo.Certificate(t.Context(), 200)).Text()
	check(first, "open")
	if second := must(demo.Certificate(t.Context(), 200)).Text(); second == first {
		t.Error("two certificates are the same: there is no salt")
	}
	must(operator.Call(t.Context(), string(atm.AccountClose), "200"))
	check(must(operator.Certificate(t.Context(), 200)).Text(), "closed")
	for _, account := range []atm.AccountID{300, 999} {
		got, err := demo.Certificate(t.Context(), account)
		if err != nil || got.Code != atm.AccountNotFound || got.Text() != "" {
			t.Errorf("of account %d: %v, %v", account, got, err)
		}
	}
	entries := 0
	for _, e := range h.Entries(t) {
		if e.Operation != atm.Certificate || e.Status.Code != atm.OK {
			continue
		}
		entries++
		line, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(line, []byte("Alice")) {
			t.Errorf("the entry has the name of the holder: %s", line)
		}
	}
	if entries != 3 {
		t.Errorf("there are %d entries of certificates, not 3", entries)
	}
	if report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(h.Data, "audit")),
		audit.VerifyOptions{}); err != nil || !report.OK() {
		t.Errorf("the log: %v, %+v", err, report)
	}
}
