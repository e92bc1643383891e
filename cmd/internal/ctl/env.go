// Package ctl is shared by the commands of atmctl: their streams, the flags of the program,
// calls of the server, and the forms of output. The commands are in the packages below it, one
// for each subject.
package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/remote"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/signin"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

// Env is the environment of a command. Prepare fills it from the flags.
type Env struct {
	Stdout, Stderr io.Writer // everything printed to them is made printable

	Server  string // URL
	Sign    signin.Flags
	Way     *signin.Way // the way that Sign describes
	Output  string      // one of the forms of package output
	Timeout time.Duration
	Archive string // where the earlier part of a log is that a command reads
	Quiet   bool
	NoPager bool

	exact io.Writer // Stdout without changes, for output that must be exact
}

// New returns an Env that prints to these streams.
func New(stdout, stderr io.Writer) *Env {
	return &Env{
		Stdout: printable.NewWriter(stdout), Stderr: printable.NewWriter(stderr), exact: stdout,
	}
}

// AddFlags adds the flags that every command has.
func (env *Env) AddFlags(root *cobra.Command) {
	flags := root.PersistentFlags()
	settings.AddConfig(flags)
	flags.StringVar(&env.Server, "server", "https://localhost:9000", "`URL` of the server")
	env.Sign.Add(flags)
	flags.StringVarP(&env.Output, "output", "o", output.FormTable, "`form` of what is printed: "+
		"table, json or jsonl")
	flags.DurationVar(&env.Timeout, "timeout", 30*time.Second, "how long to wait for the server")
	flags.BoolVarP(&env.Quiet, "quiet", "q", false, "print no warnings")
	flags.BoolVar(&env.NoPager, "no-pager", false, "do not show long tables through ATM_PAGER, "+
		"PAGER or less")
}

// Prepare reads the settings of cmd, once its command line has been parsed.
func (env *Env) Prepare(cmd *cobra.Command) error {
	if err := settings.Apply(cmd); err != nil {
		return err
	}
	if err := output.CheckForm(env.Output, output.FormTable); err != nil {
		return err
	}
	var err error
	if env.Way, err = env.Sign.Way(); err != nil {
		return err
	}
	if env.Way.Server != "" && !cmd.Flags().Changed("server") {
		env.Server = env.Way.Server
	}
	return nil
}

// DefaultCredentials is the folder in which init puts the operator's credentials.
const DefaultCredentials = "./atm-data/clients/operator"

// Connect returns a client of the server. It signs in with the credentials that were named, or
// with those in DefaultCredentials.
func (env *Env) Connect() (*client.Client, error) { return env.ConnectTo(env.Server) }

// ConnectTo is Connect for another server.
func (env *Env) ConnectTo(server string) (*client.Client, error) {
	return env.ConnectAs(server, DefaultCredentials)
}

// ConnectAs is ConnectTo with the credentials in folder, unless others were named.
func (env *Env) ConnectAs(server, folder string) (*client.Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, exit.Usagef("--server %q is not an https URL", server)
	}
	cfg, err := env.Way.Config(u.Hostname(), folder)
	if err != nil {
		return nil, err
	}
	cfg.Server, cfg.Timeout = server, env.Timeout
	return client.New(cfg)
}

// Call calls a method and returns its result, or the refusal as an error.
func (env *Env) Call(ctx context.Context, method string, args ...any) (any, error) {
	c, err := env.Connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, env.Timeout)
	defer cancel()
	answer, err := c.Call(ctx, method, args...)
	if err != nil {
		return nil, err
	}
	return answer.Result, exit.FromAnswer(answer)
}

// CallOnce is Call for a method whose effect must not be had twice: all its tries have one
// request id.
func (env *Env) CallOnce(ctx context.Context, method string, args ...any) (any, error) {
	c, err := env.Connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, env.Timeout)
	defer cancel()
	id := atm.RequestID(atm.NewUUID(time.Now()))
	answer, err := client.Once(ctx, c, method, id, args...)
	if err != nil {
		return nil, err
	}
	return answer.Result, exit.FromAnswer(answer)
}

// IsJSON reports whether results are for programs.
func (env *Env) IsJSON() bool { return output.IsJSON(env.Output) }

// WriteJSON prints a result for programs.
func (env *Env) WriteJSON(result any) error { return json.NewEncoder(env.Stdout).Encode(result) }

// Verbatim is the writer for output that other programs read byte for byte: an entry, whose
// hash is that of its bytes, or a proof. If it is a terminal, text is made printable all the
// same.
func (env *Env) Verbatim() io.Writer {
	if exit.Terminal(env.exact) != nil {
		return env.Stdout
	}
	return env.exact
}

// Terminal is the terminal that results are printed to; nil for another place.
func (env *Env) Terminal() *os.File { return exit.Terminal(env.exact) }

// Warn prints a warning, unless warnings are turned off.
func (env *Env) Warn(text string) {
	if !env.Quiet {
		printable.Linef(env.Stderr, "atmctl: warning: %s", text)
	}
}

// SaveToken writes the token in an answer to a new file, and prints its id.
func (env *Env) SaveToken(ctx context.Context, result any, file string) error {
	record, _ := result.(map[string]any)
	token, ok := record["token"].(string)
	if !ok {
		return errors.New("the server's answer has no token")
	}
	if err := output.WriteNew(ctx, file, []byte(token+"\n"), 0o600); err != nil {
		return err
	}
	return env.PrintOne([]string{"jti", "expires", "file"},
		map[string]any{"jti": record["jti"], "expires": record["expires"], "file": file})
}

// Progress shows the progress of a long task on a terminal.
func (env *Env) Progress(what string) func(done, total int64) {
	if env.Quiet || env.IsJSON() {
		return func(int64, int64) {}
	}
	return output.NewProgress(env.Stderr, what)
}

// Group makes parent a command that does nothing without one of the commands
// below it.
func Group(parent *cobra.Command, below ...*cobra.Command) *cobra.Command {
	parent.Args = exit.Args(cobra.ArbitraryArgs)
	parent.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return exit.NoCommand(cmd, args[0])
		}
		return exit.Usagef("a command is missing; see %s --help", cmd.CommandPath())
	}
	parent.AddCommand(below...)
	return parent
}

// Explain adds exit codes to errors of a client.
func Explain(err error) error {
	var refusal *remote.RefusedError
	var transport *url.Error
	switch {
	case errors.As(err, &refusal):
		return &exit.Error{Code: exit.NotAuthenticated, Err: err}
	case errors.As(err, &transport):
		return &exit.Error{Code: exit.NoConnection, Err: err}
	case errors.Is(err, datadir.ErrUsage):
		return &exit.Error{Code: exit.Usage, Err: err}
	case errors.Is(err, audit.ErrUnreachable):
		return &exit.Error{Code: audit.CannotVerify, Err: err}
	case errors.Is(err, audit.ErrDiffers):
		return &exit.Error{Code: audit.ContentDiffers, Err: err}
	}
	return exit.FromClient(err)
}

// Silent ends the program with a code, and without a message.
func Silent(code int) error {
	if code == exit.Done {
		return nil
	}
	return exit.Silent(code)
}

// maxNamed bounds a file that a flag or an argument names, in bytes.
const maxNamed = 64 << 10

// ReadNamed reads a small file that a flag or an argument names.
func ReadNamed(path string) ([]byte, error) { return ReadLarge(path, maxNamed) }

// ReadLarge is ReadNamed for a file of at most so many bytes.
func ReadLarge(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return data, err
}
