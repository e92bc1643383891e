// Command atmclient is the customer's and the teller's command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/signin"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/cmd/internal/when"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	exit.Main(func(ctx context.Context, args []string) int {
		return run(ctx, args, os.Stdout, os.Stderr)
	})
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := &options{stdout: printable.NewWriter(stdout), stderr: printable.NewWriter(stderr)}
	cmd := o.command()
	args = protectNumbers(cmd.Flags(), args)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if len(args) == 2 && args[0] == "completion" { // cobra has it for programs with commands alone
		return exit.Report(stderr, "atmclient", completion(cmd, args[1], stdout), false)
	}
	err := exit.FromClient(cmd.ExecuteContext(ctx))
	return exit.Report(stderr, "atmclient", err, err != nil &&
		output.IsJSON(settings.Form(cmd, args)))
}

// completion writes a script that completes the command line in a shell.
func completion(cmd *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return cmd.GenBashCompletionV2(w, true)
	case "zsh":
		return cmd.GenZshCompletion(w)
	case "fish":
		return cmd.GenFishCompletion(w, true)
	}
	return exit.Usagef("there is completion for bash, zsh and fish, not for %q%s", shell,
		exit.DidYouMean(shell, "bash", "zsh", "fish"))
}

// complete proposes the operations, where one is due.
func (o *options) complete(cmd *cobra.Command, args []string, _ string) ([]string,
	cobra.ShellCompDirective,
) {
	if err := settings.Apply(cmd); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if way, err := o.sign.Way(); len(args) == 2 || len(args) == 0 && err == nil &&
		way.Server != "" {
		return operationNames(), cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// defaultCredentials is where init puts the demo customer's.
const defaultCredentials = "./atm-data/clients/demo"

// options are the values of the flags, and where to print.
type options struct {
	stdout, stderr io.Writer

	sign      signin.Flags
	requestID string
	state     string // the file of a batch's request ids
	timeout   time.Duration
	receipt   string

	output         string
	quiet, noPager bool

	life             time.Duration // of a hold
	limit            int           // of a statement
	cursor, from, to string        // of a statement
}

func (o *options) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atmclient [flags] SERVER PORT OPERATION ACCOUNT [AMOUNT]",
		Short: "Asks an ATM server for a balance, deposits, withdraws, and what belongs to it",
		Example: `  atmclient localhost 9000 inquiry 100
  atmclient localhost 9000 deposit 100 1001
  atmclient localhost 9000 withdraw 100 392.50
  atmclient localhost 9000 transfer 100 200 12.50
  atmclient localhost 9000 statement 100 --limit 10
  atmclient localhost 9000 authorize 100 50 --life 1h
  atmclient localhost 9000 capture h4711 42.50
  atmclient localhost 9000 release h4711
  atmclient localhost 9000 whoami
  atmclient localhost 9000 shell
  atmclient version`,
		Long: `Asks an ATM server for a balance, deposits, withdraws, and what belongs to it.

"atmclient SERVER PORT batch FILE" carries out the operations of a file, one a line, in
the words of the command line; # begins a comment. Request ids are kept in FILE.ids
before the first is sent, so that the same batch again repeats nothing. It goes on after
a refusal (exit 3 at the end), and stops where an outcome is unknown (exit 6).

"atmclient SERVER PORT shell" asks for one operation after the other, with history and
completion; help says which. From a pipe it takes one a line.

With a profile that names a server, SERVER and PORT are left out. "atmclient completion
bash", zsh or fish writes a script that completes the command line.`,
		Version: version.String(),
		Args:    cobra.ArbitraryArgs,

		ValidArgsFunction: o.complete,
		SilenceErrors:     true,
		SilenceUsage:      true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := settings.Apply(cmd); err != nil {
				return err
			}
			if slices.Equal(args, []string{"version"}) {
				return o.version()
			}
			if cmd.Flags().Changed("life") && o.life < time.Second {
				return exit.Usagef("--life is at least 1s")
			}
			to, words, err := o.parse(args)
			if err != nil {
				return err
			}
			switch words[0] {
			case "batch":
				if len(words) != 2 {
					return exit.Usagef("batch needs one FILE")
				}
				return o.batch(cmd.Context(), to, words[1])
			case "shell":
				if len(words) != 1 {
					return exit.Usagef("shell takes no argument %q", words[1])
				}
				return o.shell(cmd.Context(), to)
			}
			r, err := o.request(words)
			if err != nil {
				return err
			}
			return o.carryOut(cmd.Context(), to, r)
		},
	}
	exit.OnFlags(cmd)
	cmd.CompletionOptions.DisableDefaultCmd = true
	flags := cmd.Flags()
	settings.AddConfig(flags)
	o.sign.Add(flags)
	o.sign.AddSecrets(flags)
	flags.StringVar(&o.requestID, "request-id", "", "`id` of a request whose outcome was "+
		"unknown, to ask again")
	flags.StringVar(&o.receipt, "receipt", "", "`file` for the proof that what was done is in "+
		"the audit log")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to try")
	flags.StringVar(&o.state, "state", "", "`file` in which a batch keeps its request ids; "+
		"FILE.ids when left out")
	o.addOperationFlags(flags)
	flags.StringVarP(&o.output, "output", "o", output.FormText, "`form` of what is printed: "+
		"text, json or jsonl")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print no result")
	flags.BoolVar(&o.noPager, "no-pager", false, "print a long statement straight, and not "+
		"through ATM_PAGER, PAGER or less")
	const noFile = cobra.ShellCompDirectiveNoFileComp
	forms := []string{output.FormText, output.FormJSON, output.FormJSONL}
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, noFile))
	profiles := func(cmd *cobra.Command, _ []string, _ string) ([]string,
		cobra.ShellCompDirective,
	) {
		if err := settings.Apply(cmd); err != nil {
			return nil, noFile
		}
		return o.sign.Names(), noFile
	}
	cmd.RegisterFlagCompletionFunc("profile", profiles)
	return cmd
}

// addOperationFlags adds the flags that belong to one operation.
func (o *options) addOperationFlags(flags *pflag.FlagSet) {
	flags.DurationVar(&o.life, "life", 0, "how long authorize holds the money; seven days when "+
		"left out")
	flags.IntVar(&o.limit, "limit", 50, "`entries` on a page of a statement, 1 to 500")
	flags.StringVar(&o.cursor, "cursor", "", "where the page of a statement begins, as the page "+
		"before it said")
	flags.StringVar(&o.from, "from", "", "begin of a statement, a `time`: "+when.Forms)
	flags.StringVar(&o.to, "to", "", "end of a statement, a `time`; a day counts to its end")
}

// version says which program this is.
func (o *options) version() error {
	if err := output.CheckForm(o.output, output.FormText); err != nil {
		return err
	}
	return version.Print(o.stdout, "atmclient", output.IsJSON(o.output))
}

func (o *options) carryOut(ctx context.Context, to *target, r *request) error {
	if o.receipt != "" {
		if err := output.Check(o.receipt); err != nil {
			return err // before money moves
		}
	}
	c, err := o.connect(to)
	if err != nil {
		return err
	}
	answer, err := o.within(ctx, c, r)
	var unknown *client.OutcomeUnknownError
	if errors.As(err, &unknown) {
		return o.unknown(r, err)
	}
	if err != nil {
		return err
	}
	if err := o.print(r, answer); err != nil || o.receipt == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.saveReceipt(ctx, c, answer)
}

// connect returns a client that has signed in, as far as that is done before a call.
func (o *options) connect(to *target) (*client.Client, error) {
	cfg, err := to.way.Config(to.host, defaultCredentials)
	if err != nil {
		return nil, err
	}
	cfg.Server, cfg.Timeout = to.url, o.timeout
	return client.New(cfg)
}

// saveReceipt fetches the proof of what was just done, and saves it when it proves
// that. The signature is for whoever has the public key of the log.
func (o *options) saveReceipt(ctx context.Context, c *client.Client, done *client.Answer) error {
	var index int64
	var leafHash string
	if _, err := fmt.Sscan(done.Receipt, &index, &leafHash); err != nil {
		return fmt.Errorf("the answer has no receipt: %w", err)
	}
	leaf, err := tlog.ParseHash(leafHash)
	if err != nil {
		return fmt.Errorf("the answer has no receipt: %w", err)
	}
	answer, err := c.Receipt(ctx, index)
	if err != nil {
		return err
	}
	if err := exit.FromAnswer(answer); err != nil {
		return err
	}
	proof, err := audit.ParseProof([]byte(answer.Text()))
	if err == nil {
		err = proof.Proves(index, leaf)
	}
	if err != nil {
		return &exit.Error{Code: audit.ContentDiffers, Err: fmt.Errorf("the receipt was not "+
			"saved: %w", err)}
	}
	if err := output.Write(ctx, o.receipt, []byte(answer.Text()), 0o644); err != nil {
		return err
	}
	if !o.quiet {
		printable.Linef(o.stderr, "Receipt saved. Check it with: atmctl audit check %s "+
			"--leaf-hash %s%s",
			o.receipt, leafHash, keyOption(o.receipt))
	}
	return nil
}

// keyOption is what "atmctl audit check" needs to be told about the log's key:
// nothing where it finds one by itself.
func keyOption(receipt string) string {
	for _, folder := range []string{filepath.Dir(receipt), "atm-data/audit"} {
		if _, err := os.Stat(filepath.Join(folder, "log.vkey")); err == nil {
			return ""
		}
	}
	return " --vkey FILE, with the public key of the log in FILE"
}

func (o *options) call(ctx context.Context, c *client.Client, r *request) (*client.Answer, error) {
	switch r.operation {
	case atm.Deposit:
		return c.Deposit(ctx, r.account, r.amount, r.id)
	case atm.Withdraw:
		return c.Withdraw(ctx, r.account, r.amount, r.id)
	case atm.Transfer:
		return c.Transfer(ctx, r.account, r.to, r.amount, r.id)
	case atm.Authorize:
		return c.Authorize(ctx, r.account, r.amount, o.life, r.id)
	case atm.Capture:
		return c.Capture(ctx, r.hold, r.amount, r.id)
	case atm.Release:
		return c.Release(ctx, r.hold, r.id)
	case atm.Statement:
		return c.Statement(ctx, r.account, r.page)
	case atm.Whoami:
		return c.Call(ctx, string(atm.Whoami))
	}
	return c.Inquiry(ctx, r.account)
}

// unknown tells how to find out.
func (o *options) unknown(r *request, err error) error {
	return &exit.Error{
		Code:    exit.OutcomeUnknown,
		Request: r.id,
		Err:     err,
		Advice: []string{fmt.Sprintf("Money may have moved. Repeat the command with --request-id "+
			"'%s': it happens once, however often you ask",
			strings.ReplaceAll(string(r.id), "'", `'\''`))},
	}
}
