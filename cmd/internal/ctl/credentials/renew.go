package credentials

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/signin"
	"example.com/atm/internal/durable"
	"github.com/spf13/cobra"
)

func renewCommand(env *ctl.Env) *cobra.Command {
	var dir string
	var force bool
	renew := &cobra.Command{
		Use: "renew --dir DIR", Short: "Renew the certificate in a folder with itself",
		Long: `Renew the certificate in DIR, which cert issue wrote: sign in with it and get another one of
the same life, with a new key. Nothing is done before the last third of its life, unless
the authorities have been replaced, so a timer can run this as often as you like.

client.crt and client.key change together: they become links into a folder, and one rename
changes which folder. A service that reads one file before the rename and the other after
it gets a pair that does not match, and has to read both again.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if dir == "" {
				return exit.Usagef("--dir is missing: the folder with client.crt and client.key")
			}
			return renewCertificate(cmd.Context(), env, client.InFolder(dir), force)
		},
	}
	renew.Flags().StringVar(&dir, "dir", "", "`folder` with client.crt, client.key and ca.crt")
	renew.Flags().BoolVar(&force, "force", false,
		"also before the last third of its life")
	return renew
}

func renewCertificate(ctx context.Context, env *ctl.Env, files client.Files, force bool) error {
	text, err := os.ReadFile(files.Cert)
	if err != nil {
		return &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		return &exit.Error{Code: exit.NotAuthenticated, Err: fmt.Errorf("%s: %w", files.Cert, err)}
	}
	until := cert.NotAfter.UTC().Format(time.RFC3339)
	due := force || certs.InLastThird(cert, time.Now())
	if !due {
		if due, err = underOldAuthority(ctx, env, files, cert); err != nil {
			return err
		}
	}
	if !due {
		return env.Tell(map[string]any{"renewed": false, "not_after": until},
			"not renewed: the certificate is good until %s\n", until)
	}
	key, err := certs.NewKey()
	if err != nil {
		return err
	}
	record, err := requestRenewal(ctx, env, files, key)
	if err != nil {
		return err
	}
	text, err = certs.EncodeKey(key)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(files.CA, []byte(record.authority), 0o644); err != nil {
		return err
	}
	if err := replacePair(files, []byte(record.certificate), text); err != nil {
		return err
	}
	return env.Tell(map[string]any{"renewed": true, "not_after": record.notAfter},
		"renewed: the certificate is good until %s\n", record.notAfter)
}

// underOldAuthority reports whether a certificate is of a previous authority, and stops working
// when that authority is retired.
func underOldAuthority(ctx context.Context, env *ctl.Env, files client.Files,
	cert *x509.Certificate) (bool,
	error,
) {
	trusting, err := client.Trusting(files.CA)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, env.Timeout)
	defer cancel()
	text, err := exchange(ctx, trusting, http.MethodGet, env.Server+"/clients.crt", nil)
	if err != nil {
		return false, err
	}
	authority, err := certs.ParseCertificate(text)
	if err != nil {
		return false, fmt.Errorf("the authority of clients: %w", err)
	}
	return cert.CheckSignatureFrom(authority) != nil, nil
}

// A renewal is the answer of the server.
type renewal struct{ certificate, authority, notAfter string }

// requestRenewal asks for a certificate for key, signing in with the one in files.
func requestRenewal(ctx context.Context, env *ctl.Env, files client.Files,
	key crypto.Signer) (renewal,
	error,
) {
	request, err := certs.NewRequest(key)
	if err != nil {
		return renewal{}, err
	}
	env.Way = signin.ByCertificate(files)
	result, err := env.Call(ctx, string(atm.CertRenew), string(request))
	if err != nil {
		return renewal{}, err
	}
	record, _ := result.(map[string]any)
	var r renewal
	for name, field := range map[string]*string{
		"certificate": &r.certificate,
		"authority":   &r.authority, "not_after": &r.notAfter,
	} {
		if *field, _ = record[name].(string); *field == "" {
			return renewal{}, fmt.Errorf("the server's answer has no %s", name)
		}
	}
	return r, nil
}

const (
	currentPair = ".current" // link to the folder of the current pair
	pairPrefix  = ".pair-"   // prefix of the folders of pairs
)

// replacePair replaces the certificate and the key in a folder in one atomic step. For that the
// files are symbolic links through currentPair. The first call turns them into such links, one
// after the other, which still lead to the old pair.
func replacePair(files client.Files, cert, key []byte) error {
	folder := files.Folder()
	next, err := writePair(files, cert, key)
	if err != nil {
		return err
	}
	if !isLink(files.Cert) || !isLink(files.Key) {
		oldCert, err := os.ReadFile(files.Cert)
		if err != nil {
			return err
		}
		oldKey, err := durable.ReadSecret(files.Key)
		if err != nil {
			return err
		}
		now, err := writePair(files, oldCert, oldKey)
		if err != nil {
			return err
		}
		if err := link(now, filepath.Join(folder, currentPair)); err != nil {
			return err
		}
		for _, file := range []string{files.Cert, files.Key} {
			if err := link(filepath.Join(currentPair, filepath.Base(file)), file); err != nil {
				return err
			}
		}
	}
	if err := link(next, filepath.Join(folder, currentPair)); err != nil {
		return err
	}
	return removePairs(folder, next)
}

// writePair writes a pair into a new folder beside files and returns the folder's name.
func writePair(files client.Files, cert, key []byte) (name string, err error) {
	folder, err := os.MkdirTemp(files.Folder(), pairPrefix) // mode 0700
	if err != nil {
		return "", err
	}
	err = errors.Join(
		durable.WriteFile(filepath.Join(folder, filepath.Base(files.Key)), key, 0o600),
		durable.WriteFile(filepath.Join(folder, filepath.Base(files.Cert)), cert, 0o644),
		durable.SyncDir(filepath.Dir(folder)))
	return filepath.Base(folder), err
}

// link makes path a link to target, and replaces the file that is there.
func link(target, path string) error {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Symlink(target, temporary); err != nil {
		return err
	}
	return errors.Join(os.Rename(temporary, path), durable.SyncDir(filepath.Dir(path)))
}

func isLink(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeSymlink != 0
}

// removePairs removes the folders of all pairs but one.
func removePairs(folder, kept string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var errs []error
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), pairPrefix) && entry.Name() != kept {
			errs = append(errs, os.RemoveAll(filepath.Join(folder, entry.Name())))
		}
	}
	return errors.Join(append(errs, durable.SyncDir(folder))...)
}
