package signature

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"time"

	"github.com/dunglas/httpsfv"
)

// A Signer signs requests with the key of a client certificate.
type Signer struct {
	key       crypto.Signer
	keyID     string
	algorithm algorithm
}

// NewSigner returns a signer with the key of a certificate.
func NewSigner(cert *x509.Certificate, key crypto.Signer) (*Signer, error) {
	a, err := algorithmOf(cert.PublicKey)
	return &Signer{key, KeyID(cert), a}, err
}

// label names the only signature of a request.
const label = "sig"

// Sign signs r, whose body is body. It replaces the headers of an earlier signature.
func (s *Signer) Sign(r *http.Request, body []byte, now time.Time) error {
	r.Header.Set(DigestHeader, ContentDigest(body))
	covered := []string{"@method", "@target-uri", "content-digest"}
	if len(r.Header[keyHeader]) > 0 {
		covered = append(covered, "idempotency-key")
	}
	list := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, name := range covered {
		list.Items = append(list.Items, httpsfv.NewItem(name))
	}
	list.Params.Add("created", now.Unix())
	list.Params.Add("keyid", s.keyID)
	list.Params.Add("alg", s.algorithm.name)
	p, err := readParams(list)
	if err != nil {
		return err
	}
	base, err := p.base(r)
	if err != nil {
		return err
	}
	signature, err := s.algorithm.sign(s.key, []byte(base))
	if err != nil {
		return err
	}
	r.Header.Set(InputHeader, label+"="+p.text)
	r.Header.Set(SignatureHeader, label+"=:"+base64.StdEncoding.EncodeToString(signature)+":")
	return nil
}
