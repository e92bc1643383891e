package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/durable"
	"github.com/spf13/cobra"
)

func (p *program) renewCommand() *cobra.Command {
	var dir string
	var force bool
	renew := &cobra.Command{
		Use: "renew --dir DIR", Short: "Renew the certificate in a folder with itself",
		Long: `Renew the certificate in DIR, which cert issue wrote, in the last third of its life:
sign in by it and get another one, as long as it, over a key that is made here. Before
that nothing is done, so it can be run as often as one likes, by a timer for example.

The key is replaced a moment before the certificate. A service that reads both in
between finds that they do not belong together, and has to read them again.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return exit.Usagef("--dir is missing: the folder with client.crt and client.key")
			}
			return p.renew(cmd.Context(), client.InFolder(dir), force)
		},
	}
	renew.Flags().StringVar(&dir, "dir", "", "`folder` with client.crt, client.key and ca.crt")
	renew.Flags().BoolVar(&force, "force", false, "although it is not in the last third of its life")
	return renew
}

// nextSuffix marks files that are about to take the place of others.
const nextSuffix = ".next"

func (p *program) renew(ctx context.Context, files client.Files, force bool) error {
	if err := settleRenewal(files); err != nil {
		return err
	}
	text, err := os.ReadFile(files.Cert)
	if err != nil {
		return &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		return &exit.Error{Code: exit.NotAuthenticated, Err: fmt.Errorf("%s: %w", files.Cert, err)}
	}
	until := cert.NotAfter.UTC().Format(time.RFC3339)
	if !force && !certs.InLastThird(cert, time.Now()) {
		return p.tell(map[string]any{"renewed": false, "not_after": until}, "not renewed: the certificate is good until %s\n", until)
	}
	key, err := certs.NewKey()
	if err != nil {
		return err
	}
	record, err := p.renewed(ctx, files, key)
	if err != nil {
		return err
	}
	text, err = certs.EncodeKey(key)
	if err != nil {
		return err
	}
	for _, file := range []struct {
		path string
		text []byte
		perm fs.FileMode
	}{
		{files.Key + nextSuffix, text, 0o600},
		{files.Cert + nextSuffix, []byte(record.certificate), 0o644},
		{files.CA, []byte(record.authority), 0o644},
	} {
		if err := durable.WriteFile(file.path, file.text, file.perm); err != nil {
			return err
		}
	}
	if err := os.Rename(files.Key+nextSuffix, files.Key); err != nil {
		return err
	}
	if err := settleRenewal(files); err != nil {
		return err
	}
	return p.tell(map[string]any{"renewed": true, "not_after": record.notAfter}, "renewed: the certificate is good until %s\n", record.notAfter)
}

// A renewal is what the server answers.
type renewal struct{ certificate, authority, notAfter string }

// renewed asks for a certificate over key, signing in by the one in files.
func (p *program) renewed(ctx context.Context, files client.Files, key crypto.Signer) (renewal, error) {
	request, err := certs.NewRequest(key)
	if err != nil {
		return renewal{}, err
	}
	p.files = files
	result, err := p.call(ctx, string(atm.CertRenew), string(request))
	if err != nil {
		return renewal{}, err
	}
	record, _ := result.(map[string]any)
	var r renewal
	for name, field := range map[string]*string{"certificate": &r.certificate, "authority": &r.authority, "not_after": &r.notAfter} {
		if *field, _ = record[name].(string); *field == "" {
			return renewal{}, fmt.Errorf("the server's answer has no %s", name)
		}
	}
	return r, nil
}

// settleRenewal completes a renewal that was interrupted after the key had taken
// its place, and drops one that was interrupted before.
func settleRenewal(files client.Files) error {
	cert, key := files.Cert+nextSuffix, files.Key+nextSuffix
	_, err := os.Lstat(key)
	switch {
	case err == nil:
		err = errors.Join(os.Remove(key), ignoreMissing(os.Remove(cert)))
	case errors.Is(err, fs.ErrNotExist):
		err = ignoreMissing(os.Rename(cert, files.Cert))
	}
	if err != nil {
		return err
	}
	return durable.SyncDir(filepath.Dir(files.Cert))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
