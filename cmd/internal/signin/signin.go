// Package signin determines how the caller of a program signs in: by a certificate, a password
// or a token, named by flags or by a profile.
package signin

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/ask"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
	"github.com/spf13/pflag"
)

// Flags are the flags that say how to sign in.
type Flags struct {
	Files   client.Files
	Profile string // a name; empty for none

	profiles           string
	user, passwordFile string
	tokenFile          string
	sign               bool
}

// Add adds the flags for a certificate and for a profile.
func (f *Flags) Add(flags *pflag.FlagSet) {
	flags.StringVar(&f.Files.CA, "ca", "",
		"`file` with the authority of the server's certificate")
	flags.StringVar(&f.Files.Cert, "cert", "", "`file` with your certificate")
	flags.StringVar(&f.Files.Key, "key", "", "`file` with its key")
	flags.BoolVar(&f.sign, "sign", false, "sign each request with the key of your certificate "+
		"(RFC 9421), for the server to keep")
	flags.StringVar(&f.Profile, "profile", "", "`name` of a profile to sign in with")
	flags.StringVar(&f.profiles, "profiles", "",
		"TOML `file` of profiles (default atm/profiles.toml in your configuration folder)")
}

// AddSecrets adds the flags for a password and for a token.
func (f *Flags) AddSecrets(flags *pflag.FlagSet) {
	flags.StringVar(&f.tokenFile, "token-file", "", "`file` with a token to sign in with; - for "+
		"standard input")
	flags.StringVar(&f.user, "user", "", "`name` to sign in with by HTTP Digest")
	flags.StringVar(&f.passwordFile, "password-file", "",
		"`file` with the password; - for standard input (default: ask on the terminal)")
}

// Way returns the way in the flags, or in the profile that they name.
func (f *Flags) Way() (*Way, error) {
	w, err := f.way()
	if err == nil {
		w.sign = f.sign
	}
	return w, err
}

func (f *Flags) way() (*Way, error) {
	if f.Profile != "" {
		if f.user != "" || f.Files != (client.Files{}) || f.passwordFile != "" ||
			f.tokenFile != "" {
			return nil, exit.Usagef("--profile goes without --ca, --cert, --key, --user, " +
				"--password-file and --token-file")
		}
		return readProfile(f.profiles, f.Profile)
	}
	w := &Way{files: f.Files, user: f.user}
	if f.passwordFile != "" {
		w.password = password(f.passwordFile, f.user)
	}
	if f.tokenFile != "" {
		w.token = settings.Secret(f.tokenFile, "Token", "")
	}
	w.asks = f.passwordFile == "-" || f.tokenFile == "-"
	return w, w.check()
}

// Names returns the names of the profiles, sorted.
func (f *Flags) Names() []string {
	_, file, err := readProfiles(f.profiles)
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(file))
}

// A Way is a way to sign in: by the certificate in its files, by a password, or by a token. In
// each case the files name the authority of the server's certificate.
type Way struct {
	// Server is the URL of the server that a profile names, or empty.
	Server string

	files    client.Files
	user     string
	password func() ([]byte, error)
	token    func() ([]byte, error)
	login    *login // of a profile that signs in with a provider; nil for another
	asks     bool   // it asks for the secret, or runs a program that may ask
	sign     bool   // its requests are signed
}

// Asks reports whether a call may ask a person for a secret.
func (w *Way) Asks() bool { return w.asks }

// ByCertificate signs in by the certificate and the key in files.
func ByCertificate(files client.Files) *Way { return &Way{files: files} }

// password reads the password of a user from a file, or asks for it on a terminal when
// no file is named.
func password(file, user string) func() ([]byte, error) {
	return settings.Secret(file, "Password of "+user,
		"there is no terminal to ask for the password of "+user+
			": name a file with --password-file, or in the profile; - is standard input")
}

// check refuses ways to sign in that exclude each other. If there is a user and no password is
// named, it asks for the password.
func (w *Way) check() error {
	switch certificate := w.files.Cert != "" || w.files.Key != ""; {
	case w.user != "" && w.token != nil:
		return exit.Usagef("a user and a token exclude each other")
	case w.user != "" && certificate:
		return exit.Usagef("a user signs in with a password, and without --cert and --key")
	case w.user == "" && w.password != nil:
		return exit.Usagef("a password is a user's: --user is missing")
	}
	if w.user != "" && w.password == nil {
		w.password, w.asks = password("", w.user), true
	}
	return nil
}

// Config returns the configuration of a client for calls to host. If w names no files, and the
// server is on this machine, the files in folder are used.
func (w *Way) Config(host, folder string) (client.Config, error) {
	cfg, err := w.config(host, folder)
	cfg.Sign = w.sign
	return cfg, err
}

func (w *Way) config(host, folder string) (client.Config, error) {
	var cfg client.Config
	files := w.files
	withCertificate := w.user == "" && w.token == nil && w.login == nil
	if withCertificate || files.CA == "" {
		var err error
		if files, err = w.filesOrDefault(host, folder, withCertificate); err != nil {
			return cfg, err
		}
	}
	if w.login != nil {
		return w.login.config(host)
	}
	secret, to := w.password, &cfg.Password
	if w.token != nil {
		secret, to = w.token, &cfg.Token
	}
	if secret != nil {
		text, err := secret()
		if usage := (*exit.Error)(nil); errors.As(err, &usage) ||
			errors.Is(err, ask.ErrInterrupted) {
			return cfg, err
		}
		if err != nil {
			return cfg, &exit.Error{Code: exit.NotAuthenticated, Err: err}
		}
		cfg.User, *to = w.user, string(text)
	}
	var err error
	if withCertificate || files.Cert != "" || files.Key != "" { // a token may be bound to one
		cfg.TLS, err = files.TLS()
	} else {
		cfg.TLS, err = client.Trusting(files.CA)
	}
	if err != nil {
		return cfg, &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	return cfg, nil
}

// Certificate returns the files of the certificate that w signs in by, as Config does. ok is
// false when there is none.
func (w *Way) Certificate(host, folder string) (files client.Files, ok bool) {
	if w.user != "" || w.token != nil || w.login != nil {
		return files, false
	}
	files, err := w.filesOrDefault(host, folder, true)
	return files, err == nil
}

// Authority returns the file with the authority of the server's certificate, as Config finds it.
func (w *Way) Authority(host, folder string) (file string, err error) {
	if w.files.CA != "" {
		return w.files.CA, nil
	}
	files, err := w.filesOrDefault(host, folder, false)
	return files.CA, err
}

// filesOrDefault returns the files of w, or those in folder if w names none.
func (w *Way) filesOrDefault(host, folder string, withCertificate bool) (client.Files, error) {
	named := w.files
	if !withCertificate {
		named = client.Files{}
	}
	files, err := named.OrDefault(host, filepath.FromSlash(folder))
	if err != nil || withCertificate {
		return files, err
	}
	with := w.files
	with.CA = files.CA
	return with, nil
}
