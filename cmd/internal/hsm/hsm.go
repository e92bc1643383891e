//go:build pkcs11

package hsm

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/miekg/pkcs11"
)

// A privateKey is a private key in a module. It has one session, which signs for one caller after
// the other.
type privateKey struct {
	module  *library
	session pkcs11.SessionHandle
	object  pkcs11.ObjectHandle
	kind    kind
	public  crypto.PublicKey

	mu sync.Mutex // held while the session signs
}

// Open returns the private key that a PKCS #11 URI names (RFC 7512), with token and object or id,
// such as
//
// pkcs11:token=atm;object=tokens?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/etc/atm/pin
//
// The PIN stands in a file that nobody else may read, never in the URI. The key is one of Ed25519,
// or one on P-256, and its public half is in the token under the same label and id.
func Open(text string) (crypto.Signer, io.Closer, error) {
	t, err := parse(text)
	if err != nil {
		return nil, nil, err
	}
	module, err := initialise(t.module)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", t.module, err)
	}
	k := &privateKey{module: module}
	if err := k.open(t); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("token %s: %w", t.token, err), k.Close())
	}
	return k, k, nil
}

func (k *privateKey) open(t target) error {
	slot, err := k.module.slot(t.token)
	if err != nil {
		return err
	}
	if k.session, err = k.module.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION); err != nil {
		return err
	}
	// A sign-in counts for all sessions of the process, which may use another key of the token.
	if err := k.module.Login(k.session, pkcs11.CKU_USER, t.pin); err != nil &&
		!errors.Is(err, pkcs11.Error(pkcs11.CKR_USER_ALREADY_LOGGED_IN)) {
		return err
	}
	if k.object, err = k.find(pkcs11.CKO_PRIVATE_KEY, t.attributes()); err != nil {
		return fmt.Errorf("private keys of that name: %w", err)
	}
	if err := k.readPublic(); err != nil {
		return fmt.Errorf("the public half of the key: %w", err)
	}
	return k.try()
}

// find returns the one object of a class with these attributes.
func (k *privateKey) find(class uint, with []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	template := append([]*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}, with...)
	if err := k.module.FindObjectsInit(k.session, template); err != nil {
		return 0, err
	}
	found, _, err := k.module.FindObjects(k.session, 2)
	err = errors.Join(err, k.module.FindObjectsFinal(k.session))
	switch {
	case err != nil:
		return 0, err
	case len(found) == 0:
		return 0, errors.New("there is none")
	case len(found) > 1:
		return 0, errors.New("there are several, not exactly one")
	}
	return found[0], nil
}

// readPublic reads the public key with the label and id of the private one.
func (k *privateKey) readPublic() error {
	names, err := k.module.GetAttributeValue(k.session, k.object, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil), pkcs11.NewAttribute(pkcs11.CKA_ID, nil),
	})
	if err != nil {
		return err
	}
	object, err := k.find(pkcs11.CKO_PUBLIC_KEY, names)
	if err != nil {
		return err
	}
	values, err := k.module.GetAttributeValue(k.session, object, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil),
		pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil),
	})
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)) {
		return errKind // RSA has no point
	}
	if err != nil {
		return err
	}
	k.kind, k.public, err = parsePublic(values[0].Value, values[1].Value)
	return err
}

// try signs. That a key is there does not mean that it may sign, or that its halves belong
// together.
func (k *privateKey) try() error {
	digest := make([]byte, sha256.Size) // no token and no checkpoint is so signed
	signature, err := k.Sign(rand.Reader, digest, k.kind.hash())
	if err == nil && !k.kind.verifies(k.public, digest, signature) {
		err = errors.New("the public half of the key does not verify what the private half signs")
	}
	return err
}

var errClosed = errors.New("the key in the module is closed")

// Public implements crypto.Signer.
func (k *privateKey) Public() crypto.PublicKey { return k.public }

// Sign implements crypto.Signer. Ed25519 signs a text itself, P-256 its SHA-256.
func (k *privateKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts.HashFunc() != k.kind.hash() {
		return nil, fmt.Errorf("the key in the module does not sign %s", opts.HashFunc())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session == 0 { // the module may be unloaded
		return nil, errClosed
	}
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(k.kind.mechanism(), nil)}
	if err := k.module.SignInit(k.session, mechanism, k.object); err != nil {
		return nil, fmt.Errorf("the module does not sign: %w", err)
	}
	signature, err := k.module.Sign(k.session, digest)
	if err != nil {
		return nil, fmt.Errorf("the module does not sign: %w", err)
	}
	return k.kind.encode(signature)
}

// Close ends the session. It does not sign out, because other keys of the token would sign out too.
func (k *privateKey) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.session != 0 {
		// That a module which has failed has no such session helps nobody.
		_ = k.module.CloseSession(k.session)
		k.session = 0
	}
	k.module.release()
	return nil
}
