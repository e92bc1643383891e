package doctor

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/internal/durable"
)

// putBack is the command that restores files from a backup, for files that cannot be created
// again.
func (e *exam) putBack(names ...string) string {
	return "tar -xpf BACKUP -C " + quoted(e.opts.Data) + " " + strings.Join(names, " ")
}

// keys reports whether the keys are readable, and match each other and the log.
func (e *exam) keys() {
	if err := keys.CheckTokenKeys(e.dir.TokenKey()); err != nil &&
		!errors.Is(err, fs.ErrNotExist) {
		e.tell(Critical, e.putBack("keys/token.key"), "keys/token.key: %v", err)
	}
	e.auditKey()
	for _, files := range []func() (string, string){e.dir.RootCA, e.dir.ServerCA, e.dir.ClientCA} {
		cert, key := files()
		if _, err := certs.LoadAuthority(cert, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.tell(Critical, e.putBack("ca"), "%v", err)
		}
	}
	if _, key := e.dir.RootCA(); present(key) {
		e.tell(Note, "atmctl ca export --data "+quoted(e.opts.Data)+" --out root.key",
			"the key of the root is in the folder; it is needed for a rollover alone, and safer "+
				"elsewhere")
	}
	if present(e.dir.OldClientCA()) {
		e.tell(Note, "atmctl ca retire --data "+quoted(e.opts.Data),
			"the authority for clients of before the last rollover is trusted until it is retired")
	}
	cert, key := e.dir.Server()
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.tell(Critical, e.putBack("tls"), "tls/server.crt and tls/server.key: %v", err)
	}
}

// auditKey compares the signing key of the log with the key beside the log.
func (e *exam) auditKey() {
	secret, err := durable.ReadSecret(e.dir.AuditKey())
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.tell(Critical, e.putBack("keys/audit.key"), "%v", err)
		}
		return
	}
	signer, err := checkpoint.NewSigner(string(secret))
	if err != nil {
		e.tell(Critical, e.putBack("keys/audit.key"), "keys/audit.key: %v", err)
		return
	}
	if signer.Origin() != e.dir.Config.Origin {
		e.tell(Critical, e.putBack("keys/audit.key"),
			"keys/audit.key signs for %s; this log is %s", signer.Origin(), e.dir.Config.Origin)
		return
	}
	if signer.InModule() {
		e.tell(Note, "", "the Ed25519 key that signs the audit log is in a PKCS #11 module, and in no "+
			"backup: the server starts with its --audit-key, and has %s", signer.Verifier())
	}
	vkey, err := os.ReadFile(filepath.Join(e.dir.Audit(), "log.vkey"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.tell(Warning, e.start(), "audit/log.vkey is missing; the next start puts it there")
	case err != nil:
		e.tell(Critical, "", "%v", err)
	case len(bytes.TrimSpace(vkey)) == 0 || slices.ContainsFunc(strings.Fields(string(vkey)),
		func(key string) bool { return !slices.Contains(signer.AllKeys(), key) }):
		e.tell(Critical, e.putBack("keys/audit.key"),
			"audit/log.vkey is not the public key of keys/audit.key: "+
				"one of them is of another log, and the server refuses to sign it")
	}
	signed, err := os.ReadFile(filepath.Join(e.dir.Audit(), "checkpoint"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.tell(Warning, e.start(),
			"the log is not published: audit/checkpoint is missing; a start publishes it").Alert = "AtmLogNotPublished"
	case err != nil:
		e.tell(Critical, "", "%v", err)
	default:
		_, _, err := checkpoint.OpenAny(signed, signer.AllKeys())
		_, _, incomplete := checkpoint.OpenEach(signed, signer.AllKeys())
		switch {
		case err != nil:
			e.tell(Critical, e.putBack("keys/audit.key"),
				"audit/checkpoint is not signed by keys/audit.key: %v", err)
		case incomplete != nil:
			e.tell(Warning, e.start(), "audit/checkpoint: %v; a start publishes it again",
				incomplete)
		}
	}
	if len(signer.AllKeys()) == len(signer.Keys()) {
		e.tell(Note, "atmctl audit rotate-key", "the log is signed with Ed25519 alone: its next "+
			"key comes with one of ML-DSA-44, for the time of quantum computers")
	}
}

// endsSoon is the remaining life of a certificate at which its alert fires.
const endsSoon = 21 * 24 * time.Hour

// certificates reports certificates that expire soon, and certificates of no authority in
// force.
func (e *exam) certificates() {
	data := quoted(e.opts.Data)
	authority := func(name string, files func() (string, string), mend string) *x509.Certificate {
		file, _ := files()
		return e.certificate("the authority "+name, file, mend)
	}
	authority("root", e.dir.RootCA, "atmctl ca show --data "+data)
	rollover := "atmctl ca rollover --data " + data
	servers := authority("servers", e.dir.ServerCA, rollover)
	clients := authority("clients", e.dir.ClientCA, rollover)
	file, _ := e.dir.Server()
	// The server renews its own certificates in the last third of their lives. If a running server
	// did not, its log has the reason.
	mend := e.start()
	if e.running {
		mend = "journalctl -u atmserver -p warning"
	}
	cert := e.certificate("the server's certificate", file, mend)
	if cert != nil && servers != nil && cert.CheckSignatureFrom(servers) != nil {
		e.tell(Critical, e.putBack("tls", "ca"),
			"%s is not of the authority in ca/servers.crt", file)
	}
	names, err := os.ReadDir(e.dir.Path("clients"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.tell(Warning, "", "%v", err)
	}
	for _, name := range names {
		if name.IsDir() && present(client.InFolder(e.dir.Client(name.Name())).Cert) {
			e.client(name.Name(), clients)
		}
	}
}

// client examines the credentials in a folder below clients.
func (e *exam) client(name string, authority *x509.Certificate) {
	files := client.InFolder(e.dir.Client(name))
	issue := "atmctl cert issue user:" + quoted(name) + " --out NEW --data " + quoted(e.opts.Data)
	cert := e.certificate("the certificate in clients/"+name, files.Cert, issue)
	if cert == nil {
		return
	}
	if _, err := tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
		e.tell(Warning, issue, "the certificate in clients/%s: %v", name, err)
	}
	old := e.readCertificate(e.dir.OldClientCA())
	of := func(a *x509.Certificate) bool { return a != nil && cert.CheckSignatureFrom(a) == nil }
	if authority != nil && !of(authority) && !of(old) {
		e.tell(Warning, issue,
			"the certificate in clients/%s is of no authority that is trusted", name)
	}
}

// certificate reads a certificate, and reports if it has expired or expires soon. It returns
// nil if the certificate is missing or unreadable.
func (e *exam) certificate(what, file, mend string) *x509.Certificate {
	text, err := os.ReadFile(file)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			e.tell(Critical, "", "%v", err)
		}
		return nil
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		e.tell(Critical, e.putBack(e.inside(file)), "%s: %v", file, err)
		return nil
	}
	end := cert.NotAfter.UTC().Format(time.RFC3339)
	switch left := cert.NotAfter.Sub(e.now); {
	case left <= 0:
		e.tell(Critical, mend, "%s ended at %s", what, end).Alert = "AtmCertificateEnds"
	case left < endsSoon:
		e.tell(Warning, mend,
			"%s ends in %d days, at %s", what, left/(24*time.Hour),
			end).Alert = "AtmCertificateEnds"
	case e.now.Before(cert.NotBefore):
		e.tell(Critical, "timedatectl",
			"%s is good from %s on: is the clock right?", what,
			cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return cert
}

// readCertificate returns nil for a missing certificate.
func (e *exam) readCertificate(file string) *x509.Certificate {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	cert, err := certs.ParseCertificate(bytes.TrimSpace(text))
	if err != nil {
		e.tell(Critical, e.putBack(e.inside(file)), "%s: %v", file, err)
		return nil
	}
	return cert
}
