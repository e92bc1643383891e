package keys

import (
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
)

// Changes to the authorities of a data folder, on which a server may run.

// newSuffix marks the files of an authority that is not in force yet.
const newSuffix = ".new"

// FinishRollover completes a rollover that was interrupted after the new key was in place, by
// moving the certificate. It undoes a rollover that was interrupted before.
func FinishRollover(dir *datadir.Dir) error {
	for _, files := range []func() (string, string){dir.ServerCA, dir.ClientCA} {
		cert, key := files()
		var err error
		switch {
		case !datadir.Exists(cert + newSuffix):
			if datadir.Exists(key + newSuffix) {
				err = os.Remove(key + newSuffix)
			}
		case datadir.Exists(key + newSuffix):
			err = errors.Join(os.Remove(cert+newSuffix), os.Remove(key+newSuffix))
		default:
			err = os.Rename(cert+newSuffix, cert)
		}
		if err == nil {
			err = durable.SyncDir(filepath.Dir(cert))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ErrNotRetired reports a rollover while the authority before the previous rollover is still
// trusted.
var ErrNotRetired = errors.New("the authority before the last rollover is still trusted: retire " +
	"it first")

// ErrNoRootKey reports that the key of the root is not in the folder.
var ErrNoRootKey = errors.New("the key of the root is not in the folder, as after ca export")

// Rollover creates new authorities under the root, and a server certificate by the new one. The
// root's key is in keyFile, or in the folder if keyFile is empty. Certificates of the previous
// clients' authority are good until Retire.
func Rollover(data, keyFile string) error {
	dir := datadir.At(data)
	if datadir.Exists(dir.OldClientCA()) {
		return ErrNotRetired
	}
	if err := FinishRollover(dir); err != nil {
		return err
	}
	rootCert, rootKey := dir.RootCA()
	if keyFile == "" {
		keyFile = rootKey
	}
	root, err := certs.LoadAuthority(rootCert, keyFile)
	if keyFile == rootKey && datadir.Exists(rootCert) && !datadir.Exists(rootKey) {
		return ErrNoRootKey
	}
	if err != nil {
		return err
	}
	before, err := readSigning(dir)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(dir.OldClientCA(),
		certs.EncodeCertificate(before.client.Certificate), 0o644); err != nil {
		return err
	}
	var servers *certs.Authority
	for _, a := range []struct {
		files func() (string, string)
		name  string
		usage x509.ExtKeyUsage
	}{
		{dir.ServerCA, before.server.Certificate.Subject.CommonName, x509.ExtKeyUsageServerAuth},
		{dir.ClientCA, before.client.Certificate.Subject.CommonName, x509.ExtKeyUsageClientAuth},
	} {
		next, err := root.NewIssuing(a.name, a.usage, time.Now())
		if err != nil {
			return err
		}
		cert, key := a.files()
		if err := next.Save(cert+newSuffix, key+newSuffix); err != nil {
			return err
		}
		// Without its key, FinishRollover could not complete a certificate that is in its place.
		if err := durable.Rename(key+newSuffix, key); err != nil {
			return err
		}
		if err := durable.Rename(cert+newSuffix, cert); err != nil {
			return err
		}
		if servers == nil {
			servers = next
		}
	}
	return reissueServer(dir, servers)
}

// reissueServer issues a new certificate for the server's key and hosts.
func reissueServer(dir *datadir.Dir, by *certs.Authority) error {
	certFile, _ := dir.Server()
	text, err := os.ReadFile(certFile)
	if err != nil {
		return err
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		return fmt.Errorf("%s: %w", certFile, err)
	}
	next, err := by.IssueServer(cert.PublicKey, certificateHosts(cert), serverCertificateLife,
		time.Now())
	if err != nil {
		return err
	}
	return durable.WriteFile(certFile, append(certs.EncodeCertificate(next),
		certs.EncodeCertificate(by.Certificate)...), 0o644)
}

// Retire ends the trust in the clients' authority that the last rollover replaced.
func Retire(data string) error {
	old := datadir.At(data).OldClientCA()
	if err := os.Remove(old); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(old))
}

// ExportRoot moves the key of the root from the data folder to a new file, which can be stored
// offline. No running program needs it.
func ExportRoot(data, file string) error {
	certFile, keyFile := datadir.At(data).RootCA()
	if !datadir.Exists(keyFile) {
		return ErrNoRootKey
	}
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
	// Check the new file before removing the old one.
	if _, err := certs.LoadAuthority(certFile, file); err != nil {
		return err
	}
	if err := os.Remove(keyFile); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(keyFile))
}

// An AuthorityState is the state of an authority.
type AuthorityState struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"` // SHA-256 of the certificate
	NotAfter    time.Time `json:"not_after"`
	Key         bool      `json:"key"` // whether its key is in the folder
}

// ListAuthorities lists the authorities of a data folder, the root first.
func ListAuthorities(data string) ([]AuthorityState, error) {
	dir := datadir.At(data)
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
		list = append(list, AuthorityState{
			cert.Subject.CommonName, certs.Fingerprint(cert),
			cert.NotAfter.UTC(), err == nil,
		})
	}
	return list, nil
}
