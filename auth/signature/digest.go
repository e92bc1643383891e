package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/dunglas/httpsfv"
)

// digests are the algorithms of Content-Digest that are not broken (RFC 9530, section 5).
var digests = map[string]func([]byte) []byte{
	"sha-256": func(b []byte) []byte { sum := sha256.Sum256(b); return sum[:] },
	"sha-512": func(b []byte) []byte { sum := sha512.Sum512(b); return sum[:] },
}

// ContentDigest is the value of DigestHeader for a body.
func ContentDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}

// checkDigest checks the digests of a body. One of an algorithm that is not known proves nothing.
func checkDigest(h http.Header, body []byte) error {
	said, err := dictionary(h, DigestHeader)
	if err != nil {
		return err
	}
	return compareDigests(said, body)
}

func compareDigests(said *httpsfv.Dictionary, body []byte) error {
	known := false
	for _, name := range said.Names() {
		sum := digests[name]
		if sum == nil {
			continue
		}
		member, _ := said.Get(name)
		item, _ := member.(httpsfv.Item)
		value, ok := item.Value.([]byte)
		if !ok || !bytes.Equal(value, sum(body)) {
			return fmt.Errorf("the %s in %s is not that of the body", name, DigestHeader)
		}
		known = true
	}
	if !known {
		return errors.New(DigestHeader + " has neither sha-256 nor sha-512")
	}
	return nil
}
