package boltstore

import (
	"bytes"
	"context"
	"time"

	"example.com/atm/vault/people"
)

const (
	// issuedKept is how long a certificate is listed after its end.
	issuedKept = 24 * time.Hour

	// sweptPerIssued is how many certificates are looked at for each new one,
	// and swept away if they are over. Of those that are stored about one in so
	// many is then over, however short their lives.
	sweptPerIssued = 8
)

// Certificates implements vault.Store.
func (s *Store) Certificates(context.Context) (found []people.Certificate, err error) {
	err = s.snapshot(func(v view) error {
		shelf := v.shelf(bucketIssued)
		return shelf.bucket.ForEach(func(k, sealed []byte) error {
			c, err := shelf.certificate(k, sealed)
			found = append(found, c)
			return err
		})
	})
	return found, err
}

// writeIssued stores certificates.
func (v view) writeIssued(list []people.Certificate) error {
	shelf := v.shelf(bucketIssued)
	for i := range list {
		if err := shelf.put([]byte(list[i].Serial), encodeCertificate(&list[i])); err != nil {
			return err
		}
	}
	return nil
}

// sweep looks at the certificates after one, whose serial number is random, and
// removes those that ended before an instant.
func (s shelf) sweep(after []byte, before time.Time) error {
	var over [][]byte
	c := s.bucket.Cursor()
	c.Seek(after)
	for range sweptPerIssued {
		k, v := c.Next()
		if k == nil {
			k, v = c.First()
		}
		cert, err := s.certificate(k, v)
		if err != nil {
			return err
		}
		if cert.NotAfter.Before(before) {
			over = append(over, bytes.Clone(k))
		}
	}
	for _, k := range over { // some twice, when there are few
		if err := s.bucket.Delete(k); err != nil {
			return err
		}
	}
	return nil
}

// certificate opens the record of a certificate.
func (s shelf) certificate(k, sealed []byte) (people.Certificate, error) {
	v, err := s.open(k, sealed)
	if err != nil {
		return people.Certificate{}, err
	}
	return decodeCertificate(k, v)
}

func decodeCertificate(k, v []byte) (people.Certificate, error) {
	r := reader{b: v}
	c := people.Certificate{Serial: string(k), Subject: r.text(), NotAfter: time.Unix(r.int(),
		0).UTC()}
	if len(r.b) > 0 { // one from before has no more
		c.Issued, c.Scope, c.Actor = time.Unix(r.int(), 0).UTC(), r.text(), r.text()
	}
	if !r.done() {
		return people.Certificate{}, errRecord
	}
	return c, nil
}

func encodeCertificate(c *people.Certificate) []byte {
	var w fields
	w.text(c.Subject)
	w.int(c.NotAfter.Unix())
	if !c.Issued.IsZero() {
		w.int(c.Issued.Unix())
		w.text(c.Scope)
		w.text(c.Actor)
	}
	return w.b
}
