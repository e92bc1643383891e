//go:build unix

package daemontest

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/certs"
)

// NewKey is a key on P-256.
func NewKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func parsedURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

var serials atomic.Int64

// NextSerial is a serial number that no other certificate of this process's tests has.
func NextSerial() *big.Int { return big.NewInt(1000 + serials.Add(1)) }

// GoodTemplate is a template of a client certificate with these identities.
func GoodTemplate(t *testing.T, uris ...string) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: NextSerial(), NotBefore: time.Now().Add(-time.Minute),
		NotAfter:    time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	for _, uri := range uris {
		template.URIs = append(template.URIs, parsedURL(t, uri))
	}
	return template
}

func Signed(t *testing.T, template, parent *x509.Certificate, public crypto.PublicKey,
	key crypto.Signer,
) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func Parsed(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// A ForeignAuthority is the authority of another organisation. The server accepts its
// certificates if a file maps them.
type ForeignAuthority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// OneName is a distinguished name in the string type tag. Names in different types print alike.
func OneName(t *testing.T, tag int) []byte {
	t.Helper()
	der, err := asn1.Marshal([][]struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}{{{asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.RawValue{Tag: tag, Bytes: []byte("till")}}}})
	if err != nil {
		t.Fatal(err)
	}
	// A relative distinguished name is a SET.
	return bytes.Replace(der, []byte{0x30, 0x0d}, []byte{0x31, 0x0d}, 1)
}

func (f *ForeignAuthority) Identities(t *testing.T) []byte {
	b64 := base64.StdEncoding.EncodeToString
	var b bytes.Buffer
	for _, how := range []string{
		`uri = "urn:till:1"`, `dns = "till-2.shop.example"`, `dns = "till-3.shop.example"`,
		`dns = "till.elsewhere.example"`,
		fmt.Sprintf("issuer = %q\ndn = %q", b64(f.Cert.RawSubject),
			b64(OneName(t, asn1.TagPrintableString))),
	} {
		fmt.Fprintf(&b, "[[identity]]\nsubject = \"user:demo\"\n%s\n", how)
	}
	return b.Bytes()
}

func (f *ForeignAuthority) Issue(t *testing.T, change func(*x509.Certificate),
	uris ...string,
) *tls.Certificate {
	t.Helper()
	key := NewKey(t)
	template := GoodTemplate(t, uris...)
	change(template)
	return &tls.Certificate{
		Certificate: [][]byte{Signed(t, template, f.Cert, key.Public(), f.Key)},
		PrivateKey:  key,
	}
}

// PublishedKeys is a key on P-256 with the name k, in the form that issuers publish (RFC 7517).
func PublishedKeys(t *testing.T, key *ecdsa.PublicKey) string {
	t.Helper()
	point, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","kid":"k","use":"sig","x":%q,"y":%q}]}`,
		encode(point[1:33]), encode(point[33:]))
}
