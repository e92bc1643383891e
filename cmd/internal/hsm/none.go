//go:build !pkcs11

package hsm

import (
	"crypto"
	"io"
)

// Open reports that there is nothing to open.
func Open(string) (crypto.Signer, io.Closer, error) { return nil, nil, ErrNone }
