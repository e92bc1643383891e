package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
	"github.com/BurntSushi/toml"
)

// A profile is a named way to sign in. Names of files are relative to the
// folder of the file of profiles.
type profile struct {
	CA           string `toml:"ca"`
	Cert         string `toml:"cert"`
	Key          string `toml:"key"`
	User         string `toml:"user"`
	PasswordFile string `toml:"password_file"`
	TokenFile    string `toml:"token_file"`

	// CredentialCommand is a program and its arguments. The first line that it
	// prints is the password of the user, or a token when there is no user.
	CredentialCommand []string `toml:"credential_command"`
}

// maxProfiles bounds a file of profiles, in bytes.
const maxProfiles = 64 << 10

// readProfile reads one profile from the file at path, or from the one in the
// user's folder of settings when path is empty:
//
//	[work]
//	ca = "ca.crt"
//	user = "alice"
//	credential_command = ["pass", "show", "atm/alice"]
func readProfile(path, name string) (signIn, error) {
	if path == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return signIn{}, exit.Usagef("name a file with --profiles: %w", err)
		}
		path = filepath.Join(dir, "atm", "profiles.toml")
	}
	text, err := readOwn(path)
	if err != nil {
		return signIn{}, exit.Usagef("profiles: %w", err)
	}
	var file map[string]profile
	meta, err := toml.Decode(string(text), &file)
	if err != nil {
		return signIn{}, exit.Usagef("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return signIn{}, exit.Usagef("%s: unknown key %s", path, unknown[0])
	}
	p, known := file[name]
	if !known {
		return signIn{}, exit.Usagef("%s has no profile %q", path, name)
	}
	s, err := p.signIn(filepath.Dir(path))
	if err != nil {
		return signIn{}, exit.Usagef("%s: profile %s: %w", path, name, err)
	}
	return s, nil
}

// readOwn reads a file that can name a program to run: nobody but the caller
// and root may have written it.
func readOwn(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is refused, not waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return nil, fmt.Errorf("%s is not a regular file", path)
	case !ok || owner.Uid != 0 && int(owner.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s is somebody else's", path)
	case mode.Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s may be written by others (mode %04o); chmod go-w it", path, mode.Perm())
	case info.Size() > maxProfiles:
		return nil, fmt.Errorf("%s has more than %d bytes", path, maxProfiles)
	}
	return io.ReadAll(io.LimitReader(f, maxProfiles))
}

// signIn is p with its files in dir.
func (p *profile) signIn(dir string) (signIn, error) {
	within := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	s := signIn{user: p.User}
	s.files.CA, s.files.Cert, s.files.Key = within(p.CA), within(p.Cert), within(p.Key)
	if p.PasswordFile != "" {
		s.password = password(within(p.PasswordFile), p.User)
	}
	if p.TokenFile != "" {
		s.token = settings.Secret(within(p.TokenFile), "Token", "")
	}
	if len(p.CredentialCommand) > 0 {
		if s.password != nil || s.token != nil {
			return s, errors.New("credential_command goes without password_file and token_file")
		}
		printed := func() ([]byte, error) { return firstLine(p.CredentialCommand) }
		if p.User != "" {
			s.password = printed
		} else {
			s.token = printed
		}
	}
	err := s.check()
	return s, err
}

const (
	// credentialTimeout bounds a credential command, which may ask somebody.
	credentialTimeout = time.Minute

	// maxCredential is the most that is read of what it prints, in bytes.
	maxCredential = 64 << 10
)

// firstLine runs a program, without a shell, and returns the first line that
// it prints.
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
		return nil, fmt.Errorf("credential_command %s: it printed more than %d bytes", argv[0], maxCredential)
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

// capped keeps what is written to it, up to maxCredential bytes.
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
