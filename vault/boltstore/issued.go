package boltstore

import (
	"bytes"
	"time"

	"example.com/atm/vault/boltstore/memtable"
	"example.com/atm/vault/boltstore/shelf"
	"example.com/atm/vault/people"
)

const (
	// issuedKept is how long a certificate is listed after its end.
	issuedKept = 24 * time.Hour

	// sweptPerIssued is how many certificates are looked at for each new one, and sessions for
	// each that is new or used, and swept away if they are over. Of those that are stored about
	// one in so many is then over, however short their lives.
	sweptPerIssued = 8
)

// sweep looks at the records of a kind after a key, which is random, and removes those that are
// over.
func (s *records[K, V]) sweep(shelf shelf.Shelf, after string, over func(*V) bool) error {
	var found [][]byte
	c := shelf.Bucket.Cursor()
	c.Seek([]byte(after))
	for range sweptPerIssued {
		k, v := c.Next()
		if k == nil {
			if k, v = c.First(); k == nil {
				break // all of them were over
			}
		}
		one, err := s.open(shelf, k, v)
		if err != nil {
			return err
		}
		if over(&one) {
			found = append(found, bytes.Clone(k))
		}
	}
	for _, k := range found { // some twice, when there are few
		if err := shelf.Bucket.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes some of the certificates and sessions that are over, for those that a memtable
// adds.
func (w *flushWriter) sweep(m *memtable.Table, now time.Time) error {
	issued, sessions := w.view.shelf(bucketIssued), w.view.shelf(bucketSessions)
	for serial := range m.Keys(issued.Number) {
		if err := certificatesKind.sweep(issued, serial, func(c *people.Certificate) bool {
			return c.NotAfter.Before(now.Add(-issuedKept))
		}); err != nil {
			return err
		}
	}
	for id := range m.Keys(sessions.Number) {
		if err := sessionsKind.sweep(sessions, id, func(s *people.Session) bool {
			return s.Ends.Before(now.Add(-people.SessionKept))
		}); err != nil {
			return err
		}
	}
	return nil
}
