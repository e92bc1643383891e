// Package signature signs HTTP requests and verifies their signatures (RFC 9421), with the key of
// the client certificate of their connection.
//
// A signature that verifies covers the method, the target, the request id in Idempotency-Key and,
// by Content-Digest (RFC 9530), every byte of the body: what was signed is the whole request that
// is carried out. A Record of it can be verified years later, without the server, by anybody who
// has the certificate. The package does not judge certificates: who may use one is settled when
// its connection is authenticated.
package signature

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// The headers of signed requests.
const (
	InputHeader     = "Signature-Input"
	SignatureHeader = "Signature"
	DigestHeader    = "Content-Digest"
	AcceptHeader    = "Accept-Signature"
	keyHeader       = "Idempotency-Key"
)

const (
	// Skew is how far the time in a signature may be from that of the server.
	Skew = 5 * time.Minute

	maxSignatures = 4
	maxComponents = 32
	maxFieldBytes = 4 << 10
	maxBaseBytes  = 16 << 10
)

// Accept is the value of AcceptHeader: what a signature has to cover (RFC 9421, section 5.1).
const Accept = `sig=("@method" "@target-uri" "content-digest" "idempotency-key");created;keyid`

// IsSigned reports whether r says that it is signed.
func IsSigned(r *http.Request) bool {
	return len(r.Header[InputHeader]) > 0 || len(r.Header[SignatureHeader]) > 0
}

// KeyID is how signatures name a certificate: the SHA-256 of its DER form, in hexadecimal.
func KeyID(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Verify verifies all signatures of r, whose body is body, by the key of a certificate. Its errors
// say to the sender what is wrong.
func Verify(r *http.Request, body []byte, cert *x509.Certificate, now time.Time) (*Record, error) {
	inputs, err := dictionary(r.Header, InputHeader)
	if err != nil {
		return nil, err
	}
	signatures, err := dictionary(r.Header, SignatureHeader)
	if err != nil {
		return nil, err
	}
	labels := inputs.Names()
	if len(labels) > maxSignatures {
		return nil, fmt.Errorf("there are more than %d signatures", maxSignatures)
	}
	if len(labels) != len(signatures.Names()) {
		return nil, fmt.Errorf("%s and %s have different labels", InputHeader, SignatureHeader)
	}
	if err := checkDigest(r.Header, body); err != nil {
		return nil, err
	}
	record := new(Record)
	for _, label := range labels {
		input, _ := inputs.Get(label)
		signature, _ := signatures.Get(label)
		signed, err := verify(r, input, signature, cert, now)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", label, err)
		}
		record.Signed = append(record.Signed, *signed)
	}
	return record, nil
}

// verify verifies one signature of r.
func verify(r *http.Request, input, signature httpsfv.Member, cert *x509.Certificate,
	now time.Time,
) (*Signed, error) {
	item, _ := signature.(httpsfv.Item)
	value, ok := item.Value.([]byte)
	if !ok {
		return nil, fmt.Errorf("there is no byte sequence for it in %s", SignatureHeader)
	}
	p, err := readParams(input)
	if err != nil {
		return nil, err
	}
	if err := p.checkCover(len(r.Header[keyHeader]) > 0); err != nil {
		return nil, err
	}
	if err := p.checkTime(now); err != nil {
		return nil, err
	}
	base, err := p.base(r)
	if err != nil {
		return nil, err
	}
	signed := &Signed{Base: base, Signature: value}
	return signed, p.verify(signed, cert)
}

// verify verifies the signature over a base that p is the end of.
func (p *params) verify(s *Signed, cert *x509.Certificate) error {
	if p.keyID != KeyID(cert) {
		return errors.New("keyid is not the SHA-256 of the client certificate, in hexadecimal")
	}
	a, err := algorithmOf(cert.PublicKey)
	if err != nil {
		return err
	}
	if p.alg != "" && p.alg != a.name {
		return fmt.Errorf("alg is %q, and the key of the certificate is for %s", p.alg, a.name)
	}
	if !a.verify(cert.PublicKey, []byte(s.Base), s.Signature) {
		return errors.New("the signature is not that of the key over this request")
	}
	return nil
}

// dictionary reads a dictionary of structured fields (RFC 9651), which must not be empty.
func dictionary(h http.Header, name string) (*httpsfv.Dictionary, error) {
	size := 0
	for _, value := range h[name] {
		size += len(value)
	}
	if size > maxFieldBytes {
		return nil, fmt.Errorf("%s has more than %d bytes", name, maxFieldBytes)
	}
	d, err := httpsfv.UnmarshalDictionary(h[name])
	if err != nil {
		return nil, fmt.Errorf("%s is not a dictionary of structured fields (RFC 9651)", name)
	}
	if len(d.Names()) == 0 {
		return nil, fmt.Errorf("there is no %s", name)
	}
	return d, nil
}

// params are what a signature says that it covers, and how.
type params struct {
	components       []string
	created, expires int64 // seconds since 1970; expires is 0 for never
	keyID, alg       string
	text             string // in the only exact form
}

// readParams reads a member of Signature-Input.
func readParams(m httpsfv.Member) (*params, error) {
	list, ok := m.(httpsfv.InnerList)
	if !ok {
		return nil, fmt.Errorf("%s has no list of components for it", InputHeader)
	}
	if len(list.Items) > maxComponents {
		return nil, fmt.Errorf("it covers more than %d components", maxComponents)
	}
	p := new(params)
	for _, item := range list.Items {
		name, ok := item.Value.(string)
		switch {
		case !ok:
			return nil, errors.New("a component is not a string")
		case item.Params != nil && len(item.Params.Names()) > 0:
			return nil, fmt.Errorf("component %q has parameters, which are unknown here", name)
		case slices.Contains(p.components, name):
			return nil, fmt.Errorf("component %q occurs twice", name)
		}
		p.components = append(p.components, name)
	}
	if err := p.readValues(list.Params); err != nil {
		return nil, err
	}
	var err error
	p.text, err = httpsfv.Marshal(httpsfv.List{list})
	return p, err
}

// readValues reads the parameters of a signature.
func (p *params) readValues(values *httpsfv.Params) error {
	for _, name := range values.Names() {
		value, _ := values.Get(name)
		ok := true
		switch name {
		case "created":
			p.created, ok = value.(int64)
		case "expires":
			p.expires, ok = value.(int64)
			ok = ok && p.expires > 0
		case "keyid":
			p.keyID, ok = value.(string)
		case "alg":
			p.alg, ok = value.(string)
			ok = ok && p.alg != ""
		case "nonce", "tag": // they are signed, and mean nothing here
			_, ok = value.(string)
		default:
			return fmt.Errorf("its parameter %s is unknown here", name)
		}
		if !ok {
			return fmt.Errorf("its parameter %s has a wrong value", name)
		}
	}
	return nil
}

// checkCover checks that p covers the whole request, which may have a request id in a header.
func (p *params) checkCover(keyed bool) error {
	covers := func(name string) bool { return slices.Contains(p.components, name) }
	switch {
	case !covers("@method"):
		return errors.New(`it does not cover "@method"`)
	case !covers("@path") && !covers("@target-uri"):
		return errors.New(`it covers neither "@path" nor "@target-uri"`)
	case !covers("content-digest"):
		return errors.New(`it does not cover "content-digest"`)
	case keyed && !covers("idempotency-key"):
		return errors.New(`it does not cover "idempotency-key", which the request has`)
	}
	return nil
}

// checkTime checks when the signature was made, and until when it is good.
func (p *params) checkTime(now time.Time) error {
	created := time.Unix(p.created, 0)
	switch {
	case p.created == 0:
		return errors.New("its parameter created is missing")
	case now.Sub(created) > Skew || created.Sub(now) > Skew:
		return fmt.Errorf("created is more than %d minutes from the time of the server, %s",
			int(Skew.Minutes()), now.UTC().Format(time.RFC3339))
	case p.expires != 0 && (p.expires < p.created || now.Unix() >= p.expires):
		return errors.New("it has expired")
	}
	return nil
}

// base returns the signature base of r (RFC 9421, section 2.5).
func (p *params) base(r *http.Request) (string, error) {
	var b strings.Builder
	for _, name := range p.components {
		value, err := component(r, name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%q: %s\n", name, value)
	}
	b.WriteString(paramsPrefix + p.text)
	if b.Len() > maxBaseBytes {
		return "", fmt.Errorf("what it covers has more than %d bytes", maxBaseBytes)
	}
	return b.String(), nil
}

// paramsPrefix begins the last line of a signature base.
const paramsPrefix = `"@signature-params": `
