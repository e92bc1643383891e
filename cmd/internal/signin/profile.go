package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/owner"
	"github.com/BurntSushi/toml"
)

// A profile is a named way to sign in. Names of files are relative to the folder of the
// profiles.
type profile struct {
	// Server is the URL of the server that the profile is for. Optional.
	Server string `toml:"server"`

	CA           string `toml:"ca"`
	Cert         string `toml:"cert"`
	Key          string `toml:"key"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	TokenFile    string `toml:"token_file"`

	// CredentialCommand is a program and its arguments. The first line that it prints is the
	// password of the user, or a token if there is no user.
	CredentialCommand []string `toml:"credential_command"`

	// Login is set for a profile that signs in with an OpenID provider of the server. LoginCA is a
	// file with the authorities of the provider; empty for those of the system.
	Login   bool   `toml:"login"`
	LoginCA string `toml:"login_ca"`
}

// maxProfiles bounds a file of profiles, in bytes.
const maxProfiles = 64 << 10

// readProfile reads one profile from the file at path, or from the file in the user's
// configuration folder if path is empty:
//
//	[work]
//	server = "https://atm.example:9000"
//	ca = "ca.crt"
//	user = "alice"
//	credential_command = ["pass", "show", "atm/alice"]
//
//	[company]
//	server = "https://atm.example:9000"
//	ca = "ca.crt"
//	login = true
func readProfile(path, name string) (*Way, error) {
	path, file, err := readProfiles(path)
	if err != nil {
		return nil, err
	}
	p, known := file[name]
	if !known {
		return nil, exit.Usagef("%s has no profile %q", path, name)
	}
	w, err := p.way(filepath.Dir(path))
	if err == nil && (p.Login || p.LoginCA != "") {
		err = p.logIn(w, filepath.Dir(path), name)
	}
	if err != nil {
		return nil, exit.Usagef("%s: profile %s: %w", path, name, err)
	}
	return w, nil
}

// readProfiles reads all profiles, and returns the folder of the file.
func readProfiles(path string) (string, map[string]profile, error) {
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", nil, exit.Usagef("name a file with --profiles: %w", err)
		}
		path = filepath.Join(dir, "atm", "profiles.toml")
	}
	text, err := readOwn(path)
	if err != nil {
		return path, nil, exit.Usagef("profiles: %w", err)
	}
	var file map[string]profile
	meta, err := toml.Decode(string(text), &file)
	if err != nil {
		return path, nil, exit.Usagef("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return path, nil, exit.Usagef("%s: unknown key %s", path, unknown[0])
	}
	return path, file, nil
}

// readOwn reads a file that can name a program to run, so only the caller or root may have been
// able to write it. Windows does not report owners, so there the check is left out.
func readOwn(path string) ([]byte, error) {
	return durable.ReadChecked(path, maxProfiles, func(info fs.FileInfo) error {
		switch {
		case owner.Known && !owner.IsCallerOrRoot(info):
			return fmt.Errorf("%s belongs to another user", path)
		case owner.OthersMayWrite(info):
			return fmt.Errorf("%s may be written by others (mode %04o); chmod go-w it", path,
				info.Mode().Perm())
		}
		return nil
	})
}

// inFolder is the file that a profile in dir names.
func inFolder(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// logIn has w sign in with a provider, as p says, by what is kept in dir.
func (p *profile) logIn(w *Way, dir, name string) error {
	switch {
	case !p.Login:
		return errors.New("login_ca goes with login = true")
	case p.Server == "" || p.CA == "":
		return errors.New("login needs server and ca")
	case p.Cert != "" || p.Key != "" || w.user != "" || w.token != nil:
		return errors.New("login goes without cert, key, user, token_file and credential_command")
	case !loginName.MatchString(name):
		return errors.New("a profile with login has a name of letters, digits and . _ -")
	}
	w.login = &login{
		profile: name, server: p.Server, ca: w.files.CA, file: filepath.Join(dir, name+".login"),
		authority: inFolder(dir, p.LoginCA), now: time.Now,
	}
	return nil
}

// way returns how p signs in, with its files in dir.
func (p *profile) way(dir string) (*Way, error) {
	within := func(path string) string { return inFolder(dir, path) }
	w := &Way{Server: p.Server, user: p.User}
	if u, err := url.Parse(p.Server); p.Server != "" && (err != nil || u.Scheme != "https" ||
		u.Host == "") {
		return nil, fmt.Errorf("server %q is not an https URL", p.Server)
	}
	w.files.CA, w.files.Cert, w.files.Key = within(p.CA), within(p.Cert), within(p.Key)
	if p.PasswordFile != "" {
		w.password = password(within(p.PasswordFile), p.User)
	}
	if p.TokenFile != "" {
		w.token = settings.Secret(within(p.TokenFile), "Token", "")
	}
	if len(p.CredentialCommand) > 0 {
		if w.password != nil || w.token != nil {
			return nil, errors.New("credential_command goes without password_file and token_file")
		}
		printed := sync.OnceValues(func() ([]byte, error) { return firstLine(p.CredentialCommand) })
		w.asks = true
		if p.User != "" {
			w.password = printed
		} else {
			w.token = printed
		}
	}
	return w, w.check()
}

const (
	// credentialTimeout bounds a credential command, which may ask a person.
	credentialTimeout = time.Minute

	// maxCredential bounds the output that is read, in bytes.
	maxCredential = 64 << 10
)

// firstLine runs a program, without a shell, and returns the first line of its output.
func firstLine(argv []string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), credentialTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	cmd.WaitDelay = time.Second
	var out capped
	cmd.Stdout = &out
	err := cmd.Run()
	if out.over {
		return nil, fmt.Errorf("credential_command %s: it printed more than %d bytes", argv[0],
			maxCredential)
	}
	if err != nil {
		return nil, fmt.Errorf("credential_command %s: %w", argv[0], err)
	}
	line, _, _ := bytes.Cut(out.text, []byte("\n"))
	if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
		return nil, fmt.Errorf("credential_command %s: it printed nothing", argv[0])
	}
	return line, nil
}

// capped is a buffer that keeps the first maxCredential bytes.
type capped struct {
	text []byte
	over bool
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if len(c.text)+len(p) > maxCredential {
		c.over = true
		return 0, io.ErrShortWrite
	}
	c.text = append(c.text, p...)
	return len(p), nil
}
