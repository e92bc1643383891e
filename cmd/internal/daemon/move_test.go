//go:build unix

package daemon_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/vault"
	"example.com/atm/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

// TestMovedAccountsKeepBalancesAndReceipts moves an installation into a database and back.
// Balances and tree are the same, and earlier receipts stay valid.
func TestMovedAccountsKeepBalancesAndReceipts(t *testing.T) {
	t.Parallel()
	operations := 2000
	if os.Getenv("ATM_SOAK") != "" {
		operations = 100_000
	}
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	demo := h.As(t, "demo")
	calls := make([][]string, 100)
	for i := range calls {
		calls[i] = []string{"deposit", "100", "0.01"}
	}
	var wg sync.WaitGroup
	for range 4 {
		c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
		wg.Go(func() {
			for range operations / 4 / len(calls) {
				if resp, text := h.Post(t, c, daemontest.Multicall(calls...),
					nil); resp.StatusCode != 200 ||
					strings.Count(text, "<string>OK</string>") != 2*len(calls) {
					t.Errorf("%s %.300s", resp.Status, text)
				}
			}
		})
	}
	wg.Wait()
	daemontest.Must(t)(demo.Authorize(t.Context(), daemontest.Account, 5, time.Hour, "hold"))
	answer := daemontest.Must(t)(demo.Withdraw(t.Context(), daemontest.Account, 7, "the last one"))
	var index int64
	if _, err := fmt.Sscan(answer.Receipt, &index); err != nil {
		t.Fatal(err)
	}
	proof := daemontest.Must(t)(demo.Receipt(t.Context(), index)).Text()
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	root := func() string {
		report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(h.Data, "audit")),
			audit.VerifyOptions{})
		if err != nil || !report.OK() {
			t.Fatalf("%+v, %v", report, err)
		}
		return fmt.Sprint(report.Size, " ", report.Root)
	}
	here, there := offline.Folder{Data: h.Data}, offline.Folder{
		Data:  h.Data,
		Store: daemontest.Database(t),
	}
	export, again := filepath.Join(t.TempDir(), "export"), filepath.Join(t.TempDir(), "again")
	problem := func(p string) { t.Error(p) }
	begun := root()
	was, _ := contents(t, here)
	if found, err := here.Export(t.Context(), export, problem); err != nil ||
		found.Entries < int64(operations) {
		t.Fatal(found, err)
	}
	if _, err := there.Import(t.Context(), export, daemontest.Discard, problem); err != nil {
		t.Fatal(err)
	}
	is, _ := contents(t, there)
	same(t, was, is)
	if begun != root() {
		t.Error("the log is another one")
	}
	onDatabase := startOn(t, h.Data, there.Store)
	demo = daemontest.At(t, onDatabase, onDatabase, "demo")
	if repeated := daemontest.Must(t)(demo.Withdraw(t.Context(), daemontest.Account, 7,
		"the last one")); repeated.Receipt != answer.Receipt {
		t.Errorf("repeated: %s, first %s", repeated.Receipt, answer.Receipt)
	}
	daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 1, "in the database"))
	if err := onDatabase.Stop(); err != nil {
		t.Fatal(err)
	}
	was, _ = contents(t, there)
	if _, err := there.Export(t.Context(), again, problem); err != nil {
		t.Fatal(err)
	}
	if _, err := here.Import(t.Context(), again, daemontest.Discard, problem); err != nil {
		t.Fatal(err)
	}
	is, _ = contents(t, here)
	same(t, was, is)
	back := daemontest.StartOne(t, h.Data, nil)
	demo = daemontest.At(t, back, back, "demo")
	daemontest.Must(t)(demo.Inquiry(t.Context(), daemontest.Account))
	vkey, err := os.ReadFile(filepath.Join(h.Data, "audit", "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := audit.ParseProof([]byte(proof))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(answer.Receipt, " ")
	leaf, err := tlog.ParseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	if report := old.CheckHash(leaf, string(vkey)); !report.OK() {
		t.Errorf("a receipt of before: %+v", report)
	}
	report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(h.Data, "audit")),
		audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Errorf("%+v, %v", report, err)
	}
}

func same(t testing.TB, was, is vault.Part) {
	t.Helper()
	if diff := cmp.Diff(was, is, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Errorf("moved, and changed: %.2000s", diff)
	}
}

func contents(t testing.TB, f offline.Folder) (vault.Part, *vault.Trail) {
	t.Helper()
	s := openStore(t, f)
	defer s.Close()
	return vaulttest.Contents(t, s)
}
