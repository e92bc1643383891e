package boltstore

import (
	"errors"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/wal"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
)

// TestCrashBetweenTransactionsOfAFlushLosesNothing opens what is on the disk when a crash
// comes between two of the transactions of a flush.
func TestCrashBetweenTransactionsOfAFlushLosesNothing(t *testing.T) {
	before := bytesAtOnce
	bytesAtOnce = 1 // a value in each
	t.Cleanup(func() { bytesAtOnce = before })
	path := filepath.Join(t.TempDir(), "vault.db")
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New(ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	accounts := []vault.Name{"1", "2", "3"}
	for _, account := range accounts {
		if s := l.Do(t.Context(), open(account)); s.Code != atm.OK {
			t.Fatal(s)
		}
		cmd := deposit(account)
		cmd.Request = hasher.Hash(cmd.Caller, atm.RequestID(account))
		if s := l.Do(t.Context(), cmd); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	w := flushWriter{view: view{engine: store.engine}}
	defer w.end()
	parts := 0
	for v := range store.engine.memtables.Active().All() {
		if err := w.put(v); err != nil {
			t.Fatal(err)
		}
		whole(t, crashed(t, path), accounts...)
		parts++
	}
	if parts < 2*len(accounts) {
		t.Errorf("%d values of the memtable were seen", parts)
	}
	if err := errors.Join(l.Close(), store.Close()); err != nil {
		t.Error(err)
	}
}

// crashed copies a vault and its log, as they are on the disk.
func crashed(t *testing.T, path string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "vault.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(copied+suffix, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// whole opens a vault, in which each account has a cent, and looks at all of it.
func whole(t *testing.T, path string, accounts ...vault.Name) {
	t.Helper()
	for _, account := range accounts {
		if have, err := balance(t, path, account); err != nil || have != 1 {
			t.Errorf("account %s has %s: %v", account, have, err)
		}
	}
}

// balance opens a vault, looks at all of it, and returns the balance of an account.
func balance(t *testing.T, path string, account vault.Name) (atm.Amount, error) {
	t.Helper()
	s, err := Open(path, secret)
	if err != nil {
		return 0, err
	}
	if err := s.Check(t.Context(), func(problem string) { t.Error(problem) }); err != nil {
		t.Error(err)
	}
	a, err := s.Account(t.Context(), account)
	return a.Balance, errors.Join(err, s.Close())
}

// filled makes a vault with a cent in each account.
func filled(t *testing.T, path string, accounts ...vault.Name) (*Store, *ledger.Ledger) {
	t.Helper()
	KeepInLog(t)
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	l := ledger.New(ledger.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	for _, account := range accounts {
		for _, cmd := range []vault.Command{open(account), deposit(account)} {
			if s := l.Do(t.Context(), cmd); s.Code != atm.OK {
				t.Fatal(s)
			}
		}
	}
	return store, l
}

// TestCrashWhileReplayingLosesNothing opens a vault after a crash in the middle of the
// replay that followed an earlier crash, with a record in each transaction.
func TestCrashWhileReplayingLosesNothing(t *testing.T) {
	before := replayedAtOnce
	replayedAtOnce = 1
	t.Cleanup(func() { replayedAtOnce = before })
	path := filepath.Join(t.TempDir(), "vault.db")
	accounts := []vault.Name{"1", "2", "3"}
	store, l := filled(t, path, accounts...)
	first := crashed(t, path)
	if err := errors.Join(l.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	for replayed := range 2*len(accounts) + 1 {
		copied := crashed(t, first)
		db, err := openDB(copied, openFlags{})
		if err != nil {
			t.Fatal(err)
		}
		s := newEngine(db)
		s.ring.Store(store.engine.ring.Load())
		n, err := s.needed()
		if err != nil {
			t.Fatal(err)
		}
		records, err := wal.Unflushed(logPath(copied), n)
		if err != nil || len(records) != 2*len(accounts) {
			t.Fatalf("%d records are to be replayed: %v", len(records), err)
		}
		if err := errors.Join(s.replay(n.Log, records[:replayed]), db.Close()); err != nil {
			t.Fatal(err)
		}
		whole(t, copied, accounts...)
	}
}

// TestPowerCutKeepsWhatWasAnswered cuts the power while three records are being written
// together: the disk may have any of their blocks by then. None of them was answered, so
// the vault opens, with those before the first that is missing. It does not open when a
// record is missing that was durable before another one was written.
func TestPowerCutKeepsWhatWasAnswered(t *testing.T) {
	KeepInLog(t)
	path := filepath.Join(t.TempDir(), "vault.db")
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var durable []func() error
	hasty := ledger.New(ledger.Config{
		Signer: vaulttest.NewSigner(t),
		Store: begins{store, func(wait func() error) func() error {
			durable = append(durable, wait)
			return func() error { return nil } // so that the next one begins
		}},
	})
	defer hasty.Close()
	begin := func(cmd vault.Command) {
		t.Helper()
		if s := hasty.Do(t.Context(), cmd); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	wait := func() {
		t.Helper()
		if err := durable[len(durable)-1](); err != nil {
			t.Fatal(err)
		}
	}
	begin(open("1"))
	wait()
	for range 3 {
		begin(deposit("1"))
	}
	read := func(path string) []byte {
		data, err := os.ReadFile(logPath(path))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const block = 4096
	const first = 2 * block // where the first of the three begins, behind the header and another
	before := read(path)
	wait()
	after := read(path)
	// mixed opens the vault with only some of the blocks from first on as they are after.
	mixed := func(before, after []byte, has func(n int) bool) (atm.Amount, error) {
		t.Helper()
		copied := crashed(t, path)
		log := append(slices.Clone(before), after[len(before):]...)
		for n := range 4 {
			if begin := first + n*block; has(n) {
				copy(log[begin:begin+block], after[begin:])
			}
		}
		if err := os.WriteFile(logPath(copied), log, 0o600); err != nil {
			t.Fatal(err)
		}
		return balance(t, copied, "1")
	}
	for subset := range 8 {
		want := atm.Amount(bits.TrailingZeros8(^uint8(subset)))
		have, err := mixed(before, after, func(n int) bool { return subset>>n&1 == 1 })
		if err != nil || have != want {
			t.Errorf("records %03b of three are there: %s, %v; want %s", subset, have, err, want)
		}
	}
	begin(deposit("1")) // is written when the three are durable
	wait()
	for missing := range 3 {
		have, err := mixed(before, read(path), func(n int) bool { return n != missing })
		if !errors.Is(err, ErrWAL) {
			t.Errorf("record %d is missing, after which another one was written: %s, %v; want "+
				"ErrWAL", missing, have, err)
		}
	}
}
