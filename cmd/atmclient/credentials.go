package main

import (
	"errors"
	"path/filepath"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/ask"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
)

// defaultCredentials is where init puts the demo customer's.
const defaultCredentials = "./atm-data/clients/demo"

// A signIn is how the caller proves who it is: by the certificate in its files,
// by a password, or by a token. The files name what the server is trusted by in
// any case.
type signIn struct {
	files    client.Files
	user     string
	password func() ([]byte, error)
	token    func() ([]byte, error)
}

// signIn is what the flags say, or the profile that they name.
func (o *options) signIn() (signIn, error) {
	s := signIn{files: o.files, user: o.user}
	if o.profile != "" {
		if s.user != "" || s.files != (client.Files{}) || o.passwordFile != "" || o.tokenFile != "" {
			return s, exit.Usagef("--profile goes without --ca, --cert, --key, --user, --password-file and --token-file")
		}
		return readProfile(o.profiles, o.profile)
	}
	if o.passwordFile != "" {
		s.password = password(o.passwordFile, o.user)
	}
	if o.tokenFile != "" {
		s.token = settings.Secret(o.tokenFile, "Token", "")
	}
	err := s.check()
	return s, err
}

// password reads the password of a user from a file, or asks for it on a terminal when
// no file is named.
func password(file, user string) func() ([]byte, error) {
	return settings.Secret(file, "Password of "+user,
		"there is no terminal to ask for the password of "+user+
			": name a file with --password-file, or in the profile; - is standard input")
}

// check reports ways to sign in that exclude each other.
//
// A user for whom no password is named is asked for it.
func (s *signIn) check() error {
	switch certificate := s.files.Cert != "" || s.files.Key != ""; {
	case s.user != "" && s.token != nil:
		return exit.Usagef("a user and a token exclude each other")
	case s.user != "" && certificate:
		return exit.Usagef("a user signs in with a password, and without --cert and --key")
	case s.user == "" && s.password != nil:
		return exit.Usagef("a password is a user's: --user is missing")
	}
	if s.user != "" && s.password == nil {
		s.password = password("", s.user)
	}
	return nil
}

// config is s for the client, for calls to host.
func (s signIn) config(host string) (client.Config, error) {
	var cfg client.Config
	files := s.files
	withCertificate := s.user == "" && s.token == nil
	if withCertificate || files.CA == "" {
		var err error
		if files, err = s.filesOrDefault(host, withCertificate); err != nil {
			return cfg, err
		}
	}
	secret, to := s.password, &cfg.Password
	if s.token != nil {
		secret, to = s.token, &cfg.Token
	}
	if secret != nil {
		text, err := secret()
		if usage := (*exit.Error)(nil); errors.As(err, &usage) || errors.Is(err, ask.ErrInterrupted) {
			return cfg, err
		}
		if err != nil {
			return cfg, &exit.Error{Code: exit.NotAuthenticated, Err: err}
		}
		cfg.User, *to = s.user, string(text)
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

// filesOrDefault is the files of s, with those that init made where s names
// none.
func (s signIn) filesOrDefault(host string, withCertificate bool) (client.Files, error) {
	named := s.files
	if !withCertificate {
		named = client.Files{}
	}
	files, err := named.OrDefault(host, filepath.FromSlash(defaultCredentials))
	if err != nil || withCertificate {
		return files, err
	}
	s.files.CA = files.CA
	return s.files, nil
}
