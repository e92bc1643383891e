package daemon

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// serverCertificateLife is how long a server certificate lives. It is renewed
// at a start in the last third of its life.
const serverCertificateLife = 397 * 24 * time.Hour

// newConfig is what a new folder is to be.
func newConfig(opts Options) (datadir.Config, error) {
	name := opts.Name
	if name == "" {
		var id [4]byte
		rand.Read(id[:]) // never fails
		name = "atm-" + hex.EncodeToString(id[:]) + ".local"
	}
	if !domainName(name) {
		return datadir.Config{}, fmt.Errorf("%w: %q is no name for a server: it takes lower-case "+
			"letters, digits, dots and hyphens", datadir.ErrUsage, name)
	}
	c := datadir.Config{Name: name, Realm: name, Origin: name, Empty: opts.Empty}
	if opts.Store.InDatabase() {
		c.Store = datadir.Postgres
	}
	return c, nil
}

// domainName reports whether s can be a trust domain (SPIFFE ID, section 2.1)
// and a host name.
func domainName(s string) bool {
	if len(s) < 1 || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}

// makeKeys makes the keys and authorities that are not there yet.
func (h *Server) makeKeys() error {
	for _, folder := range []string{"ca", "tls", "keys", "clients"} {
		if err := durable.MkdirAll(h.dir.Path(folder), 0o700); err != nil {
			return err
		}
	}
	if err := datadir.Ensure(h.dir.VaultKey(), func() ([]byte, error) {
		return datadir.NewVaultKey().Encode()
	}); err != nil {
		return err
	}
	err := datadir.Ensure(h.dir.AuditKey(), func() ([]byte, error) {
		skey, _, err := audit.GenerateKey(h.dir.Config.Origin)
		return []byte(skey + "\n"), err
	})
	if err != nil {
		return err
	}
	if err := datadir.Ensure(h.dir.TokenKey(), newTokenKeys); err != nil {
		return err
	}
	if err := h.ensureAuthorities(); err != nil {
		return err
	}
	_, key := h.dir.Server()
	return datadir.Ensure(key, newKey)
}

func newKey() ([]byte, error) {
	key, err := certs.NewKey()
	if err != nil {
		return nil, err
	}
	return certs.EncodeKey(key)
}

// ensureAuthorities makes the authorities that are not there. The certificate
// of each is written after its key.
func (h *Server) ensureAuthorities() error {
	name := h.dir.Config.Name
	rootCert, rootKey := h.dir.RootCA()
	if !datadir.Exists(rootCert) {
		root, err := certs.NewAuthority("ATM "+name, time.Now())
		if err == nil {
			err = root.Save(rootCert, rootKey)
		}
		if err != nil {
			return err
		}
	}
	serverCert, serverKey := h.dir.ServerCA()
	clientCert, clientKey := h.dir.ClientCA()
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

// usualHosts are the names and addresses of a server that nobody named.
func usualHosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && (domainName(strings.ToLower(name)) ||
		net.ParseIP(name) != nil) &&
		!slices.Contains(hosts, name) {
		hosts = append(hosts, name)
	}
	return hosts
}

// renewServerCertificate signs a server certificate when there is none, when
// the one there is lacks a host that was asked for, or is in the last third
// of its life. The key stays.
func (h *Server) renewServerCertificate() error {
	certFile, keyFile := h.dir.Server()
	hosts := h.opts.Hosts
	text, err := os.ReadFile(certFile)
	switch {
	case err == nil:
		cert, err := certs.ParseCertificate(text)
		if err != nil {
			return fmt.Errorf("%s: %w", certFile, err)
		}
		if hosts == nil {
			hosts = certificateHosts(cert)
		}
		if !certs.NeedsRenewal(cert, hosts, h.now()) {
			return nil
		}
	case !os.IsNotExist(err) || !h.Fresh:
		return err
	case hosts == nil:
		hosts = usualHosts()
	}
	pem, err := durable.ReadSecret(keyFile)
	if err != nil {
		return err
	}
	key, err := certs.ParseKey(pem)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	cert, err := h.signing.Load().server.IssueServer(key.Public(), hosts, serverCertificateLife,
		h.now())
	if err != nil {
		return fmt.Errorf("server certificate: %w", err)
	}
	chain := append(certs.EncodeCertificate(cert),
		certs.EncodeCertificate(h.signing.Load().server.Certificate)...)
	return durable.WriteFile(certFile, chain, 0o644)
}

func certificateHosts(cert *x509.Certificate) []string {
	hosts := slices.Clone(cert.DNSNames)
	for _, ip := range cert.IPAddresses {
		hosts = append(hosts, ip.String())
	}
	return hosts
}

// A credential is one that init makes.
type credential struct {
	subject string
	roles   string
}

// populate makes the first accounts and credentials of a new folder, by the
// same path as any later operation. Each step looks whether an interrupted
// init has done it already.
func (h *Server) populate(ctx context.Context) error {
	credentials := []credential{{"user:operator", "operator auditor"}}
	if !h.dir.Config.Empty {
		credentials = append(credentials, credential{"user:demo", "customer"})
	}
	for _, c := range credentials {
		if err := h.issueCredential(ctx, c); err != nil {
			return fmt.Errorf("credentials of %s: %w", c.subject, err)
		}
	}
	if h.dir.Config.Empty {
		return nil
	}
	const demo = 100
	there, err := h.store.Accounts(ctx, demo-1, 1)
	if err != nil || len(there) > 0 {
		return err
	}
	_, err = h.asInit(ctx, atm.AccountOpen, atm.Arg{Kind: atm.Int, Text: "100"}, text("user:demo"),
		text("1000.00"))
	return err
}

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

// asInit carries out an operation in the name of init.
func (h *Server) asInit(ctx context.Context, op atm.Operation, args ...atm.Arg) (atm.Record,
	error,
) {
	return h.within(ctx, systemInit, teller.Call{Operation: op, Args: args})
}

// within carries out an operation in the name of a subject within the program, which no
// credential can carry.
func (h *Server) within(ctx context.Context, subject string, call teller.Call) (atm.Record, error) {
	reply, err := h.teller.Begin(ctx, &atm.Caller{Principal: atm.Principal{Subject: subject}}, call)
	if err != nil {
		return nil, err
	}
	status := reply()
	if status.Code != atm.OK {
		return nil, fmt.Errorf("%s: %s", call.Operation, status.Reason)
	}
	record, _ := status.Result.(atm.Record)
	return record, nil
}

// issueCredential writes ca.crt, client.key and, last, client.crt.
func (h *Server) issueCredential(ctx context.Context, c credential) error {
	folder := h.dir.Client(strings.TrimPrefix(c.subject, "user:"))
	certFile := filepath.Join(folder, "client.crt")
	if _, err := os.Lstat(certFile); err == nil {
		return nil
	}
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	keyFile := filepath.Join(folder, "client.key")
	if err := datadir.Ensure(keyFile, newKey); err != nil {
		return err
	}
	pem, err := durable.ReadSecret(keyFile)
	if err != nil {
		return err
	}
	key, err := certs.ParseKey(pem)
	if err != nil {
		return fmt.Errorf("%s: %w", keyFile, err)
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		return err
	}
	record, err := h.asInit(ctx, atm.CertIssue, text(c.subject), text(string(request)),
		text(c.roles))
	if err != nil {
		return err
	}
	field := func(name string) []byte {
		s, _ := record.Get(name).(string)
		return []byte(s)
	}
	if err := durable.WriteFile(filepath.Join(folder, "ca.crt"), field("authority"),
		0o644); err != nil {
		return err
	}
	return durable.WriteFile(certFile, field("certificate"), 0o644)
}
