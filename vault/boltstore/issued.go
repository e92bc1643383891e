package boltstore

import (
	"bytes"
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
		cert, err := certificatesKind.open(s, k, v)
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

func decodeCertificate(serial string, v []byte) (people.Certificate, error) {
	r := reader{b: v}
	c := people.Certificate{Serial: serial, Subject: r.text(), NotAfter: time.Unix(r.int(),
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
