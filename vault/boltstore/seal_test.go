package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/calendar"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
	bolt "go.etcd.io/bbolt"
)

var daily = calendar.Schedule{Every: calendar.Day}

// deposited is the deposit that filled makes.
func deposited(index vault.JournalIndex) vault.Movement {
	return vault.Movement{Index: index, From: "cash:user:demo", To: "100", Amount: 5}
}

// filled makes a store with a value in each bucket and closes it.
func filled(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vault.db")
	store := file(path).Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: signerOf(t)})
	demo := &atm.Caller{Principal: atm.Principal{Subject: "user:demo"}}
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	for i, rule := range []vault.Rule{
		vault.OpenAccount{Account: "100", Owner: "user:demo", Opening: 100000},
		vault.OpenAccount{Account: "200", Owner: "user:demo", Opening: 100000},
		vault.Deposit{Account: "100", Cash: "cash:user:demo", Amount: 5},
		vault.Authorize{Account: "100", Amount: 7, Life: time.Hour},
		vault.Authorize{Account: "100", Amount: 7, Life: time.Hour},
		vault.People(people.Enrol{
			Subject: "user:eve", Default: atm.Customer,
			Certificate: &people.Certificate{
				Serial: "1", Subject: "user:eve",
				NotAfter: time.Now().Add(time.Hour),
			},
		}),
		vault.People(people.Enrol{
			Subject: "user:eva", Default: atm.Customer,
			Certificate: &people.Certificate{
				Serial: "2", Subject: "user:eva",
				NotAfter: time.Now().Add(time.Hour),
			},
		}),
		vault.CreateGrant{Grant: vault.Grant{ID: "a", Accounts: []vault.Name{"100"}, Cap: 5}},
		vault.CreateGrant{Grant: vault.Grant{ID: "b", Accounts: []vault.Name{"100"}, Cap: 5}},
		vault.People(people.Revoke{Name: "cert:1"}),
		vault.People(people.Revoke{Name: "cert:2"}),
		// from entry 11 on
		vault.CreateMandate{
			Account: "100", Creditor: "user:eve", Terms: vault.MandateTerms{Each: 1000},
		},
		vault.CreateMandate{
			Account: "200", Creditor: "user:eve", Terms: vault.MandateTerms{Each: 1000},
		},
		vault.CreateOrder{Account: "100", To: "200", Amount: 5, Schedule: daily},
		vault.CreateOrder{Account: "200", To: "100", Amount: 5, Schedule: daily},
		vault.Reverse{Movement: deposited(2), Amount: 1},
		vault.Transfer{From: "100", To: "200", Amount: 50},
		vault.Reverse{
			Movement: vault.Movement{Index: 16, From: "100", To: "200", Amount: 50}, Amount: 1,
		},
	} {
		cmd := vault.Command{
			Event: audit.EventOp, Operation: atm.Deposit, Caller: demo, Rule: rule,
			Request: hasher.Hash(demo, atm.RequestID(fmt.Sprint(i))),
		}
		if s := l.Do(t.Context(), cmd); s.Code != atm.OK {
			t.Fatalf("%T: %v", rule, s)
		}
	}
	if err := errors.Join(l.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// edit changes the file behind the store's back.
func edit(t *testing.T, path string, change func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(change), db.Close()); err != nil {
		t.Fatal(err)
	}
}

var signers struct {
	sync.Mutex
	one *checkpoint.Signer
}

// signerOf is the one signer of all vaults that filled makes.
func signerOf(t *testing.T) *checkpoint.Signer {
	t.Helper()
	signers.Lock()
	defer signers.Unlock()
	if signers.one == nil {
		signers.one = vaulttest.NewSigner(t)
	}
	return signers.one
}

// read reads everything in the store at path.
func read(t *testing.T, path string, under []byte) error {
	t.Helper()
	store, err := boltstore.Open(path, under)
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Check(t.Context(), func(string) {})
}

func TestWrongSecretOpensNoVault(t *testing.T) {
	path := filled(t)
	if err := read(t, path, secret); err != nil {
		t.Fatal(err)
	}
	if err := read(t, path, []byte("another secret of thirty-two byte")); !errors.Is(err,
		keyring.ErrWrongSecret) {
		t.Errorf("opened with another secret: %v", err)
	}
}

// TestFileShowsNothingOfItsValues looks for what clients said in the bytes of the file.
func TestFileShowsNothingOfItsValues(t *testing.T) {
	path := filled(t)
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				for _, word := range []string{"deposit", "user:demo", "1000.05"} {
					if bytes.Contains(v, []byte(word)) {
						return fmt.Errorf("%s has a readable value", name)
					}
				}
				return nil
			})
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// TestChangedOrMovedValueIsNotRead flips every byte of one value of each bucket, and puts
// it in the place of another one: each is noticed when it is read.
func TestChangedOrMovedValueIsNotRead(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long")
	}
	path := filled(t)
	type pair struct{ k, v []byte }
	values := map[string][]pair{}
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if string(k) != "schema" {
					values[string(name)] = append(values[string(name)],
						pair{bytes.Clone(k), bytes.Clone(v)})
				}
				return nil
			})
		})
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	if len(values) != 13 {
		t.Fatalf("values in %d buckets, want 13", len(values))
	}
	for name, pairs := range values {
		last := pairs[len(pairs)-1]
		put := func(v []byte) {
			edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte(name)).Put(last.k, v) })
		}
		for i := range last.v {
			flipped := bytes.Clone(last.v)
			flipped[i] ^= 1
			put(flipped)
			if err := read(t, path, secret); err == nil {
				t.Errorf("%s: byte %d of %d was flipped, and nobody noticed", name, i, len(last.v))
			}
		}
		if name != "keys" { // that has one value only
			put(pairs[len(pairs)-2].v)
			if err := read(t, path, secret); err == nil {
				t.Errorf("%s: a value was moved, and nobody noticed", name)
			}
		}
		put(last.v)
		if err := read(t, path, secret); err != nil {
			t.Fatalf("%s, put right: %v", name, err)
		}
	}
}

// TestRequestIDOfAnotherEntryIsNotAnswered makes a request id point to an entry that answered
// another one.
func TestRequestIDOfAnotherEntryIsNotAnswered(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bolt.Tx) error {
		requests := tx.Bucket([]byte("requests"))
		var first []byte
		keys := make(map[string]bool)
		err := requests.ForEach(func(k, v []byte) error {
			if first == nil {
				first = bytes.Clone(v)
			}
			keys[string(k)] = true
			return nil
		})
		for k := range keys {
			err = errors.Join(err, requests.Put([]byte(k), first))
		}
		return err
	})
	store := file(path).Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: signerOf(t)})
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	demo := &atm.Caller{Principal: atm.Principal{Subject: "user:demo"}}
	right := 0
	for i := range 11 { // as filled has them
		s := l.Do(t.Context(), vault.Command{
			Event: audit.EventOp, Operation: atm.Deposit, Caller: demo,
			Rule:    vault.Deposit{Account: "100", Cash: "cash:user:demo", Amount: 5},
			Request: hasher.Hash(demo, atm.RequestID(fmt.Sprint(i))),
		})
		switch s.Code {
		case atm.OK:
			right++
		case atm.Internal:
		default:
			t.Errorf("request id %d is answered %+v", i, s)
		}
	}
	if err := l.Close(); right > 1 || err != nil {
		t.Errorf("%d request ids were answered with one entry; the ledger ended with %v",
			right, err)
	}
}

// TestDamagedRecordFailsItsOwnOperationsAlone flips a bit of a record of each kind. What needs
// it is answered INTERNAL, others are carried out, now and after the
// next start.
func TestDamagedRecordFailsItsOwnOperationsAlone(t *testing.T) {
	demo := &atm.Caller{Principal: atm.Principal{Subject: "user:demo"}}
	command := func(op atm.Operation, rule vault.Rule) vault.Command {
		return vault.Command{Event: audit.EventOp, Operation: op, Caller: demo, Rule: rule}
	}
	for _, tt := range []struct {
		bucket   string
		key      uint64 // the end of it
		affected vault.Command
		others   vault.Command
	}{
		{
			"accounts", 100, command(atm.Deposit, vault.Deposit{
				Account: "100",
				Cash:    "cash:user:demo", Amount: 1,
			}),
			command(atm.Deposit, vault.Deposit{Account: "200", Cash: "cash:user:demo", Amount: 1}),
		},
		{
			"holds", 4, command(atm.Release, vault.Release{Hold: 4}),
			command(atm.Deposit, vault.Deposit{Account: "100", Cash: "cash:user:demo", Amount: 1}),
		},
		{
			"mandates", 11, command(atm.Collect, vault.Collect{Mandate: 11, To: "200", Amount: 1}),
			command(atm.Collect, vault.Collect{Mandate: 12, To: "100", Amount: 1}),
		},
		{
			"orders", 13, command(atm.OrderCancel, vault.CancelOrder{Order: 13}),
			command(atm.OrderCancel, vault.CancelOrder{Order: 14}),
		},
		{
			"reversals", 2, command(atm.Reverse, vault.Reverse{Movement: deposited(2), Amount: 1}),
			command(atm.Reverse, vault.Reverse{
				Movement: vault.Movement{Index: 16, From: "100", To: "200", Amount: 50}, Amount: 1,
			}),
		},
	} {
		t.Run(tt.bucket, func(t *testing.T) {
			path := filled(t)
			edit(t, path, func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte(tt.bucket))
				c := b.Cursor()
				for k, v := c.First(); k != nil; k, v = c.Next() {
					if bytes.HasSuffix(k, binary.BigEndian.AppendUint64(nil, tt.key)) {
						flipped := bytes.Clone(v)
						flipped[len(v)/2] ^= 1
						return b.Put(bytes.Clone(k), flipped)
					}
				}
				return errors.New("there is no such record")
			})
			for again := range 2 {
				store := file(path).Open(t)
				l := ledger.New(ledger.Config{Store: store, Signer: signerOf(t)})
				var replies []ledger.Reply
				for range 20 {
					replies = append(replies, l.Begin(t.Context(), tt.others),
						l.Begin(t.Context(), tt.affected))
				}
				for i, reply := range replies {
					want := atm.OK
					if i%2 == 1 {
						want = atm.Internal
					}
					if s := reply(); s.Code != want || (s.Receipt == "") != (want == atm.Internal) {
						t.Fatalf("start %d, command %d is answered %+v, not %s", again, i, s, want)
					}
				}
				if err := errors.Join(l.Close(), store.Close()); err != nil {
					t.Errorf("the ledger ended with %v", err)
				}
			}
		})
	}
}

// TestRotationSealsEverythingAgain changes both keys while somebody deposits, and looks for values
// that are still sealed with old ones.
func TestRotationSealsEverythingAgain(t *testing.T) {
	path := filled(t)
	store, err := boltstore.Open(path, secret)
	if err != nil {
		t.Fatal(err)
	}
	next := []byte("the secret that comes after it..")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 50 {
			keys := vault.Keys{Accounts: []vault.Name{"100"}}
			_, err := store.Commit(context.Background(), keys, func(b *vault.Books) error {
				if a := b.Account("100"); a.Version == 0 {
					return fmt.Errorf("round %d: account 100 is gone", i)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	if err := store.DataKeys().Rotate(secret); err != nil {
		t.Fatal(err)
	}
	if err := store.DataKeys().Rewrap(next); err != nil {
		t.Fatal(err)
	}
	stopped := false
	// ended after one bucket
	if err := store.DataKeys().Reseal(func() bool {
		defer func() { stopped = true }()
		return stopped
	}); err != nil {
		t.Fatal(err)
	}
	<-done
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, under := range [][]byte{secret, next} { // a crash here leaves both usable
		if err := read(t, path, under); err != nil {
			t.Fatal(err)
		}
	}
	if store, err = boltstore.Open(path, next); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.DataKeys().Reseal(func() bool {
		return false
	}), store.DataKeys().Forget(next), store.Close()); err != nil {
		t.Fatal(err)
	}
	if err := read(t, path, next); err != nil {
		t.Fatal(err)
	}
	if err := read(t, path, secret); !errors.Is(err, keyring.ErrWrongSecret) {
		t.Errorf("the old secret still opens it: %v", err)
	}
	edit(t, path, func(tx *bolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				if string(name) != "keys" && string(name) != "requests" && string(k) != "schema" &&
					!bytes.Equal(v[:4], []byte{0, 0, 0, 2}) {
					t.Errorf("%s %x is sealed with key %x", name, k, v[:4])
				}
				return nil
			})
		})
	})
}
