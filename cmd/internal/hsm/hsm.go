//go:build pkcs11

package hsm

import (
	"crypto"
	"errors"
	"fmt"
	"io"

	"example.com/atm/internal/durable"
	"github.com/ThalesGroup/crypto11"
	uri "github.com/stefanberger/go-pkcs11uri"
)

// Open returns the key pair that a PKCS #11 URI names (RFC 7512), with token and
// object or id, such as
//
//	pkcs11:token=atm;object=tokens?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/atm/pin
//
// The PIN stands in a file that nobody else may read, never in the URI.
func Open(text string) (crypto.Signer, io.Closer, error) {
	u := uri.New()
	if err := u.Parse(text); err != nil {
		return nil, nil, fmt.Errorf("the URI of the key: %w", err)
	}
	if _, inURI := u.GetQueryAttribute("pin-value", false); inURI {
		return nil, nil, errors.New("the URI of the key has pin-value: name a file with pin-source")
	}
	module, _ := u.GetQueryAttribute("module-path", false)
	source, _ := u.GetQueryAttribute("pin-source", false)
	token, _ := u.GetPathAttribute("token", false)
	label, _ := u.GetPathAttribute("object", false)
	id, _ := u.GetPathAttribute("id", false)
	if module == "" || source == "" || token == "" || label == "" && id == "" {
		return nil, nil, errors.New("the URI of the key needs token, object or id, module-path and pin-source")
	}
	pin, err := readPIN(source)
	if err != nil {
		return nil, nil, err
	}
	opened, err := crypto11.Configure(&crypto11.Config{Path: module, TokenLabel: token, Pin: pin})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", module, err)
	}
	key, err := opened.FindKeyPair(bytesOrNil(id), bytesOrNil(label))
	switch {
	case err != nil:
		return nil, nil, errors.Join(fmt.Errorf("token %s: %w", token, err), opened.Close())
	case key == nil:
		return nil, nil, errors.Join(fmt.Errorf("token %s has no key pair of that name", token), opened.Close())
	}
	return key, opened, nil
}

func bytesOrNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}

func readPIN(path string) (string, error) {
	text, err := durable.ReadSecret(path)
	if err != nil {
		return "", err
	}
	pin := string(text)
	for len(pin) > 0 && (pin[len(pin)-1] == '\n' || pin[len(pin)-1] == '\r') {
		pin = pin[:len(pin)-1]
	}
	if pin == "" {
		return "", fmt.Errorf("%s holds no PIN", path)
	}
	return pin, nil
}
