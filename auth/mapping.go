package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"example.com/atm"
)

// A Mapping names the holder of a foreign certificate. It has exactly one of URI, DNS, Email,
// KeySHA256, or Issuer and Name. Each is compared exactly: distinguished names by the bytes of
// their DER, because different ones can print alike.
type Mapping struct {
	Subject string // of this server: "user:NAME" or "service:NAME"

	URI       string // one of the URI names of the certificate
	DNS       string // one of its DNS names
	Email     string // one of its email addresses
	KeySHA256 string // SHA-256 of its SubjectPublicKeyInfo, in lower-case hexadecimal
	Issuer    []byte // DER of the issuer's distinguished name
	Name      []byte // DER of the subject's distinguished name
}

// check validates a mapping.
func (m *Mapping) check() error {
	if _, _, ok := atm.ParseSubject(m.Subject); !ok {
		return fmt.Errorf("%q is not a subject", m.Subject)
	}
	ways := 0
	for _, given := range []bool{
		m.URI != "", m.DNS != "", m.Email != "", m.KeySHA256 != "",
		m.Issuer != nil || m.Name != nil,
	} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return fmt.Errorf("the identity of %s has %d ways to identify it, not exactly one",
			m.Subject, ways)
	}
	if (m.Issuer == nil) != (m.Name == nil) {
		return fmt.Errorf("the identity of %s needs both issuer and dn", m.Subject)
	}
	if key, err := hex.DecodeString(m.KeySHA256); err != nil || m.KeySHA256 != "" &&
		(len(key) != sha256.Size || hex.EncodeToString(key) != m.KeySHA256) {
		return fmt.Errorf("the identity of %s has an invalid key_sha256", m.Subject)
	}
	return nil
}

func (m *Mapping) fits(leaf *x509.Certificate) bool {
	switch {
	case m.URI != "":
		return slices.Contains(uris(leaf), m.URI)
	case m.DNS != "":
		return slices.Contains(leaf.DNSNames, m.DNS)
	case m.Email != "":
		return slices.Contains(leaf.EmailAddresses, m.Email)
	case m.KeySHA256 != "":
		sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
		return hex.EncodeToString(sum[:]) == m.KeySHA256
	}
	return bytes.Equal(leaf.RawIssuer, m.Issuer) && bytes.Equal(leaf.RawSubject, m.Name)
}

// Mappings are the mappings in force. They are replaced as a whole.
type Mappings struct{ list atomic.Pointer[[]Mapping] }

// Update replaces the mappings in force, unless one of the new ones is invalid.
func (m *Mappings) Update(list []Mapping) error {
	for i := range list {
		if err := list[i].check(); err != nil {
			return err
		}
	}
	m.list.Store(&list)
	return nil
}

var errNoMapping = errors.New("no mapping")

// subject returns the holder of a certificate. It is an error if no mapping matches, or if the
// matching ones name different subjects.
func (m *Mappings) subject(leaf *x509.Certificate) (string, error) {
	list := m.list.Load()
	if list == nil {
		return "", errNoMapping
	}
	subject, found := "", 0
	for i := range *list {
		if (*list)[i].fits(leaf) {
			subject = (*list)[i].Subject
			found++
		}
	}
	switch found {
	case 0:
		return "", errNoMapping
	case 1:
		return subject, nil
	}
	return "", &Error{"certificate with two identities in the mapping"}
}
