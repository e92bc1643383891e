package keys

import (
	"crypto/x509"
	"time"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
)

// Make creates the missing keys and authorities of a folder. The log of a new folder begins with
// the key in a module, if there is one.
func Make(dir *datadir.Dir, modules Modules) error {
	for _, folder := range []string{"ca", "tls", "keys", "clients"} {
		if err := durable.MkdirAll(dir.Path(folder), 0o700); err != nil {
			return err
		}
	}
	_, serverKey := dir.Server()
	for _, key := range []struct {
		file   string
		create func() ([]byte, error)
	}{
		{dir.VaultKey(), datadir.NewVaultKey().Encode},
		{dir.AuditKey(), func() ([]byte, error) {
			text, err := modules.newAuditKeys(dir.Config.Origin)
			return []byte(text), err
		}},
		{dir.TokenKey(), newTokenKeys},
		{serverKey, New},
	} {
		if err := datadir.Ensure(key.file, key.create); err != nil {
			return err
		}
	}
	return makeAuthorities(dir)
}

// New returns a new private key in PEM.
func New() ([]byte, error) {
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	return certs.EncodeKey(key)
}

// makeAuthorities creates the missing authorities. The certificate of each is written after its
// key.
func makeAuthorities(dir *datadir.Dir) error {
	name := dir.Config.Name
	rootCert, rootKey := dir.RootCA()
	if !datadir.Exists(rootCert) {
		root, err := certs.NewAuthority("ATM "+name, time.Now())
		if err == nil {
			err = root.Save(rootCert, rootKey)
		}
		if err != nil {
			return err
		}
	}
	serverCert, serverKey := dir.ServerCA()
	clientCert, clientKey := dir.ClientCA()
	for _, a := range []struct {
		name, cert, key string
		usage           x509.ExtKeyUsage
	}{
		{"ATM servers of " + name, serverCert, serverKey, x509.ExtKeyUsageServerAuth},
		{"ATM clients of " + name, clientCert, clientKey, x509.ExtKeyUsageClientAuth},
	} {
		if datadir.Exists(a.cert) {
			continue
		}
		root, err := certs.LoadAuthority(rootCert, rootKey)
		if err != nil {
			return err
		}
		issuing, err := root.NewIssuing(a.name, a.usage, time.Now())
		if err != nil {
			return err
		}
		if err := issuing.Save(a.cert, a.key); err != nil {
			return err
		}
	}
	return nil
}
