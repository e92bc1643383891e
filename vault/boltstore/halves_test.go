package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/vaulttest"
	bolt "go.etcd.io/bbolt"
)

// TestHalves fills the halves of a log in turn, with records of many sizes, and
// reads after each turn what is in them: whatever is not in the vault yet.
func TestHalves(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := createWAL(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.f.Close()
	random := rand.New(rand.NewPCG(1, 2))
	payload := func(number uint64) []byte {
		return bytes.Repeat([]byte{byte(number)}, recordHead+1+int(number*7919%(300<<10)))
	}
	var before, half uint64 // numbers of the last records of the halves before the current one
	for turn := 0; turn < 6; {
		next := payload(w.last + 1)
		if !w.fits(next) || random.IntN(80) == 0 {
			before, half = half, w.last
			turn++
			w.turn()
		}
		b := &batch{record: bytes.Clone(next)}
		w.place(b)
		if err := w.store([]*batch{b}); err != nil {
			t.Fatal(err)
		}
		if w.last%16 != 0 && w.at > walBlock {
			continue
		}
		of, whole, err := readWAL(path)
		if err != nil || of != w.session {
			t.Fatal(err)
		}
		for _, applied := range []uint64{before, half, w.last} {
			list, err := after(whole, applied)
			if err != nil || uint64(len(list)) != w.last-applied {
				t.Fatalf("turn %d: %d records after %d of %d, %v", turn, len(list), applied, w.last, err)
			}
			for i, r := range list {
				if r.number != applied+uint64(i)+1 || !bytes.Equal(r.payload, payload(r.number)[recordHead:]) {
					t.Fatalf("record %d is not what was written", r.number)
				}
			}
		}
		if before > 0 {
			if n := w.last - half; n > 0 { // the first of the half that is being filled is torn by a crash
				damaged := filepath.Join(t.TempDir(), "torn")
				tear(t, path, damaged, int64(walBlock+w.half*walHalf))
				_, rest, err := readWAL(damaged)
				if err != nil {
					t.Fatal(err)
				}
				if list, err := after(rest, half); (err != nil) != (n > 1) || len(list) > 0 {
					t.Fatalf("the first of %d records of a half is torn: %d are left, %v", n, len(list), err)
				}
			}
			left := slices.ContainsFunc(whole, func(r record) bool { return r.number == before })
			if _, err := after(whole, before-1); (err == nil) != left {
				t.Fatalf("a vault that has %d, with a log that still has record %d (%v): %v", before-1, before, left, err)
			}
		}
	}
}

// tear copies a log, but for one byte of the record at a place.
func tear(t *testing.T, log, to string, at int64) {
	t.Helper()
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	data[at+recordHead] ^= 1
	if err := os.WriteFile(to, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestParts opens what is on the disk when a crash comes between two of the
// transactions that a layer is written in.
func TestParts(t *testing.T) {
	before := bytesAtOnce
	bytesAtOnce = 1 // a value in each
	t.Cleanup(func() { bytesAtOnce = before })
	path := filepath.Join(t.TempDir(), "vault.db")
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	l := vault.NewLedger(vault.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	hasher, err := vault.NewRequestHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	accounts := []vault.Name{"1", "2", "3"}
	for _, account := range accounts {
		if s := l.Do(t.Context(), open(account)); s.Code != atm.OK {
			t.Fatal(s)
		}
		cmd := deposit(account)
		cmd.Request = hasher.Request(cmd.Caller, atm.RequestID(account))
		if s := l.Do(t.Context(), cmd); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	w := layerWriter{txn: txn{store: store}}
	defer w.end()
	parts := 0
	for v := range store.layers.newer.all() {
		if err := w.put(v); err != nil {
			t.Fatal(err)
		}
		whole(t, crashed(t, path), accounts...)
		parts++
	}
	if parts < 2*len(accounts) {
		t.Errorf("%d values of the layer were seen", parts)
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
func filled(t *testing.T, path string, accounts ...vault.Name) (*Store, *vault.Ledger) {
	t.Helper()
	KeepInLog(t)
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	l := vault.NewLedger(vault.Config{Store: store, Signer: vaulttest.NewSigner(t)})
	for _, account := range accounts {
		for _, cmd := range []vault.Command{open(account), deposit(account)} {
			if s := l.Do(t.Context(), cmd); s.Code != atm.OK {
				t.Fatal(s)
			}
		}
	}
	return store, l
}

// TestOlderLayout opens a vault of before chunks were packed: what it has can be read,
// and from then on programs of that time refuse it.
func TestOlderLayout(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	accounts := []vault.Name{"1", "2", "3"}
	store, l := filled(t, path, accounts...)
	packed := 0
	err := errors.Join(l.Close(), store.exclusive(func(now txn) error {
		journal := now.shelf(bucketJournal)
		chunks := make(map[string][]byte)
		err := journal.bucket.ForEach(func(k, sealed []byte) error {
			v, err := journal.open(k, sealed)
			if err != nil {
				return err
			}
			plain, err := unpackChunk(nil, v)
			if v[0] == formPacked {
				packed++
			}
			chunks[string(k)] = append([]byte{formEntries}, plain...)
			return err
		})
		for k, v := range chunks {
			err = errors.Join(err, journal.put([]byte(k), v))
		}
		return errors.Join(err, now.file.Bucket(bucketMeta).Put(keySchema, layout(schema4)))
	}), store.Close())
	if err != nil || packed == 0 {
		t.Fatal(packed, err)
	}
	whole(t, path, accounts...)
	if store, err = Open(path, secret); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	err = store.db.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket(bucketMeta).Get(keySchema); !bytes.Equal(v, layout(schema)) {
			t.Errorf("its layout is %x", v)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestReplayInParts opens a vault after a crash while what an earlier one had left in
// the log was being replayed, a record in each transaction.
func TestReplayInParts(t *testing.T) {
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
		s := &Store{db: db}
		s.keys.Store(store.keys.Load())
		_, used, applied, err := s.mark()
		if err != nil {
			t.Fatal(err)
		}
		_, records, err := readWAL(walPath(copied))
		if err != nil {
			t.Fatal(err)
		}
		records, err = after(records, applied)
		if err != nil || len(records) != 2*len(accounts) {
			t.Fatalf("%d records are to be replayed: %v", len(records), err)
		}
		if err := errors.Join(s.replay(used, records[:replayed]), db.Close()); err != nil {
			t.Fatal(err)
		}
		whole(t, copied, accounts...)
	}
}

// TestReordered cuts the power while three records are being written together: the disk
// may have any of their blocks by then. None of them was answered, so the vault opens,
// with those before the first that is missing. It does not when a record is missing
// that was durable before another one was written.
func TestReordered(t *testing.T) {
	KeepInLog(t)
	path := filepath.Join(t.TempDir(), "vault.db")
	store, err := Create(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var durable []func() error
	hasty := vault.NewLedger(vault.Config{Signer: vaulttest.NewSigner(t), Store: begins{store, func(wait func() error) func() error {
		durable = append(durable, wait)
		return func() error { return nil } // so that the next one begins
	}}})
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
		data, err := os.ReadFile(walPath(path))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	before, first := read(path), store.wal.at-2*walBlock // where the first of the three begins
	wait()
	after := read(path)
	// mixed opens the vault with only some of the blocks from first on as they are after.
	mixed := func(before, after []byte, has func(block int) bool) (atm.Amount, error) {
		t.Helper()
		copied := crashed(t, path)
		log := append(slices.Clone(before), after[len(before):]...)
		for block := range 4 {
			if begin := int(first) + block*walBlock; has(block) {
				copy(log[begin:begin+walBlock], after[begin:])
			}
		}
		if err := os.WriteFile(walPath(copied), log, 0o600); err != nil {
			t.Fatal(err)
		}
		return balance(t, copied, "1")
	}
	for subset := range 8 {
		want := atm.Amount(bits.TrailingZeros8(^uint8(subset)))
		have, err := mixed(before, after, func(block int) bool { return subset>>block&1 == 1 })
		if err != nil || have != want {
			t.Errorf("records %03b of three are there: %s, %v; want %s", subset, have, err, want)
		}
	}
	begin(deposit("1")) // is written when the three are durable
	wait()
	for missing := range 3 {
		have, err := mixed(before, read(path), func(block int) bool { return block != missing })
		if !errors.Is(err, ErrWAL) {
			t.Errorf("record %d is missing, after which another one was written: %s, %v; want ErrWAL", missing, have, err)
		}
	}
}

// TestOlderLog opens what a crash left of a program whose records did not say what was
// durable.
func TestOlderLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vault.db")
	store, l := filled(t, path, "1", "2")
	copied := crashed(t, path)
	if err := errors.Join(l.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	of, records, err := readWAL(walPath(copied))
	if err != nil {
		t.Fatal(err)
	}
	older := make([]byte, walBlock*(1+len(records)))
	copy(older[copy(older, walMagic2):], of[:])
	for i, r := range records {
		place := older[walBlock*(1+i):][:recordHead2+len(r.payload)]
		binary.BigEndian.PutUint32(place, recordMagic)
		binary.BigEndian.PutUint32(place[4:], uint32(len(r.payload)))
		binary.BigEndian.PutUint64(place[8:], r.number)
		copy(place[recordHead2:], r.payload)
		binary.BigEndian.PutUint32(place[16:], of.checksum(place, recordHead2))
	}
	if err := os.WriteFile(walPath(copied), older, 0o600); err != nil {
		t.Fatal(err)
	}
	torn := crashed(t, copied)
	tear(t, walPath(copied), walPath(torn), walBlock)
	if _, err := Open(torn, secret); !errors.Is(err, ErrWAL) {
		t.Errorf("the first of %d records is damaged: %v", len(records), err)
	}
	whole(t, copied, "1", "2")
}

// TestRipe looks at which layers are worth writing: those that many entries share.
func TestRipe(t *testing.T) {
	layer := func(entries, accounts int) *layer {
		l := newLayer(nil)
		l.bytes = entries << 10
		l.leaves = make([][]byte, entries)
		for i := range accounts {
			l.values[numberAccounts][string(numberKey(uint64(i)))] = nil
		}
		return l
	}
	if layer(100, 1).ripe() {
		t.Error("a layer of 100 KiB is to be written")
	}
	if !layer(4096, 100).ripe() {
		t.Error("4,096 entries of 100 accounts are not to be written")
	}
	if layer(4096, 4096).ripe() {
		t.Error("4,096 entries of as many accounts are to be written, a page for each")
	}
}

// TestPackedChunk packs what is alike and what is not, in memory that is used again.
func TestPackedChunk(t *testing.T) {
	noise := make([]byte, 20<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	alike := bytes.Repeat([]byte(`{"operation":"deposit"}`), 700)
	packedInto, plainInto := make([]byte, 0, 64), make([]byte, 0, 64)
	for _, tt := range []struct {
		name  string
		plain []byte
		form  byte
	}{
		{"one byte", noise[:1], formEntries},
		{"noise", noise, formEntries},
		{"much alike", alike, formPacked},
		{"less of it", alike[:2000], formPacked},
		{"longer than a chunk", bytes.Repeat(alike, 9), formPacked},
	} {
		v := packChunk(packedInto, append([]byte{formEntries}, tt.plain...))
		plain, err := unpackChunk(plainInto, v)
		if err != nil || v[0] != tt.form || len(v) > 1+len(tt.plain) || !bytes.Equal(plain, tt.plain) {
			t.Errorf("%s: form %d, %d bytes become %d and %d, %v", tt.name, v[0], len(tt.plain), len(v), len(plain), err)
		}
		if v[0] == formPacked {
			packedInto, plainInto = v, plain
		}
	}
	for _, bad := range [][]byte{nil, {formPacked}, {formEntries}, {9, 1}, append([]byte{formPacked}, binary.AppendUvarint(nil, 1<<31)...)} {
		if plain, err := unpackChunk(nil, bad); err == nil {
			t.Errorf("%x was unpacked to %x", bad, plain)
		}
	}
}

// FuzzRecords reads what is no log, and what is in no record, and no chunk.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{1, 1, 'k', 1, 'v'})
	f.Add([]byte{9, 0, 0})
	f.Add([]byte{formEntries, 1, 2, 0, 0, 1, '{'})
	f.Add(packChunk(nil, append([]byte{formEntries}, bytes.Repeat([]byte{1, 2, 0, 0, 1, '{'}, 100)...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if list := (session{}).records(data, recordHead); len(list)*recordHead > len(data) {
			t.Errorf("%d records in %d bytes", len(list), len(data))
		}
		var again []byte
		err := eachValue(data, func(bucket int, key, value []byte) error {
			again = appendValue(again, bucket, key, value)
			return nil
		})
		if err == nil && len(again) > len(data) {
			t.Errorf("%x was read as %x", data, again)
		}
		var entries []entry
		plain, err := unpackChunk(nil, data)
		if err == nil {
			entries, err = decodeChunk(plain, nil)
		}
		for _, e := range entries {
			for slot := range e.count {
				e.link(1, slot)
			}
		}
		if err == nil && len(entries) == 0 {
			t.Errorf("%x was read as a chunk of nothing", data)
		}
	})
}
