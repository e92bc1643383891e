//go:build pkcs11

package hsm

import (
	"errors"
	"fmt"
	"strings"

	"example.com/atm/internal/durable"
	"github.com/miekg/pkcs11"
	uri "github.com/stefanberger/go-pkcs11uri"
)

// A target is what a PKCS #11 URI names (RFC 7512).
type target struct {
	module    string // file of the library
	token     string // label of the token
	label, id string // of the key; one of them may be empty
	pin       string
}

// parse parses a URI, and reads the PIN.
func parse(text string) (t target, err error) {
	if strings.Contains(text, "pin-value") { // before an error can quote it
		return t, errors.New("the URI of the key has pin-value: name a file with pin-source")
	}
	u := uri.New()
	if err := u.Parse(text); err != nil {
		return t, fmt.Errorf("the URI of the key: %w", err)
	}
	t.module, _ = u.GetQueryAttribute("module-path", false)
	source, _ := u.GetQueryAttribute("pin-source", false)
	t.token, _ = u.GetPathAttribute("token", false)
	t.label, _ = u.GetPathAttribute("object", false)
	t.id, _ = u.GetPathAttribute("id", false)
	if t.module == "" || source == "" || t.token == "" || t.label == "" && t.id == "" {
		return t, errors.New("the URI of the key needs token, object or id, module-path " +
			"and pin-source")
	}
	// RFC 7512 has a URI there, most people write a path.
	t.pin, err = readPIN(strings.TrimPrefix(strings.TrimPrefix(source, "file://"), "file:"))
	return t, err
}

// attributes are those that name the key.
func (t target) attributes() (template []*pkcs11.Attribute) {
	if t.label != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_LABEL, t.label))
	}
	if t.id != "" {
		template = append(template, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(t.id)))
	}
	return template
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
