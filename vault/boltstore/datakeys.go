package boltstore

import (
	"bytes"
	"fmt"
	"sync"

	"example.com/atm/vault/boltstore/keyring"
	"example.com/atm/vault/boltstore/shelf"
	bolt "go.etcd.io/bbolt"
)

// DataKeys are the keys that the values of a store are sealed with. They are in its file,
// sealed under the secret of the vault.
type DataKeys struct {
	engine *engine
	change sync.Mutex // held while they change
}

// DataKeys returns the data keys of the store.
func (s *Store) DataKeys() *DataKeys { return &s.keys }

// update calls change with the bucket of the data keys.
func (d *DataKeys) update(change func(*bolt.Bucket) error) error {
	return d.engine.db.Update(func(tx *bolt.Tx) error { return change(tx.Bucket(keyring.Bucket)) })
}

// Rotate makes a new data key, with which everything is sealed from now on. Reseal seals
// again what was sealed with older ones.
func (d *DataKeys) Rotate(secret []byte) error {
	d.change.Lock()
	defer d.change.Unlock()
	next, err := d.engine.ring.Load().Rotated()
	if err != nil {
		return err
	}
	err = d.update(func(b *bolt.Bucket) error { return next.Wrap(b, secret) })
	if err == nil {
		d.engine.ring.Store(next)
	}
	return err
}

// Rewrap seals the data keys under another secret as well. After the secret has been
// replaced where it is kept, Forget drops what the old one opened.
func (d *DataKeys) Rewrap(secret []byte) error {
	d.change.Lock()
	defer d.change.Unlock()
	return d.update(func(b *bolt.Bucket) error { return d.engine.ring.Load().Wrap(b, secret) })
}

// Forget drops the data keys that are sealed under any other secret.
func (d *DataKeys) Forget(secret []byte) error {
	return d.update(func(b *bolt.Bucket) error { return keyring.DropOthers(b, secret) })
}

// resealAtOnce bounds how many values one transaction seals again, and so how long a
// commit waits for it.
const resealAtOnce = 512

// Reseal seals again what was sealed with older data keys, a part at a time between the
// commits, and drops those keys when nothing needs them. It ends early when stop returns
// true, and may be called again.
func (d *DataKeys) Reseal(stop func() bool) error {
	d.change.Lock()
	defer d.change.Unlock()
	ring := d.engine.ring.Load()
	if !ring.Mixed() {
		return nil
	}
	// What is sealed with older keys is in bbolt now, and stays there: a commit seals
	// with the newest.
	if err := d.engine.snapshot(func(view) error { return nil }); err != nil {
		return err
	}
	for _, name := range buckets {
		if bytes.Equal(name, bucketRequests) {
			continue // its values are not sealed
		}
		for from := []byte{}; from != nil; {
			if stop() {
				return nil
			}
			err := d.engine.db.Update(func(tx *bolt.Tx) error {
				var err error
				from, err = resealSome(view{engine: d.engine, file: tx}.shelf(name), from)
				return err
			})
			if err != nil {
				return fmt.Errorf("seal again: %w", err)
			}
		}
	}
	if err := d.update(ring.DropOlder); err != nil {
		return err
	}
	d.engine.ring.Store(ring.Unmixed())
	return nil
}

// resealSome seals values from key from on again, and returns where to go on;
// nil at the end.
func resealSome(s shelf.Shelf, from []byte) ([]byte, error) {
	type pair struct{ key, value []byte }
	var old []pair
	c := s.Bucket.Cursor()
	k, v := c.Seek(from)
	for looked := 0; k != nil && looked < 16*resealAtOnce && len(old) < resealAtOnce; looked++ {
		if s.Keys.IsOlder(v) {
			value, err := s.Open(k, v)
			if err != nil {
				return nil, err
			}
			old = append(old, pair{bytes.Clone(k), value})
		}
		k, v = c.Next()
	}
	next := bytes.Clone(k)
	for _, p := range old {
		if err := s.Put(p.key, p.value); err != nil {
			return nil, err
		}
	}
	return next, nil
}
