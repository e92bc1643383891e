package boltstore

import (
	"bytes"
	"time"
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
