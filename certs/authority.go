// Package certs has private certificate authorities and the TLS settings of the server.
//
// A root, whose key can be kept elsewhere, signs one authority for servers and another for
// clients, so that neither can issue for the purpose of the other. The content of a certificate
// is decided here; only the public key comes from a request. Keys are ECDSA P-256 unless a
// client brings its own.
package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/atm/internal/durable"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	issuingLife   = 3 * 365 * 24 * time.Hour

	// Backdate allows for clocks that are a little slow.
	Backdate = 5 * time.Minute
)

// An Authority signs certificates.
type Authority struct {
	Certificate *x509.Certificate
	key         crypto.Signer
}

// NewAuthority returns a self-signed root authority.
func NewAuthority(name string, now time.Time) (*Authority, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-Backdate),
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLen:            1,
	}
	cert, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: cert, key: key}, nil
}

// NewIssuing returns an authority under a. It signs certificates for this usage, and no further
// authorities.
func (a *Authority) NewIssuing(name string, usage x509.ExtKeyUsage, now time.Time) (*Authority,
	error,
) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	template := a.template(issuingLife, now, usage)
	template.Subject = pkix.Name{CommonName: name}
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	template.IsCA, template.MaxPathLenZero = true, true
	cert, err := sign(template, a.Certificate, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return &Authority{Certificate: cert, key: key}, nil
}

// LoadAuthority reads an authority from its files.
func LoadAuthority(certFile, keyFile string) (*Authority, error) {
	text, err := os.ReadFile(certFile)
	if err != nil {
		return nil, err
	}
	cert, err := ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certFile, err)
	}
	text, err = durable.ReadSecret(keyFile)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	if !samePublicKey(cert.PublicKey, key.Public()) {
		return nil, fmt.Errorf("%s is not the key of %s", keyFile, certFile)
	}
	return &Authority{Certificate: cert, key: key}, nil
}

// Save writes the authority to its files. The certificate is written last, so if it exists, the
// key does too.
func (a *Authority) Save(certFile, keyFile string) error {
	key, err := EncodeKey(a.key)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(keyFile, key, 0o600); err != nil {
		return err
	}
	return durable.WriteFile(certFile, EncodeCertificate(a.Certificate), 0o644)
}

// IssueServer signs a certificate for a server with these names and addresses.
func (a *Authority) IssueServer(public crypto.PublicKey, hosts []string, life time.Duration,
	now time.Time,
) (*x509.Certificate, error) {
	template := a.template(life, now, x509.ExtKeyUsageServerAuth)
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("a server certificate needs a name or an address")
	}
	return sign(template, a.Certificate, public, a.key)
}

// IssueClient signs a certificate whose identity is uri.
func (a *Authority) IssueClient(public crypto.PublicKey, uri *url.URL, life time.Duration,
	now time.Time,
) (*x509.Certificate, error) {
	template := a.template(life, now, x509.ExtKeyUsageClientAuth)
	template.URIs = []*url.URL{uri}
	// The common name is for people. It never counts as an identity.
	template.Subject = pkix.Name{CommonName: strings.TrimPrefix(uri.Path, "/")}
	return sign(template, a.Certificate, public, a.key)
}

// maxRequest bounds a certificate request in PEM, in bytes. A long one with an RSA key of 8192
// bits has 4 KiB.
const maxRequest = 16 << 10

// SignRequest is IssueClient with the key of a certificate request in PEM (PKCS #10). The
// request proves that its sender has the private key. The rest of it is ignored.
func (a *Authority) SignRequest(request []byte, uri *url.URL, life time.Duration,
	now time.Time,
) (*x509.Certificate, error) {
	if len(request) > maxRequest {
		return nil, fmt.Errorf("the certificate request has more than %d bytes", maxRequest)
	}
	block, rest := pem.Decode(request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("no certificate request in PEM")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, errors.New("malformed certificate request")
	}
	// Check the size of the key before the signature: the time to verify a signature grows with the
	// third power of the size.
	if err := strongKey(csr.PublicKey); err != nil {
		return nil, err
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, errors.New("the certificate request is not signed by its key")
	}
	return a.IssueClient(csr.PublicKey, uri, life, now)
}

const (
	minRSA, maxRSA = 2048, 8192 // bits
	maxExponent    = 1 << 20    // usual is 65537; verification time grows with its length
)

// strongKey refuses keys that are too weak for a client, and keys of unsupported kinds.
func strongKey(public crypto.PublicKey) error {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return errWeakKey
		}
	case ed25519.PublicKey:
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA || key.E > maxExponent {
			return errWeakKey
		}
	default:
		return errWeakKey
	}
	return nil
}

var errWeakKey = errors.New("the key is not ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to " +
	"8192 bits")

// template has the fields common to all certificates that a signs. No certificate outlives its
// authority.
func (a *Authority) template(life time.Duration, now time.Time,
	usage x509.ExtKeyUsage,
) *x509.Certificate {
	end := now.Add(life)
	if end.After(a.Certificate.NotAfter) {
		end = a.Certificate.NotAfter
	}
	return &x509.Certificate{
		SerialNumber:          a.newSerial(),
		NotBefore:             now.Add(-Backdate),
		NotAfter:              end,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true,
	}
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey,
	key crypto.Signer,
) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// newSerial returns a random serial number of 126 bits: positive, and at most 20 octets (RFC
// 5280, section 4.1.2.2).
func newSerial() *big.Int {
	serial := make([]byte, 16)
	rand.Read(serial) // never fails
	serial[0] = serial[0]&0x3f | 0x40
	return new(big.Int).SetBytes(serial)
}

// newSerial returns a serial number of 20 octets that ends with the mark of the authority.
func (a *Authority) newSerial() *big.Int {
	serial := new(big.Int).Lsh(newSerial(), 8*markBytes)
	return serial.Or(serial, a.mark())
}

const markBytes = 4

// mark is the suffix of the serial numbers of an authority.
func (a *Authority) mark() *big.Int {
	sum := sha256.Sum256(a.Certificate.RawSubjectPublicKeyInfo)
	return new(big.Int).SetBytes(sum[:markBytes])
}

// Numbered reports whether a serial number has the mark of a. Serial numbers by older versions
// have none.
func (a *Authority) Numbered(serial *big.Int) bool {
	low := new(big.Int).And(serial, big.NewInt(1<<(8*markBytes)-1))
	return low.Cmp(a.mark()) == 0
}

// NeedsRenewal reports whether a server certificate lacks one of the hosts, or
// is in the last third of its life.
func NeedsRenewal(cert *x509.Certificate, hosts []string, now time.Time) bool {
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			if !slices.ContainsFunc(cert.IPAddresses, ip.Equal) {
				return true
			}
		} else if !slices.Contains(cert.DNSNames, host) {
			return true
		}
	}
	return InLastThird(cert, now)
}

// InLastThird reports whether a certificate is in the last third of its life.
func InLastThird(cert *x509.Certificate, now time.Time) bool {
	return cert.NotAfter.Sub(now) < cert.NotAfter.Sub(cert.NotBefore)/3
}

// Fingerprint is the SHA-256 of a certificate as openssl prints it: upper-case hex pairs
// separated by colons.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	pairs := make([]string, len(sum))
	for i, b := range sum {
		pairs[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(pairs, ":")
}

// SHA256 is the SHA-256 of a certificate in base64, as in the audit log.
func SHA256(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// revocationListLife is how long a revocation list is current.
const revocationListLife = 24 * time.Hour

// RevocationList signs a list of revoked certificates (RFC 5280, section 5), in PEM. revoked
// has the times of revocation by serial number in hexadecimal.
func (a *Authority) RevocationList(revoked map[string]time.Time, now time.Time) ([]byte, error) {
	template := &x509.RevocationList{
		Number: big.NewInt(now.UnixNano()), ThisUpdate: now,
		NextUpdate: now.Add(revocationListLife),
	}
	for _, text := range slices.Sorted(maps.Keys(revoked)) {
		serial, ok := new(big.Int).SetString(text, 16)
		if !ok {
			return nil, fmt.Errorf("%q is not a serial number", text)
		}
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: serial, RevocationTime: revoked[text]})
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.Certificate, a.key)
	if err != nil {
		return nil, fmt.Errorf("revocation list: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}), nil
}
