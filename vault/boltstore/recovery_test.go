package boltstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

// A running vault has commits that are in its write-ahead log alone.
type running struct {
	path   string
	store  *boltstore.Store
	ledger *ledger.Ledger
}

func run(t *testing.T, path string, signer *checkpoint.Signer) *running {
	t.Helper()
	boltstore.KeepInLog(t)
	store, err := boltstore.Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{path, store, ledger.New(ledger.Config{Store: store, Signer: signer})}
	t.Cleanup(func() { r.stop(t) })
	return r
}

func (r *running) stop(t *testing.T) {
	if err := errors.Join(r.ledger.Close(), r.store.Close()); err != nil {
		t.Error(err)
	}
}

func (r *running) do(t *testing.T, op atm.Operation, rule vault.Rule) {
	t.Helper()
	if s := r.ledger.Do(t.Context(), command(op, rule)); s.Code != atm.OK {
		t.Fatal(s)
	}
}

// crash copies what is on the disk, as it would be after a power cut, and returns
// where the copy is.
func (r *running) crash(t *testing.T) string {
	t.Helper()
	return together(t, r.path, r.path+"-wal")
}

// together copies a vault and a log, if any, and returns where the copy is.
func together(t *testing.T, vault string, log ...string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "vault.db")
	to := []string{copied, copied + "-wal"}
	for i, from := range append([]string{vault}, log...) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to[i], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// balance opens the vault at path, checks everything in it, and returns the balance
// of account 1.
func balance(t *testing.T, path string) (atm.Amount, error) {
	t.Helper()
	store, err := boltstore.Open(path, secret)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	if err := store.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
	a, err := store.Account(t.Context(), "1")
	return a.Balance, err
}

// TestCrashLosesNothing opens what is on the disk after each commit: it is all there. And when
// the last record is not whole, everything before it is.
func TestCrashLosesNothing(t *testing.T) {
	r := run(t, filepath.Join(t.TempDir(), "vault.db"), vaulttest.NewSigner(t))
	r.do(t, atm.AccountOpen, vault.OpenAccount{Account: "1"})
	for i := range 5 {
		r.do(t, atm.Deposit, vault.Deposit{Account: "1", Cash: "cash:user:teller", Amount: 1})
		copied := r.crash(t)
		if have, err := balance(t, copied); err != nil || have != atm.Amount(i+1) {
			t.Fatalf("after %d deposits: %s, %v", i+1, have, err)
		}
		if _, err := os.Stat(copied + "-wal"); err == nil {
			t.Error("an open vault needs a log though nothing was committed")
		}
		if have, err := balance(t, copied); err != nil || have != atm.Amount(i+1) {
			t.Fatalf("opened again: %s, %v", have, err)
		}
	}
	const block = 4096
	// begin at these bytes
	records := []int{block, 2 * block, 3 * block, 4 * block, 5 * block, 6 * block}
	for n, want := range map[int]atm.Amount{
		records[5]: 4, records[5] + 5: 4, records[5] + 10: 4,
		records[5] + 18: 4, records[5] + 500: 4,
	} {
		copied := r.crash(t)
		damage(t, copied, n)
		if have, err := balance(t, copied); err != nil || have != want {
			t.Errorf("byte %d of the log damaged: %s, %v, want %s", n, have, err, want)
		}
	}
	for _, n := range []int{0, records[0], records[2] + 5, records[3] + 18, records[4] + 500} {
		copied := r.crash(t)
		damage(t, copied, n)
		if have, err := balance(t, copied); !errors.Is(err, boltstore.ErrWAL) {
			t.Errorf("byte %d of the log damaged: %s, %v; want ErrWAL", n, have, err)
		}
	}
}

func damage(t *testing.T, vault string, n int) {
	t.Helper()
	data, err := os.ReadFile(vault + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	data[n] ^= 1
	if err := os.WriteFile(vault+"-wal", data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLogOfAnotherVaultIsRefused puts vaults and logs together that do not belong together.
func TestLogOfAnotherVaultIsRefused(t *testing.T) {
	signer := vaulttest.NewSigner(t)
	path := filepath.Join(t.TempDir(), "vault.db")
	r := run(t, path, signer)
	r.do(t, atm.AccountOpen, vault.OpenAccount{Account: "1"})
	used := r.crash(t)
	r.stop(t)
	stopped := together(t, path)
	r = run(t, path, signer)
	r.do(t, atm.Deposit, vault.Deposit{Account: "1", Cash: "cash:user:teller", Amount: 1})
	later := r.crash(t)

	for name, files := range map[string][2]string{
		"an old vault, closed cleanly, with a newer log": {stopped, later + "-wal"},
		"an old vault with the log of a later session":   {used, later + "-wal"},
		"a vault with an older log":                      {later, used + "-wal"},
	} {
		if have, err := balance(t, together(t, files[0], files[1])); !errors.Is(err,
			boltstore.ErrWAL) {
			t.Errorf("%s: %s, %v; want ErrWAL", name, have, err)
		}
	}
	if have, err := balance(t, together(t, later)); !errors.Is(err, boltstore.ErrWAL) {
		t.Errorf("a vault whose log is missing: %s, %v; want ErrWAL", have, err)
	}
}

// TestOpenOlderKeepsWhatIsThere goes on with what a vault and the wrong log have.
func TestOpenOlderKeepsWhatIsThere(t *testing.T) {
	signer := vaulttest.NewSigner(t)
	path := filepath.Join(t.TempDir(), "vault.db")
	r := run(t, path, signer)
	r.do(t, atm.AccountOpen, vault.OpenAccount{Account: "1"})
	r.do(t, atm.Deposit, vault.Deposit{Account: "1", Cash: "cash:user:teller", Amount: 1})
	r.stop(t)
	stopped := together(t, path)
	r = run(t, path, signer)
	for range 4 {
		r.do(t, atm.Deposit, vault.Deposit{Account: "1", Cash: "cash:user:teller", Amount: 1})
	}
	later := r.crash(t)
	damaged := r.crash(t)
	const thirdRecord = (1 + 2) * 4096
	damage(t, damaged, thirdRecord)

	for name, tt := range map[string]struct {
		vault string
		kept  bool // a log under another name
		want  atm.Amount
	}{
		"a vault and its log":         {later, false, 5},
		"no log":                      {together(t, later), false, 1},
		"the log of a later session":  {together(t, stopped, later+"-wal"), true, 1},
		"a log with a damaged record": {damaged, true, 3},
	} {
		store, err := boltstore.OpenOlder(tt.vault, secret)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if have, err := balance(t, tt.vault); err != nil || have != tt.want {
			t.Errorf("%s: %s, %v, want %s", name, have, err, tt.want)
		}
		if _, err := os.Stat(tt.vault + "-wal.1"); (err == nil) != tt.kept {
			t.Errorf("%s: the log under another name: %v, want %v", name, err, tt.kept)
		}
	}
}

// TestCommitLargerThanTheLogIsKept commits more at once than the log has space for.
func TestCommitLargerThanTheLogIsKept(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	path := filepath.Join(t.TempDir(), "vault.db")
	r := run(t, path, vaulttest.NewSigner(t))
	r.do(t, atm.AccountOpen, vault.OpenAccount{Account: "1", Owner: "user:" + strings.Repeat("x",
		33<<20)})
	for range 3 {
		r.do(t, atm.Deposit, vault.Deposit{Account: "1", Cash: "cash:user:teller", Amount: 1})
	}
	r.stop(t)
	if have, err := balance(t, path); err != nil || have != 3 {
		t.Errorf("%s, %v", have, err)
	}
}
