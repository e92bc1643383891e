package keys

import (
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/hsm"
)

// Modules are the keys of a server that are in PKCS #11 modules. The zero value has none.
type Modules struct {
	token crypto.Signer   // of tokens; nil for keys in the folder
	audit []crypto.Signer // of the audit log, the newest first; nil for keys in the folder

	opened []io.Closer
}

// OpenModules opens the keys that URIs name: that of tokens, empty for none, and those of the audit
// log, the newest first.
func OpenModules(token string, audit []string) (m Modules, err error) {
	if token != "" {
		if m.token, err = m.open("--token-key", token); err != nil {
			return m, errors.Join(err, m.Close())
		}
	}
	for _, uri := range audit {
		key, err := m.open("--audit-key", uri)
		if err != nil {
			return m, errors.Join(err, m.Close())
		}
		m.audit = append(m.audit, key)
	}
	return m, nil
}

func (m *Modules) open(flag, uri string) (crypto.Signer, error) {
	key, closer, err := hsm.Open(uri)
	switch {
	case errors.Is(err, hsm.ErrNone):
		return nil, fmt.Errorf("%w: %s: %w", datadir.ErrUsage, flag, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	m.opened = append(m.opened, closer)
	return key, nil
}

// Close closes the modules.
func (m Modules) Close() error {
	var errs []error
	for _, c := range slices.Backward(m.opened) {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// newAuditKeys returns new keys for the log origin as keys/audit.key has them. With a module the
// first is its newest one.
func (m Modules) newAuditKeys(origin string) (text string, err error) {
	if len(m.audit) > 0 {
		return checkpoint.GenerateKeysBeside(m.audit[0], origin)
	}
	text, _, err = checkpoint.GenerateKeys(origin)
	return text, err
}
