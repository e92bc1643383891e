// Command atmserver keeps bank accounts and answers XML-RPC over TLS.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"example.com/atm/audit/policy"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/internal/machine"
	"example.com/atm/internal/printable"
	"example.com/atm/server"
	"example.com/atm/teller/confirm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// serverMain runs atmserver as a process, and does not return.
func serverMain() {
	exit.Main(func(ctx context.Context, args []string) int {
		return run(ctx, args, os.Stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand(stderr)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if errors.Is(err, datadir.ErrUsage) {
		err = &exit.Error{Code: exit.Usage, Err: err}
	}
	return exit.Report(stderr, "atmserver", err, err != nil &&
		output.IsJSON(settings.Form(cmd, args)))
}

// options are the values of the flags.
type options struct {
	flags *pflag.FlagSet // all of them

	tlsMin                                         string
	proxyFrom, auditKeys                           []string
	identities, clientCA, issuers, tokenKey        string
	witnesses, mirrors                             string
	passphrase, vaultKey                           string
	data, listen, admin, name, logFormat, logLevel string
	metrics                                        string
	publicURL, console, confirm                    string
	consoleListen, consoleURL                      string
	output                                         string // form of an error
	store                                          settings.Store
	hosts                                          []string
	empty                                          bool
	grace, drainDelay, nonceTTL                    time.Duration
	reserve                                        uint64
	limits                                         server.Config // of one request
	allowNet                                       []string
	feed                                           daemon.Feed
	archive, keep                                  string
}

func newCommand(stderr io.Writer) *cobra.Command {
	var o options
	root := &cobra.Command{
		Use:   "atmserver [serve]",
		Short: "Keeps bank accounts and answers XML-RPC over TLS, with an audit trail",
		Long: `atmserver keeps bank accounts and answers XML-RPC over TLS, with an audit trail.

The first start makes everything it needs in the data folder, without a question
and without a password. SIGTERM or Ctrl-C answers what has begun and ends.`,
		Args:          noCommand,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := machine.Serves(runtime.GOOS); err != nil {
				return err
			}
			return errors.Join(settings.Apply(cmd), output.CheckForm(o.output, output.FormText))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve(cmd.Context(), &o, stderr)
		},
	}
	exit.OnFlags(root)
	o.flags = root.PersistentFlags()
	settings.AddConfig(o.flags)
	o.addFlags(o.flags)
	o.addTrustFlags(o.flags)
	o.addFeedFlags(o.flags)
	o.addRetentionFlags(o.flags)
	addLimits(o.flags, &o.limits)
	root.AddCommand(
		&cobra.Command{
			Use:   "serve",
			Short: "Serve (what atmserver does without a command)",
			Args:  exit.Args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return serve(cmd.Context(), &o, stderr)
			},
		},
		&cobra.Command{
			Use:   "init",
			Short: "Make the data folder and end",
			Args:  exit.Args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return initialise(cmd.Context(), &o, stderr)
			},
		},
		versionCommand(&o.output),
	)
	return root
}

// addFlags adds the flags for the addresses of the server and how it runs.
func (o *options) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.data, "data", "./atm-data", "data `folder`, made when missing")
	flags.StringVar(&o.listen, "listen", "localhost:9000", "`address` for HTTPS")
	flags.StringVar(&o.admin, "admin-listen", "localhost:9001", "loopback `address` for health, "+
		"metrics and profiles over plain HTTP; empty for none")
	flags.StringVar(&o.metrics, "metrics-listen", "", "`address` for the metrics alone over "+
		"plain HTTP, for a Prometheus on another machine: anybody on that network may read them")
	flags.StringArrayVar(&o.hosts, "host", nil, "`name` or address in the server certificate; "+
		"repeatable (default localhost, 127.0.0.1, ::1 and this machine's name)")
	flags.StringVar(&o.name, "name", "", "`name` of the server, fixed at init (default atm-<8 "+
		"hex digits>.local)")
	o.store.AddFlags(flags)
	flags.BoolVar(&o.empty, "empty", false, "at init: no account 100 and no demo credentials")
	flags.StringVar(&o.logFormat, "log-format", "", "text or json (default text on a terminal, "+
		"else json)")
	flags.StringVarP(&o.output, "output", "o", output.FormText, "`form` of what is printed, and "+
		"of an error that ends the program: text, json or jsonl")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, with a line for each operation, "+
		"info, warn or error")
	flags.DurationVar(&o.grace, "shutdown-grace", 15*time.Second, "how long a stop waits for "+
		"what has begun")
	flags.DurationVar(&o.drainDelay, "drain-delay", 0, "how long a stop goes on as ever while "+
		"/readyz says no, so that a load balancer looks elsewhere")
	flags.DurationVar(&o.nonceTTL, "nonce-ttl", 5*time.Minute, "how long a nonce of HTTP Digest "+
		"can be used")
	flags.StringVar(&o.publicURL, "public-url", "", "`URL` that callers reach the server at, "+
		"such as behind a load balancer, for the description of its tokens (default https, the "+
		"first --host and the port of --listen)")
	flags.StringVar(&o.console, "console", "", "on or off: whether people may use the server in "+
		"a browser, at /console/ (default on where --listen is loopback)")
	flags.Lookup("console").NoOptDefVal = "on"
	flags.StringVar(&o.consoleListen, "console-listen", "", "`address` for HTTPS of the console "+
		"alone, which is then not at that of --listen")
	flags.StringVar(&o.consoleURL, "console-url", "", "`URL` that browsers reach the console of "+
		"--console-listen at (default https, the first --host and its port)")
	flags.StringVar(&o.confirm, "confirm", confirm.Default.String(), "`operations` that somebody "+
		"who signed in to the console confirms with a passkey, each with the dollars above which "+
		"they do, such as transfer=0.00,withdraw=500.00; none for none. With transfers they "+
		"confirm reversals, mandates, standing orders and grants, too")
	flags.Uint64Var(&o.reserve, "disk-reserve", 64<<20, "free `bytes` below which every "+
		"operation is UNAVAILABLE")
}

// addTrustFlags adds the flags for keys, and for authorities and issuers that the server
// trusts.
func (o *options) addTrustFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.tlsMin, "tls-min", "1.3", "oldest `version` of TLS: 1.3, or 1.2 with AEAD "+
		"ciphers alone")
	flags.StringArrayVar(&o.proxyFrom, "proxy-from", nil, "`network` or address of load "+
		"balancers that speak the PROXY protocol; repeatable")
	flags.StringVar(&o.identities, "identities", "", "`file` that maps certificates of others to "+
		"subjects; see docs/security.md")
	flags.StringVar(&o.tokenKey, "token-key", "", "PKCS #11 `URI` of the key of tokens, in place "+
		"of keys/token.key; see docs/security.md")
	flags.StringArrayVar(&o.auditKeys, "audit-key", nil, "PKCS #11 `URI` of the Ed25519 key of "+
		"the audit log; a second one is that of the key before, until the next rotation; see "+
		"docs/audit.md")
	flags.StringVar(&o.issuers, "issuers", "", "`file` of others, such as OpenID providers, "+
		"whose tokens are good, and whose people sign in to the console; see docs/security.md")
	flags.StringVar(&o.clientCA, "client-ca", "", "`file` with authorities of others, whose "+
		"certificates need an identity")
	flags.StringVar(&o.witnesses, "witness-policy", "", "`file` with the witnesses (C2SP "+
		"tlog-policy) that are asked each minute to cosign the audit log")
	flags.StringVar(&o.mirrors, "mirrors", "", "`file` with mirrors of the audit log, as "+
		"witnesses of a tlog-policy with the URLs they are read at, looked at each minute")
	flags.StringVar(&o.passphrase, "vault-passphrase-file", "", "`file` with the passphrase of "+
		"keys/vault.key, when it is sealed with one; - for standard input")
	flags.StringVar(&o.vaultKey, "vault-key-file", "", "`file` that a new data folder has its "+
		"keys/vault.key from, such as a mounted secret that all replicas share")
}

func versionCommand(form *string) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this program",
		Args:  exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return version.Print(cmd.OutOrStdout(), "atmserver", output.IsJSON(*form))
		},
	}
}

// noCommand refuses arguments: there are no commands.
func noCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return exit.NoCommand(cmd, args[0])
	}
	return nil
}

// A nonce with a shorter life would be stale when the client uses it. The counts of a nonce
// with a longer life would have to be remembered for as long.
const (
	minNonceTTL = time.Second
	maxNonceTTL = time.Hour
)

// maxDrainDelay bounds how long a stopping server goes on serving, and maxGrace how long it
// waits for requests in progress.
const (
	maxDrainDelay = 5 * time.Minute
	maxGrace      = time.Hour
)

// hostName matches host names in certificates, and wildcards, which begin with "*.".
var hostName = regexp.MustCompile(`^(\*\.)?\w[\w-]{0,62}(\.\w[\w-]{0,62})*\.?$`)

// daemonOptions checks the flags.
func (o *options) daemonOptions(stderr io.Writer) (daemon.Options, error) {
	store, err := storage.FromFlags(&o.store)
	if err != nil {
		return daemon.Options{}, err
	}
	log, err := newLog(o.logFormat, o.logLevel, stderr)
	if err != nil {
		return daemon.Options{}, err
	}
	if o.tlsMin != "1.2" && o.tlsMin != "1.3" {
		return daemon.Options{}, exit.Usagef("--tls-min is 1.2 or 1.3, not %q", o.tlsMin)
	}
	if o.nonceTTL < minNonceTTL || o.nonceTTL > maxNonceTTL {
		return daemon.Options{}, exit.Usagef("--nonce-ttl is %v to %v, not %v", minNonceTTL,
			maxNonceTTL, o.nonceTTL)
	}
	if o.drainDelay < 0 || o.drainDelay > maxDrainDelay {
		return daemon.Options{}, exit.Usagef("--drain-delay is 0 to %v, not %v", maxDrainDelay,
			o.drainDelay)
	}
	if o.grace < 0 || o.grace > maxGrace {
		return daemon.Options{}, exit.Usagef("--shutdown-grace is 0 to %v, not %v", maxGrace,
			o.grace)
	}
	if o.data == "" {
		return daemon.Options{}, exit.Usagef("--data is the name of a folder")
	}
	for _, host := range o.hosts {
		if !hostName.MatchString(host) && net.ParseIP(host) == nil {
			return daemon.Options{},
				exit.Usagef("--host %q is no name or address of a machine", host)
		}
	}
	if err := checkLimits(&o.limits); err != nil {
		return daemon.Options{}, err
	}
	cfg := o.limits
	cfg.DrainDelay = o.drainDelay
	cfg.ProxyFrom = make([]netip.Prefix, len(o.proxyFrom))
	for i, text := range o.proxyFrom {
		if cfg.ProxyFrom[i], err = network("proxy-from", text); err != nil {
			return daemon.Options{}, err
		}
	}
	events, err := o.feedOptions()
	if err != nil {
		return daemon.Options{}, err
	}
	kept, err := o.retention()
	if err != nil {
		return daemon.Options{}, err
	}
	if o.console != "" && o.console != "on" && o.console != "off" {
		return daemon.Options{}, exit.Usagef("--console is on or off, not %q", o.console)
	}
	confirmed, err := confirm.Parse(o.confirm)
	if err != nil {
		return daemon.Options{}, exit.Usagef("--confirm: %v", err)
	}
	if err := o.checkURLs(); err != nil {
		return daemon.Options{}, err
	}
	witnesses, err := readPolicy("witness-policy", o.witnesses)
	if err != nil {
		return daemon.Options{}, err
	}
	mirrors, err := readPolicy("mirrors", o.mirrors)
	if err != nil {
		return daemon.Options{}, err
	}
	return daemon.Options{
		TLS12: o.tlsMin == "1.2", Server: cfg,
		Settings: o.effective(), WitnessFile: o.witnesses, Confirm: confirmed,
		Witnesses: witnesses, Identities: o.identities, Issuers: o.issuers, TokenKey: o.tokenKey,
		AuditKeys: o.auditKeys, Mirrors: mirrors, MirrorFile: o.mirrors,
		ClientCA: o.clientCA, Feed: events, Retention: kept,
		VaultKey: o.vaultKey,
		Data:     o.data, Store: store, Passphrase: settings.Passphrase(o.passphrase,
			"Passphrase of keys/vault.key"), Name: o.name, Hosts: o.hosts, Empty: o.empty,
		NonceTTL: o.nonceTTL, DiskReserve: o.reserve, Grace: max(o.grace, time.Nanosecond),
		Version: version.String(), Log: log,
	}, nil
}

// effective lists the settings in force, one a line in the order of their names. None of them
// is a secret.
func (o *options) effective() string {
	var text strings.Builder
	o.flags.VisitAll(func(f *pflag.Flag) { // in order
		fmt.Fprintf(&text, "%s=%q\n", f.Name, f.Value.String())
	})
	return text.String()
}

// readPolicy reads a policy that a flag names. It returns nil without a file.
func readPolicy(flag, path string) (*policy.Policy, error) {
	if path == "" {
		return nil, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	policy, err := policy.Parse(text)
	if err != nil {
		return nil, exit.Usagef("--%s %s: %w", flag, path, err)
	}
	return policy, nil
}

// readable formats a duration with its unit.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func newLog(format, level string, w io.Writer) (*slog.Logger, error) {
	opts := slog.HandlerOptions{ReplaceAttr: readable}
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, exit.Usagef("--log-level is debug, info, warn or error, not %q", level)
	}
	opts.Level = least
	if format == "" {
		format = "json"
		if exit.Terminal(w) != nil {
			format = "text"
		}
	}
	w = printable.NewWriter(w) // strangers' text cannot add lines
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, &opts)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, &opts)), nil
	}
	return nil, exit.Usagef("--log-format is text or json, not %q", format)
}

func serve(ctx context.Context, o *options, stderr io.Writer) error {
	opts, err := o.daemonOptions(stderr)
	if err != nil {
		return err
	}
	// Open the listeners first, so that a start that cannot have them changes nothing.
	listen, err := daemon.Addresses(o.listen, o.admin)
	if err != nil {
		return err
	}
	if o.consoleListen != "" {
		if err := listen.OpenConsole(o.consoleListen); err != nil {
			listen.Close()
			return err
		}
		opts.ConsoleURL = o.callersURL(o.consoleURL, listen.Console.Addr())
	}
	if o.metrics != "" {
		if err := listen.OpenMetrics(o.metrics); err != nil {
			listen.Close()
			return err
		}
	}
	opts.Server.Console = o.console == "on" || o.console == "" && isLoopback(listen.RPC.Addr())
	opts.Server.PublicURL = o.callersURL(o.publicURL, listen.RPC.Addr())
	srv, err := daemon.Open(ctx, opts)
	if err != nil {
		listen.Close()
		return err
	}
	switch {
	case srv.Joined():
		fmt.Fprintf(stderr, "\n%s has one more replica, in %s.\n\n", srv.Name(), o.data)
	case srv.Fresh:
		banner(stderr, srv, o, listen.RPC.Addr())
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
	if os.Getenv("GOMAXPROCS") == "" {
		// One thread nearly always waits for the disk. With one more, it need not also wait for a
		// CPU slot when it returns.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
	return srv.Serve(ctx, listen)
}

// garbagePercent is the GC target. Little memory is in use and requests allocate much, so that
// with the default of 100 the collector would run many times a second.
const garbagePercent = 300

func initialise(ctx context.Context, o *options, stderr io.Writer) error {
	opts, err := o.daemonOptions(stderr)
	if err != nil {
		return err
	}
	srv, err := daemon.Open(ctx, opts)
	if err != nil {
		return err
	}
	switch {
	case srv.Joined():
		fmt.Fprintf(stderr, "one more replica of %s is ready in %s\n", srv.Name(), o.data)
	case srv.Fresh:
		fmt.Fprintf(stderr, "%s is ready in %s\nCA SHA-256 fingerprint: %s\n", srv.Name(), o.data,
			srv.Fingerprint())
	default:
		fmt.Fprintf(stderr, "%s was ready in %s already\n", srv.Name(), o.data)
	}
	return srv.Close()
}

// banner tells a first-time user what to do next.
func banner(w io.Writer, srv *daemon.Server, o *options, address net.Addr) {
	host := o.callersHost()
	_, port, _ := net.SplitHostPort(address.String())
	fmt.Fprintf(w, "\n%s is new, in %s.\nCA SHA-256 fingerprint: %s\n", srv.Name(), o.data,
		srv.Fingerprint())
	if o.empty {
		fmt.Fprint(w, "It is empty. Open an account with: atmctl account open NUMBER --owner "+
			"user:NAME\n\n")
		return
	}
	credentials := ""
	if filepath.Clean(o.data) != "atm-data" {
		files := client.InFolder(filepath.Join(o.data, "clients", "demo"))
		credentials = fmt.Sprintf(" --ca %s --cert %s --key %s", files.CA, files.Cert, files.Key)
	}
	fmt.Fprintf(w, "Account 100 holds $1000.00. In a second terminal:\n\n    go run "+
		"./cmd/atmclient%s %s %s inquiry 100\n\n",
		credentials, host, port)
}
