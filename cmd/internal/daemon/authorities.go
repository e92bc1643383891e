package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
)

// What is done to the authorities of a data folder. A server may run on it.

// ExportRoot moves the key of the root out of the data folder into a new file,
// for a place that is not online. Nothing that runs needs it.
func ExportRoot(data, file string) error {
	certFile, keyFile := (&datadir.Dir{Root: data}).RootCA()
	if _, err := certs.LoadAuthority(certFile, keyFile); err != nil {
		return err
	}
	text, err := durable.ReadSecret(keyFile)
	if err != nil {
		return err
	}
	if err := durable.CreateFile(file, text, 0o600); err != nil {
		return err
	}
	// What is not good there must not be gone here.
	if _, err := certs.LoadAuthority(certFile, file); err != nil {
		return err
	}
	if err := os.Remove(keyFile); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(keyFile))
}

// An AuthorityState is what there is to know about an authority.
type AuthorityState struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the certificate
	NotAfter    time.Time `json:"not_after"`
	Key         bool      `json:"key"` // whether its key is in the folder
}

// Authorities lists the authorities of a data folder, the root first.
func Authorities(data string) ([]AuthorityState, error) {
	dir := &datadir.Dir{Root: data}
	var list []AuthorityState
	for _, files := range []func() (string, string){dir.RootCA, dir.ServerCA, dir.ClientCA} {
		certFile, keyFile := files()
		text, err := os.ReadFile(certFile)
		if err != nil {
			return nil, err
		}
		cert, err := certs.ParseCertificate(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", certFile, err)
		}
		_, err = os.Stat(keyFile)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		list = append(list, AuthorityState{cert.Subject.CommonName, certs.Fingerprint(cert), cert.NotAfter.UTC(), err == nil})
	}
	return list, nil
}
