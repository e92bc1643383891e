package upkeep

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"

	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/smallstep/truststore"
	"github.com/spf13/cobra"
)

// A trustStore is a store in which programs on this machine look for authorities.
type trustStore struct {
	name string
	what string // for people

	// options returns the options of truststore that change this store alone, or the reason why it
	// cannot be changed.
	options func() ([]truststore.Option, error)
}

var trustStores = []trustStore{
	{"browsers", "Chromium and Firefox of this account", browserStore},
	{"system", "every program of this machine", func() ([]truststore.Option, error) { return nil, nil }},
}

// errNoBrowserStore is the error if no browser has been started yet.
var errNoBrowserStore = errors.New("no browser of this account has a store of its own yet: " +
	"start the browser once, and try again")

func browserStore() ([]truststore.Option, error) {
	nss, err := truststore.NewNSSTrust()
	switch {
	case errors.Is(err, truststore.ErrTrustNotSupported):
		return nil, errors.New("browsers use the store of the system here")
	case err != nil:
		return nil, errors.New("certutil is missing: install libnss3-tools, or nss-tools")
	}
	if nss.PreCheck() != nil {
		return nil, errNoBrowserStore
	}
	return []truststore.Option{truststore.WithTrust(nss), truststore.WithNoSystem()}, nil
}

func trustCommand(env *ctl.Env) *cobra.Command {
	var names []string
	var undo bool
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Let the browsers and programs of this machine trust the server's certificate",
		Long: `Put the authority of the server into the stores of this machine: that of the system,
for which root or sudo is needed, and those of the browsers of this account. A browser then
opens the console at the server's own address, and passkeys work there. --undo takes the
authority out again.

The authority is the one in --ca, or in the folder of your credentials. The owner of
its key, which is ca/ca.key in the data folder of the server, can vouch for any web site to
this machine. Trust an authority only if you would trust its owner with that.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			u, err := url.Parse(env.Server)
			if err != nil || u.Hostname() == "" {
				return exit.Usagef("--server %q is not an https URL", env.Server)
			}
			file, err := env.Way.Authority(u.Hostname(), ctl.DefaultCredentials)
			if err != nil {
				return err
			}
			authorities, err := readAuthorities(file)
			if err != nil {
				return err
			}
			return trust(env, authorities, names, undo)
		},
	}
	all := make([]string, len(trustStores))
	for i, store := range trustStores {
		all[i] = store.name
	}
	cmd.Flags().StringSliceVar(&names, "stores", nil, "`names` of the stores: browsers, system "+
		"(default both, as far as there are any)")
	cmd.Flags().BoolVar(&undo, "undo", false, "take the authority out again")
	cmd.RegisterFlagCompletionFunc("stores", cobra.FixedCompletions(all,
		cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// maxAuthorities is the largest size of a file of authorities, in bytes.
const maxAuthorities = 1 << 20

// readAuthorities reads the certificates in a PEM file, all of which must be authorities.
func readAuthorities(file string) ([]*x509.Certificate, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxAuthorities))
	if err != nil {
		return nil, err
	}
	var authorities []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, exit.Usagef("%s: %v", file, err)
		}
		if !cert.IsCA {
			return nil, exit.Usagef("%s has the certificate of %s, which is no authority", file,
				cert.Subject)
		}
		authorities = append(authorities, cert)
	}
	if len(authorities) == 0 {
		return nil, exit.Usagef("%s has no certificate", file)
	}
	return authorities, nil
}

// trust adds authorities to the named stores, or removes them. Without names it changes every
// store that can be changed, of which there must be at least one.
func trust(env *ctl.Env, authorities []*x509.Certificate, names []string, undo bool) error {
	for _, name := range names {
		if !slices.ContainsFunc(trustStores, func(s trustStore) bool { return s.name == name }) {
			return exit.Usagef("--stores knows no %q: there are browsers and system", name)
		}
	}
	var failed []error
	changed := 0
	for _, store := range trustStores {
		if len(names) > 0 && !slices.Contains(names, store.name) {
			continue
		}
		if err := store.change(authorities, undo); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", store.name, err))
			continue
		}
		changed++
		if err := reportTrust(env, store, authorities, undo); err != nil {
			return err
		}
	}
	if len(names) > 0 || changed == 0 {
		return errors.Join(failed...)
	}
	for _, err := range failed {
		env.Warn(err.Error())
	}
	return nil
}

// change adds authorities to the store, or removes them.
func (s trustStore) change(authorities []*x509.Certificate, undo bool) error {
	options, err := s.options()
	if err != nil {
		return err
	}
	change := truststore.Install
	if undo {
		change = truststore.Uninstall
	}
	for _, authority := range authorities {
		if err := change(authority, options...); err != nil {
			return err
		}
	}
	return nil
}

func reportTrust(env *ctl.Env, store trustStore, authorities []*x509.Certificate, undo bool) error {
	done := "trusted"
	if undo {
		done = "no longer trusted"
	}
	for _, authority := range authorities {
		var err error
		if env.IsJSON() {
			err = env.WriteJSON(map[string]any{
				"store": store.name, "authority": authority.Subject.CommonName, "trusted": !undo,
			})
		} else {
			_, err = fmt.Fprintf(env.Stdout, "%s: %s by %s\n", authority.Subject.CommonName, done,
				store.what)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
