// Command atmctl is the operator's and the auditor's command line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"os"
	"time"

	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/signin"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
)

func main() {
	exit.Main(func(ctx context.Context, args []string) int {
		return run(ctx, args, os.Stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	p := &program{
		stdout: printable.NewWriter(stdout), stderr: printable.NewWriter(stderr), exact: stdout,
	}
	cmd := p.command()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := explain(cmd.ExecuteContext(ctx))
	return exit.Report(stderr, "atmctl", err, err != nil && output.IsJSON(settings.Form(cmd, args)))
}

// program is what all commands share.
type program struct {
	stdout, stderr io.Writer // what is printed is made printable
	exact          io.Writer // stdout, for what is kept byte for byte

	server  string
	sign    signin.Flags
	way     *signin.Way // that the flags say
	output  string
	timeout time.Duration
	quiet   bool
	noPager bool
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:               "atmctl",
		Short:             "Operates an ATM server and inspects its audit log",
		Version:           version.String(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return p.prepare(cmd) },
	}
	exit.OnFlags(root)
	flags := root.PersistentFlags()
	settings.AddConfig(flags)
	flags.StringVar(&p.server, "server", "https://localhost:9000", "`URL` of the server")
	p.sign.Add(flags)
	flags.StringVarP(&p.output, "output", "o", output.FormTable, "`form` of what is printed: "+
		"table, json or jsonl")
	flags.DurationVar(&p.timeout, "timeout", 30*time.Second, "how long to wait for the server")
	flags.BoolVarP(&p.quiet, "quiet", "q", false, "print no warnings")
	flags.BoolVar(&p.noPager, "no-pager", false, "print long tables straight, and not through "+
		"ATM_PAGER, PAGER or less")
	audit := p.auditCommand()
	group(root, append(p.vaultCommands(audit), p.accountCommand(), p.userCommand(),
		p.tokenCommand(), p.grantCommand(), p.certCommand(), p.enrollCommand(), p.caCommand(),
		audit, p.demoCommand(), p.statusCommand(), p.doctorCommand(), p.versionCommand())...)
	root.AddCommand(p.holdCommand())
	p.completeValues(root)
	confirmIrrevocable(root)
	return root
}

// group makes parent a command that does nothing without one of the commands
// below it.
func group(parent *cobra.Command, below ...*cobra.Command) *cobra.Command {
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

func (p *program) prepare(cmd *cobra.Command) error {
	if err := settings.Apply(cmd); err != nil {
		return err
	}
	if err := output.CheckForm(p.output, output.FormTable); err != nil {
		return err
	}
	var err error
	if p.way, err = p.sign.Way(); err != nil {
		return err
	}
	if p.way.Server != "" && !cmd.Flags().Changed("server") {
		p.server = p.way.Server
	}
	return nil
}

// defaultCredentials is where init puts the operator's.
const defaultCredentials = "./atm-data/clients/operator"

// connect returns a client with the credentials that were given, or those that
// init made.
func (p *program) connect() (*client.Client, error) { return p.connectTo(p.server) }

func (p *program) connectTo(server string) (*client.Client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, exit.Usagef("--server %q is no https URL", server)
	}
	cfg, err := p.way.Config(u.Hostname(), defaultCredentials)
	if err != nil {
		return nil, err
	}
	cfg.Server, cfg.Timeout = server, p.timeout
	return client.New(cfg)
}

// call calls a method and returns its result, or the refusal as an error.
func (p *program) call(ctx context.Context, method string, args ...any) (any, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	answer, err := c.Call(ctx, method, args...)
	if err != nil {
		return nil, err
	}
	return answer.Result, exit.FromAnswer(answer)
}

// isJSON reports whether results are for programs.
func (p *program) isJSON() bool { return output.IsJSON(p.output) }

// writeJSON prints a result for programs.
func (p *program) writeJSON(result any) error { return json.NewEncoder(p.stdout).Encode(result) }

// explain gives errors of a client their exit codes.
func explain(err error) error {
	var refusal *audit.RefusedError
	var transport *url.Error
	switch {
	case errors.As(err, &refusal):
		return &exit.Error{Code: exit.NotAuthenticated, Err: err}
	case errors.As(err, &transport):
		return &exit.Error{Code: exit.NoConnection, Err: err}
	case errors.Is(err, audit.ErrDiffers):
		return &exit.Error{Code: audit.ContentDiffers, Err: err}
	}
	return exit.FromClient(err)
}
