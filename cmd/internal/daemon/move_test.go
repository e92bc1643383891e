//go:build unix

package daemon_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/vaulttest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/sumdb/tlog"
)

// TestMovedAccountsKeepBalancesAndReceipts moves an installation into a database and back.
func TestMovedAccountsKeepBalancesAndReceipts(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	moves(t, daemontest.Database(t))
}

// TestAccountsMoveThroughEveryStore moves an installation from a data folder into a table of
// DynamoDB, from there into PostgreSQL, and back.
func TestAccountsMoveThroughEveryStore(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	table := storage.Location{URL: dyntest.Shared(t).Table()}
	moves(t, table, storage.Location{URL: daemontest.Postgres(t).Database(t)})
}

// moves moves an installation from its data folder to each place in turn, serves there, and
// moves back. Balances and tree are the same after each move, and earlier receipts stay valid.
func moves(t *testing.T, places ...storage.Location) {
	operations := 2000
	if os.Getenv("ATM_SOAK") != "" {
		operations = 100_000
	}
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	depositMany(t, h, operations)
	demo := h.As(t, "demo")
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
	from := offline.Folder{Data: h.Data}
	for i, place := range append(places, storage.Location{}) {
		to := offline.Folder{Data: h.Data, Store: place}
		move(t, from, to)
		again := startOn(t, h.Data, place)
		demo = daemontest.At(t, again, again, "demo")
		if repeated := daemontest.Must(t)(demo.Withdraw(t.Context(), daemontest.Account, 7,
			"the last one")); repeated.Receipt != answer.Receipt {
			t.Errorf("repeated: %s, first %s", repeated.Receipt, answer.Receipt)
		}
		daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 1,
			atm.RequestID(fmt.Sprint("at place ", i))))
		stillProven(t, h.Data, answer.Receipt, proof)
		if err := again.Stop(); err != nil {
			t.Fatal(err)
		}
		from = to
	}
	published(t, h.Data)
}

// TestImportThatFailsLeavesTheAccountsInTheDatabase imports into a folder where something is in the
// way of the vault. The accounts are in the database, as before.
func TestImportThatFailsLeavesTheAccountsInTheDatabase(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), nil)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	problem := func(p string) { t.Error(p) }
	folder, file := offline.Folder{Data: h.Data}, filepath.Join(t.TempDir(), "export")
	if _, err := folder.Export(t.Context(), file, problem); err != nil {
		t.Fatal(err)
	}
	dir := datadir.At(h.Data)
	kept, err := dir.ReadConfig()
	if err != nil {
		t.Fatal(err)
	}
	dir.Config = *kept
	if err := errors.Join(dir.SetStore(datadir.Postgres), os.Remove(dir.Vault()),
		os.MkdirAll(filepath.Join(dir.Vault(), "in the way"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Import(t.Context(), file, daemontest.Discard, problem); err == nil {
		t.Error("the vault is where a folder is")
	}
	if kept, err := datadir.At(h.Data).ReadConfig(); err != nil || kept.Store != datadir.Postgres {
		t.Errorf("the configuration says that the accounts are in %q: %v", kept.Store, err)
	}
}

// depositMany deposits cents, a hundred in a request, at four clients.
func depositMany(t *testing.T, h *daemontest.Server, operations int) {
	t.Helper()
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
}

// move moves the accounts of a stopped server.
func move(t *testing.T, from, to offline.Folder) {
	t.Helper()
	problem := func(p string) { t.Error(p) }
	file := filepath.Join(t.TempDir(), "export")
	begun := published(t, from.Data)
	was, _ := contents(t, from)
	if found, err := from.Export(t.Context(), file, problem); err != nil || found.Entries == 0 {
		t.Fatal(found, err)
	}
	if _, err := to.Import(t.Context(), file, daemontest.Discard, problem); err != nil {
		t.Fatal(err)
	}
	is, _ := contents(t, to)
	same(t, was, is)
	if is := published(t, to.Data); is != begun {
		t.Errorf("the log was %s, and is %s", begun, is)
	}
}

// published verifies the published log, and returns its size and root.
func published(t *testing.T, data string) string {
	t.Helper()
	report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(data, "audit")),
		audit.VerifyOptions{})
	if err != nil || !report.OK() {
		t.Fatalf("%+v, %v", report, err)
	}
	return fmt.Sprint(report.Size, " ", report.Root)
}

// stillProven holds the proof of a receipt against the key of the log in a data folder.
func stillProven(t *testing.T, data, receipt, proof string) {
	t.Helper()
	vkey, err := os.ReadFile(filepath.Join(data, "audit", "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	old, err := audit.ParseProof([]byte(proof))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(receipt, " ")
	leaf, err := tlog.ParseHash(text)
	if err != nil {
		t.Fatal(err)
	}
	if report := old.CheckHash(leaf, string(vkey)); !report.OK() {
		t.Errorf("a receipt of before: %+v", report)
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
