//go:build pkcs11

package hsm

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/atm/internal/durable"
	"github.com/ThalesGroup/crypto11"
	uri "github.com/stefanberger/go-pkcs11uri"
)

// Open returns the key pair that a PKCS #11 URI names (RFC 7512), with token and
// object or id, such as
//
// pkcs11:token=atm;object=tokens?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/atm/pin
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
		return nil, nil, errors.New("the URI of the key needs token, object or id, module-path " +
			"and pin-source")
	}
	// RFC 7512 has a URI there, most people write a path.
	pin, err := readPIN(strings.TrimPrefix(strings.TrimPrefix(source, "file://"), "file:"))
	if err != nil {
		return nil, nil, err
	}
	opened, err := crypto11.Configure(&crypto11.Config{
		Path: module, TokenLabel: token, Pin: pin,
		PoolWaitTimeout: waitForSession,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", module, err)
	}
	keys, err := opened.FindKeyPairs(bytesOrNil(id), bytesOrNil(label))
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("it has %d key pairs of that name, not exactly one", len(keys))
	}
	if err == nil { // that it is there does not mean that it may sign
		sum := sha256.Sum256(nil)
		_, err = keys[0].Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("token %s: %w", token, err), opened.Close())
	}
	return keys[0], opened, nil
}

// waitForSession bounds the wait for a session of the module.
const waitForSession = 5 * time.Second

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
	pin := strings.TrimRight(string(text), "\r\n")
	if pin == "" {
		return "", fmt.Errorf("%s holds no PIN", path)
	}
	return pin, nil
}
