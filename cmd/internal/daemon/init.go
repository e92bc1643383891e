package daemon

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// newConfig is the configuration of a new folder.
func newConfig(opts Options) (datadir.Config, error) {
	name := opts.Name
	if name == "" {
		var id [4]byte
		rand.Read(id[:]) // never fails
		name = "atm-" + hex.EncodeToString(id[:]) + ".local"
	}
	if !datadir.IsServerName(name) {
		return datadir.Config{}, fmt.Errorf("%w: %q is not a name for a server: a name has "+
			"lower-case letters, digits, dots and hyphens", datadir.ErrUsage, name)
	}
	c := datadir.Config{Name: name, Realm: name, Origin: name, Empty: opts.Empty}
	if opts.Store.InDatabase() {
		c.Store = opts.Store.Kind()
	}
	return c, nil
}

// completeInit creates the initial content of a new folder, and marks the folder as complete.
// If the folder joins an installation, its accounts exist already.
func (s *Server) completeInit(ctx context.Context) error {
	if !s.accounts.joined() {
		// Operations would be refused as well, with a sentence that says nothing of disks.
		if err := s.installation.diskSpace(); err != nil {
			return fmt.Errorf("%w (--disk-reserve)", err)
		}
		if s.keys.Signs() { // or it is a rebuild without the module, which says what it lacks
			if err := s.populate(ctx); err != nil {
				return err
			}
		}
		if err := s.log.Publish(ctx); err != nil {
			return err
		}
		if s.accounts.replica != nil {
			if err := s.accounts.replica.Store.Complete(ctx); err != nil {
				return err
			}
		}
	}
	return s.dir.Complete()
}

// A credential is a credential that init creates.
type credential struct {
	subject string
	roles   string
}

// populate creates the first accounts and credentials of a new folder, by the same operations
// as later ones. Each step checks whether an interrupted init has done it already.
func (s *Server) populate(ctx context.Context) error {
	credentials := []credential{{"user:operator", "operator auditor"}}
	if !s.dir.Config.Empty {
		credentials = append(credentials, credential{"user:demo", "customer"})
	}
	for _, c := range credentials {
		if err := s.issueCredential(ctx, c); err != nil {
			return fmt.Errorf("credentials of %s: %w", c.subject, err)
		}
	}
	if s.dir.Config.Empty {
		return nil
	}
	const demo = 100
	there, err := s.accounts.Accounts(ctx, demo-1, 1)
	if err != nil || len(there) > 0 {
		return err
	}
	_, err = s.within(ctx, systemInit, atm.AccountOpen, atm.Arg{Kind: atm.Int, Text: "100"},
		text("user:demo"), text("1000.00"))
	return err
}

func text(value string) atm.Arg { return atm.Arg{Kind: atm.String, Text: value} }

// within carries out an operation as a subject inside the program, which no credential can
// have.
func (s *Server) within(ctx context.Context, subject string, op atm.Operation,
	args ...atm.Arg,
) (atm.Record, error) {
	reply, err := s.teller.Begin(ctx, &atm.Caller{Principal: atm.Principal{Subject: subject}},
		teller.Call{Operation: op, Args: args})
	if err != nil {
		return nil, err
	}
	status := reply()
	if status.Code != atm.OK {
		return nil, fmt.Errorf("%s: %s", op, status.Reason)
	}
	record, _ := status.Result.(atm.Record)
	return record, nil
}

// issueCredential writes ca.crt, client.key and, last, client.crt.
func (s *Server) issueCredential(ctx context.Context, c credential) error {
	folder := s.dir.Client(strings.TrimPrefix(c.subject, "user:"))
	certFile := filepath.Join(folder, "client.crt")
	if _, err := os.Lstat(certFile); err == nil {
		return nil
	}
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	keyFile := filepath.Join(folder, "client.key")
	if err := datadir.Ensure(keyFile, keys.New); err != nil {
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
	record, err := s.within(ctx, systemInit, atm.CertIssue, text(c.subject), text(string(request)),
		text(c.roles))
	if err != nil {
		return err
	}
	field := func(name string) []byte {
		value, _ := record.Get(name).(string)
		return []byte(value)
	}
	if err := durable.WriteFile(filepath.Join(folder, "ca.crt"), field("authority"),
		0o644); err != nil {
		return err
	}
	return durable.WriteFile(certFile, field("certificate"), 0o644)
}
