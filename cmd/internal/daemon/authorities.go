package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/inbox"
	"example.com/atm/internal/durable"
)

// signing is the authorities in force.
type signing struct {
	server, client *certs.Authority
	clients        *certs.ClientVerifier // of client, and of the one before a rollover
}

func readSigning(dir *datadir.Dir) (*signing, error) {
	s := &signing{}
	var err error
	if s.server, err = certs.LoadAuthority(dir.ServerCA()); err != nil {
		return nil, err
	}
	if s.client, err = certs.LoadAuthority(dir.ClientCA()); err != nil {
		return nil, err
	}
	trusted := []*x509.Certificate{s.client.Certificate}
	switch text, err := os.ReadFile(dir.OldClientCA()); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	default:
		old, err := certs.ParseCertificate(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", dir.OldClientCA(), err)
		}
		trusted = append(trusted, old)
	}
	s.clients = certs.NewClientVerifier(trusted...)
	return s, nil
}

// verifyClient verifies by the authorities that are in force at the moment.
func (h *Server) verifyClient(chain []*x509.Certificate, now time.Time) error {
	return h.signing.Load().clients.Verify(chain, now)
}

const (
	// authoritiesEvery is how often the authorities are looked at.
	authoritiesEvery = time.Second

	// renewEvery is how often the server's own certificate is.
	renewEvery = time.Hour
)

// followAuthorities puts other authorities in force when their files are
// replaced, keeps the last good ones, and renews the server's certificate in
// the last third of its life.
func (h *Server) followAuthorities(ctx context.Context) {
	look, renew := time.NewTicker(authoritiesEvery), time.NewTicker(renewEvery)
	defer look.Stop()
	defer renew.Stop()
	seen := h.authorityFiles()
	h.renewOwnClients(ctx)
	for {
		select {
		case <-look.C:
			inbox.Answer(ctx, h.dir.Requests(), h.opts.Log, h.issueRequested)
		case <-renew.C:
			if err := h.renewServerCertificate(); err != nil {
				h.opts.Log.Error("the server certificate is not renewed", slog.Any("error", err))
			}
			h.renewOwnClients(ctx)
			continue
		case <-ctx.Done():
			return
		}
		now := h.authorityFiles()
		if now == seen {
			continue
		}
		next, err := readSigning(h.dir)
		if err != nil {
			h.opts.Log.Error("the new authorities are not used", slog.Any("error", err))
			continue // they may be on their way
		}
		own, err := h.share(ctx)
		if err != nil {
			h.opts.Log.Error("the other replicas do not have the new authorities yet",
				slog.Any("error", err))
			continue
		}
		seen = now
		old := h.enforce(next)
		// otherwise another replica told of it
		if own && !old.client.Certificate.Equal(next.client.Certificate) {
			h.teller.KeyRotated(ctx, certs.Fingerprint(old.client.Certificate),
				certs.Fingerprint(next.client.Certificate))
		}
		h.renewOwnClients(ctx)
	}
}

// enforce puts authorities in force, and returns those before them.
func (h *Server) enforce(next *signing) *signing {
	old := h.signing.Swap(next)
	if h.signIn != nil {
		h.signIn.Forget()
	}
	h.opts.Log.Info("authorities replaced",
		slog.String("clients", certs.Fingerprint(next.client.Certificate)))
	return old
}

// replaceAuthorities puts those in force that are in the folder now.
func (h *Server) replaceAuthorities() error {
	next, err := readSigning(h.dir)
	if err == nil {
		h.enforce(next)
	}
	return err
}

// authorityFiles tells one version of the files from another.
func (h *Server) authorityFiles() (v [3]certs.Version) {
	server, _ := h.dir.ServerCA()
	client, _ := h.dir.ClientCA()
	for i, file := range []string{server, client, h.dir.OldClientCA()} {
		v[i] = certs.VersionOf(file)
	}
	return v
}

// What is done to the authorities of a data folder. A server may run on it.

// newSuffix marks the files of an authority that is about to be in force.
const newSuffix = ".new"

// settleRollover completes a rollover that was interrupted, or drops it. It
// happened when the new key has its place: the certificate follows.
func settleRollover(dir *datadir.Dir) error {
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

// ErrNotRetired reports a rollover while the authority before the last one is
// still trusted.
var ErrNotRetired = errors.New("the authority before the last rollover is still trusted: retire " +
	"it first")

// ErrNoRootKey reports that the key of the root is not in the folder any more.
var ErrNoRootKey = errors.New("the key of the root is not in the folder, as after ca export")

// Rollover makes other authorities under the root, whose key is in keyFile, or
// in the folder when that is empty, and a server certificate of the new one.
// Certificates of the authority for clients before it are good until Retire.
func Rollover(data, keyFile string) error {
	dir := &datadir.Dir{Root: data}
	if datadir.Exists(dir.OldClientCA()) {
		return ErrNotRetired
	}
	if err := settleRollover(dir); err != nil {
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
		if err := errors.Join(os.Rename(key+newSuffix, key), durable.SyncDir(filepath.Dir(key)),
			os.Rename(cert+newSuffix, cert), durable.SyncDir(filepath.Dir(cert))); err != nil {
			return err
		}
		if servers == nil {
			servers = next
		}
	}
	return reissueServer(dir, servers)
}

// reissueServer signs the server's certificate again, over the same key and for
// the same hosts.
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

// Retire stops trusting the authority for clients of before the last rollover.
func Retire(data string) error {
	old := (&datadir.Dir{Root: data}).OldClientCA()
	if err := os.Remove(old); err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(old))
}

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
		list = append(list, AuthorityState{
			cert.Subject.CommonName, certs.Fingerprint(cert),
			cert.NotAfter.UTC(), err == nil,
		})
	}
	return list, nil
}
