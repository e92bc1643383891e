package auditlog

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/mirror"
	"example.com/atm/internal/durable"
	"github.com/spf13/pflag"
)

// A mirroring is how a monitor serves its copy.
type mirroring struct {
	listen, cert, key, readers string
	keyFile, name              string
}

func (m *mirroring) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&m.listen, "mirror-listen", "", "`host:port` at which the copy is "+
		"served as a mirror (C2SP tlog-mirror)")
	flags.StringVar(&m.keyFile, "mirror-key", "", "`file` with the keys that the mirror cosigns "+
		"with, made when missing; the public one stands beside it, in FILE.vkey")
	flags.StringVar(&m.name, "mirror-name", "", "`name` of the mirror in a key that is made, such as "+
		"mirror.example/atm")
	flags.StringVar(&m.cert, "mirror-cert", "", "`file` with the certificate of the mirror; none "+
		"for HTTP without TLS on this machine alone, behind a proxy")
	flags.StringVar(&m.key, "mirror-cert-key", "", "`file` with its key")
	flags.StringVar(&m.readers, "mirror-readers", "", "`file` with the authorities of those "+
		"who may read entries; the checkpoint is for everybody")
}

// check says what does not go together.
func (m *mirroring) check() error {
	switch {
	case m.listen == "" && (m.keyFile != "" || m.cert != "" || m.readers != ""):
		return exit.Usagef("--mirror-key, --mirror-cert and --mirror-readers go with " +
			"--mirror-listen")
	case m.listen == "":
		return nil
	case m.keyFile == "":
		return exit.Usagef("--mirror-key is missing: a mirror cosigns what it has")
	case (m.cert == "") != (m.key == "") || (m.cert == "") != (m.readers == ""):
		return exit.Usagef("--mirror-cert, --mirror-cert-key and --mirror-readers come " +
			"together")
	}
	host, _, err := net.SplitHostPort(m.listen)
	if err != nil {
		return exit.Usagef("--mirror-listen: %w", err)
	}
	ip, err := netip.ParseAddr(host)
	if m.cert == "" && host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return exit.Usagef("--mirror-listen %s: without --mirror-cert a mirror is reached from "+
			"this machine alone", m.listen)
	}
	return nil
}

// open returns the mirror of a copy, and what serves it until ctx is done; nil for none.
func (m *mirroring) open(ctx context.Context, env *ctl.Env, dir, origin string) (*mirror.Mirror,
	func() error, error,
) {
	if m.listen == "" {
		return nil, func() error { return nil }, nil
	}
	log := slog.New(slog.NewTextHandler(env.Stderr, nil))
	cosigner, err := m.cosigner(env)
	if err != nil {
		return nil, nil, err
	}
	cfg := mirror.Config{
		Dir: dir, File: dir + ".mirror", Origin: origin, Cosigner: cosigner, Log: log,
	}
	var secure *tls.Config
	if m.cert != "" {
		pair, err := certs.NewReloader(m.cert, m.key, log)
		if err != nil {
			return nil, nil, err
		}
		text, err := os.ReadFile(m.readers)
		if err != nil {
			return nil, nil, err
		}
		authorities, err := certs.ParseCertificates(text)
		if err != nil {
			return nil, nil, exit.Usagef("--mirror-readers %s: %w", m.readers, err)
		}
		cfg.Readers = certs.NewClientVerifier(authorities...)
		secure = certs.ServerConfig(pair, cfg.Readers, false)
	}
	made, err := mirror.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", m.listen)
	if err != nil {
		return nil, nil, err
	}
	if secure != nil {
		listener = tls.NewListener(listener, secure)
	}
	return made, func() error { return made.Serve(ctx, listener) }, nil
}

// cosigner reads the keys of the mirror, or makes one.
func (m *mirroring) cosigner(env *ctl.Env) (*checkpoint.Cosigner, error) {
	text, err := durable.ReadSecret(m.keyFile)
	switch {
	case err == nil:
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case m.name == "":
		return nil, exit.Usagef("--mirror-key %s does not exist: --mirror-name says whose key to "+
			"make", m.keyFile)
	default:
		skey, vkey, err := checkpoint.GenerateCosigner(m.name)
		if err != nil {
			return nil, exit.Usagef("--mirror-name: %w", err)
		}
		if err := errors.Join(
			durable.WriteFile(m.keyFile+".vkey", []byte(vkey+"\n"), 0o644),
			durable.CreateFile(m.keyFile, []byte(skey+"\n"), 0o600),
		); err != nil {
			return nil, err
		}
		env.Warn("made the key of the mirror " + m.name + "; others know it by " + m.keyFile +
			".vkey")
		text = []byte(skey)
	}
	cosigner, err := checkpoint.NewCosigner(string(text))
	if err != nil {
		return nil, exit.Usagef("--mirror-key %s: %w", m.keyFile, err)
	}
	return cosigner, nil
}
