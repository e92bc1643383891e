package signature

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// A Record is what proves that a request was signed: what its signatures are over, and they.
type Record struct{ Signed []Signed }

// A Signed is a signature base (RFC 9421, section 2.5), and the signature over it.
type Signed struct {
	Base      string
	Signature []byte
}

// MaxRecordBytes is the length of the longest record.
const MaxRecordBytes = maxSignatures * (maxBaseBytes + 1<<10)

// Text is the record as it is kept: each base, a line end and the signature in base64, with an
// empty line between two of them.
func (r *Record) Text() string {
	parts := make([]string, len(r.Signed))
	for i, s := range r.Signed {
		parts[i] = s.Base + "\n" + base64.StdEncoding.EncodeToString(s.Signature)
	}
	return strings.Join(parts, "\n\n")
}

// Sum is the SHA-256 of the text of the record.
func (r *Record) Sum() [sha256.Size]byte { return sha256.Sum256([]byte(r.Text())) }

// Name is what an entry of the audit log says of the record: its sum.
func (r *Record) Name() string {
	sum := r.Sum()
	return namePrefix + base64.StdEncoding.EncodeToString(sum[:])
}

const namePrefix = "sha256:"

// SumOf returns the sum in a name, in hexadecimal.
func SumOf(name string) (string, error) {
	text, ok := strings.CutPrefix(name, namePrefix)
	sum, err := base64.StdEncoding.Strict().DecodeString(text)
	if !ok || err != nil || len(sum) != sha256.Size {
		return "", fmt.Errorf("%q does not name a record", name)
	}
	return hex.EncodeToString(sum), nil
}

// ErrRecord reports a text that is no record.
var ErrRecord = errors.New("this is no record of a signed request")

// ParseRecord reads what Text returns. It verifies nothing.
func ParseRecord(text string) (*Record, error) {
	if len(text) > MaxRecordBytes {
		return nil, ErrRecord
	}
	record := new(Record)
	for part := range strings.SplitSeq(text, "\n\n") {
		end := strings.LastIndexByte(part, '\n')
		if end < 0 {
			return nil, ErrRecord
		}
		value, err := base64.StdEncoding.Strict().DecodeString(part[end+1:])
		if err != nil {
			return nil, ErrRecord
		}
		record.Signed = append(record.Signed, Signed{part[:end], value})
	}
	if record.Text() != text {
		return nil, ErrRecord
	}
	return record, nil
}

// A Statement is what a signature says.
type Statement struct {
	Created time.Time
	KeyID   string

	// Method and Path are those of the request.
	Method, Path string

	// Digests is the header Content-Digest.
	Digests string
}

// Read reads what s says. It verifies nothing.
func (s *Signed) Read() (*Statement, error) {
	p, err := s.params()
	if err != nil {
		return nil, err
	}
	said := &Statement{Created: time.Unix(p.created, 0).UTC(), KeyID: p.keyID}
	lines := strings.Split(s.Base, "\n")
	for i, name := range p.components {
		value, ok := strings.CutPrefix(lines[i], fmt.Sprintf("%q: ", name))
		if !ok {
			return nil, ErrRecord
		}
		switch name {
		case "@method":
			said.Method = value
		case "@path":
			said.Path = value
		case "@target-uri":
			_, rest, _ := strings.Cut(value, "://")
			_, path, _ := strings.Cut(rest, "/")
			path, _, _ = strings.Cut("/"+path, "?")
			said.Path = path
		case "content-digest":
			said.Digests = value
		}
	}
	return said, nil
}

// Verify verifies s by the key of a certificate. It does not compare times: the time of an entry
// is for that.
func (s *Signed) Verify(cert *x509.Certificate) error {
	p, err := s.params()
	if err != nil {
		return err
	}
	return p.verify(s, cert)
}

// Body returns the digest of the body in hexadecimal: its SHA-256, or else its SHA-512; empty if
// neither is said.
func (s *Statement) Body() string {
	d, err := httpsfv.UnmarshalDictionary([]string{s.Digests})
	if err != nil {
		return ""
	}
	for _, name := range []string{"sha-256", "sha-512"} {
		member, _ := d.Get(name)
		if item, _ := member.(httpsfv.Item); item.Value != nil {
			sum, _ := item.Value.([]byte)
			return hex.EncodeToString(sum)
		}
	}
	return ""
}

// Holds checks that what is said was said with a body.
func (s *Statement) Holds(body []byte) error {
	d, err := httpsfv.UnmarshalDictionary([]string{s.Digests})
	if err != nil {
		return ErrRecord
	}
	return compareDigests(d, body)
}

// params reads the last line of a base, which has a line for each component before it.
func (s *Signed) params() (*params, error) {
	lines := strings.Split(s.Base, "\n")
	text, ok := strings.CutPrefix(lines[len(lines)-1], paramsPrefix)
	if !ok {
		return nil, ErrRecord
	}
	list, err := httpsfv.UnmarshalList([]string{text})
	if err != nil || len(list) != 1 {
		return nil, ErrRecord
	}
	p, err := readParams(list[0])
	if err != nil || p.text != text || len(lines) != len(p.components)+1 {
		return nil, ErrRecord
	}
	return p, p.checkCover(false)
}
