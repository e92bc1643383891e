package boltstore

import (
	"testing"
	"time"

	"example.com/atm/vault"
	"example.com/atm/vault/codec"
)

// KindsIn returns pointers to the records in r of each kind that has a bucket.
func KindsIn(r *vault.Records) (lists []any) {
	for _, kind := range kinds {
		lists = append(lists, kind.of(r))
	}
	return lists
}

// A note is a record of a kind that there may be one day.
type note struct{ key, text string }

// AddKind lets the store have another kind of records until the end of a test. It returns how
// many a store has, and a function that writes one.
func AddKind(t testing.TB) (count func(*Store) int, write func(s *Store, key, text string)) {
	notes := &records[string, note]{
		bucket: []byte("notes"),
		Kind: codec.Kind[string, note]{
			Name: "note", ToKey: codec.TextKey, FromKey: codec.KeyText,
			Key:    func(n *note) string { return n.key },
			Encode: func(n *note) []byte { return []byte(n.text) },
			Decode: func(key string, v []byte) (note, error) { return note{key, string(v)}, nil },
		},
	}
	var list []note
	notes.List = func(*vault.Records) *[]note { return &list }
	before, names := kinds, buckets
	kinds = append(kinds[:len(kinds):len(kinds)], notes)
	buckets = bucketsOf(kinds)
	t.Cleanup(func() { kinds, buckets = before, names })
	count = func(s *Store) int {
		list = nil
		if err := s.engine.snapshot(func(v view) error {
			_, err := notes.all(v)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	return count, func(s *Store, key, text string) {
		list = []note{{key, text}}
		if err := s.exclusive(func(v view) error {
			return notes.write(v, &vault.Records{}, nil)
		}); err != nil {
			t.Fatal(err)
		}
		list = nil
	}
}

// KeepInLog leaves what is committed in the write-ahead log and the memtable until the end
// of a test, unless it fills them.
func KeepInLog(t testing.TB) {
	age, quiet := flushAge, flushQuiet
	flushAge, flushQuiet = time.Hour, time.Hour
	t.Cleanup(func() { flushAge, flushQuiet = age, quiet })
}

// all returns every record of the kind.
func (s *records[K, V]) all(v view) ([]V, error) {
	var r vault.Records
	err := s.each(v, &r, func() error { return nil })
	return *s.List(&r), err
}
