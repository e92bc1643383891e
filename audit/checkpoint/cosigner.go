package checkpoint

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"

	cosignature "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// A Cosigner states that it has seen a log grow, and perhaps more: which, those know who trust its
// keys (C2SP tlog-cosignature).
type Cosigner struct{ signers []note.Signer }

// GenerateCosigner makes a key of ML-DSA-44 for cosignatures; name says whose.
func GenerateCosigner(name string) (skey, vkey string, err error) {
	if skey, vkey, err = cosignature.GenerateMLDSAKey(name); err != nil {
		return "", "", fmt.Errorf("%w: the name %q", ErrKey, name)
	}
	return skey, vkey, nil
}

// NewCosigner returns a cosigner with the secret keys skeys, one a line, of ML-DSA-44 or of
// Ed25519.
func NewCosigner(skeys string) (*Cosigner, error) {
	c := &Cosigner{}
	for _, skey := range strings.Fields(skeys) {
		signer, err := cosignature.NewSignerForCosignatureV1(skey)
		if err != nil {
			return nil, ErrKey
		}
		c.signers = append(c.signers, signer)
	}
	if len(c.signers) == 0 {
		return nil, ErrKey
	}
	return c, nil
}

// Cosign returns a signed checkpoint with cosignatures of now. Whether the checkpoint is signed by
// the log, and extends those before, is for the caller to know.
func (c *Cosigner) Cosign(signed []byte) ([]byte, error) {
	if _, err := Parse(signed); err != nil {
		return nil, err
	}
	text, _, _ := strings.Cut(string(signed), "\n\n")
	lines := signed[:len(signed):len(signed)]
	for _, signer := range c.signers {
		sig, err := signer.Sign([]byte(text + "\n"))
		if err != nil {
			return nil, err
		}
		sig = append(binary.BigEndian.AppendUint32(nil, signer.KeyHash()), sig...)
		lines = fmt.Appendf(lines, "— %s %s\n", signer.Name(),
			base64.StdEncoding.EncodeToString(sig))
	}
	return lines, nil
}
