// Command atmclient is the customer's and the teller's command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/browse"
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
	o := &options{printer: printer{
		stdout: printable.NewWriter(stdout), stderr: printable.NewWriter(stderr),
	}}
	cmd := o.command()
	args = protectNumbers(cmd.Flags(), args)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	if len(args) == 2 && args[0] == "completion" { // cobra has it only for programs that consist of commands
		return exit.Report(stderr, "atmclient", completion(cmd, args[1], stdout), false)
	}
	err := exit.FromClient(cmd.ExecuteContext(ctx))
	return exit.Report(stderr, "atmclient", err, err != nil &&
		output.IsJSON(settings.Form(cmd, args)))
}

// defaultCredentials is the folder in which init puts the demo customer's credentials.
const defaultCredentials = "./atm-data/clients/demo"

// options are the values of the flags, and where to print.
type options struct {
	printer
	operationFlags
	sign      signin.Flags
	timeout   time.Duration
	requestID string // of the operation on the command line
	receipt   string // file for the proof of that operation
	state     string // file of a batch's request ids
	save      saving
	login     signin.LoginFlags
}

const (
	short   = "Asks an ATM server for balances and statements, and moves money"
	example = `  atmclient localhost 9000 inquiry 100
  atmclient localhost 9000 deposit 100 1001
  atmclient localhost 9000 withdraw 100 392.50
  atmclient localhost 9000 transfer 100 200 12.50 --memo "Rent, March"
  atmclient localhost 9000 statement 100 --limit 10
  atmclient localhost 9000 statement 100 --from 2026-11-01 --format camt.053 --out november.xml --proof
  atmclient localhost 9000 certificate 100 --out certificate.txt
  atmclient localhost 9000 authorize 100 50 --life 1h
  atmclient localhost 9000 capture h4711 42.50
  atmclient localhost 9000 release h4711
  atmclient localhost 9000 reverse 12 5.00 --memo "Paid twice"
  atmclient localhost 9000 mandate create 100 --creditor service:gas --each 50 --total 80 --period month
  atmclient localhost 9000 mandate list 100
  atmclient localhost 9000 mandate revoke m4711
  atmclient localhost 9000 collect m4711 42.50 300 --memo "Gas, March"
  atmclient localhost 9000 order create 100 --to 200 --amount 25 --every month --on 1 --at 06:30 --zone Europe/Berlin
  atmclient localhost 9000 order list 100
  atmclient localhost 9000 order show o4711
  atmclient localhost 9000 order cancel o4711
  atmclient localhost 9000 note 100 "Your meter is read on Monday"
  atmclient localhost 9000 notices 100
  atmclient localhost 9000 whoami
  atmclient localhost 9000 shell
  atmclient localhost 9000 console
  atmclient --profile company login
  atmclient --profile company logout
  atmclient version`
	long = `Asks an ATM server for balances and statements, and moves money.

"atmclient SERVER PORT batch FILE" carries out the operations in a file, one per line,
written as on the command line, in quotes where needed; # begins a comment. Request ids are stored in FILE.ids
before the first operation is sent, so running the same batch again repeats nothing. A
refusal does not stop the batch (exit 3 at the end); an unknown outcome does (exit 6).

"atmclient SERVER PORT shell" prompts for one operation after the other, with history and
completion; "help" lists them. From a pipe it reads one operation per line.

"atmclient SERVER PORT console" opens the console of the server in a browser of this
machine, as long as the command runs.

"login" logs in with an OpenID provider of the server, for a --profile with login = true: in a
browser of this machine, or with --device by a code on another. Every command of the profile
signs in by it then, atmctl's too. "logout" ends it.

"reverse INDEX [AMOUNT]" gives back what an entry moved; a statement has the index of each. A
"mandate" lets a creditor "collect" from an account, up to --each at once and --total in a
--period. A standing "order" pays --amount to the account --to, every day, week or month; in a
month that is too short it pays on the last day. "note" leaves a notice for the owner of an
account, and "notices" lists them.

"statement" with --format and --out saves all of a statement as a file, and with --proof what
proves it in FILE.proof: atmctl check FILE then checks offline that each line is in the audit
log, and that none is missing. "certificate" states who holds an account, for others to check.

With a profile that names a server, leave out SERVER and PORT. "atmclient completion bash"
(or zsh, or fish) prints a script that completes the command line.`
)

func (o *options) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "atmclient [flags] SERVER PORT OPERATION ACCOUNT [AMOUNT]",
		Short:   short,
		Long:    long,
		Example: example,
		Version: version.String(),
		Args:    cobra.ArbitraryArgs,

		ValidArgsFunction: o.complete,
		SilenceErrors:     true,
		SilenceUsage:      true,
		RunE:              o.run,
	}
	exit.OnFlags(cmd)
	cmd.CompletionOptions.DisableDefaultCmd = true
	flags := cmd.Flags()
	settings.AddConfig(flags)
	o.sign.Add(flags)
	o.sign.AddSecrets(flags)
	flags.StringVar(&o.requestID, "request-id", "", "`id` of a request whose outcome is "+
		"unknown, to send it again")
	flags.StringVar(&o.receipt, "receipt", "", "`file` for the proof that the operation is in "+
		"the audit log")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to try")
	flags.StringVar(&o.state, "state", "", "`file` in which a batch stores its request ids "+
		"(default FILE.ids)")
	o.operationFlags.add(flags)
	o.save.add(flags)
	o.login.Add(flags)
	o.printer.add(flags)
	forms := []string{output.FormText, output.FormJSON, output.FormJSONL}
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, noFile))
	cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formNames(), noFile))
	cmd.RegisterFlagCompletionFunc("profile", o.completeProfile)
	cmd.RegisterFlagCompletionFunc("period", cobra.FixedCompletions(periods, noFile))
	cmd.RegisterFlagCompletionFunc("every", cobra.FixedCompletions(periods, noFile))
	cmd.RegisterFlagCompletionFunc("on", completeOn)
	return cmd
}

// run carries out the command line.
func (o *options) run(cmd *cobra.Command, args []string) error {
	if err := settings.Apply(cmd); err != nil {
		return err
	}
	if err := output.CheckForm(o.form, output.FormText); err != nil {
		return err
	}
	if slices.Equal(args, []string{"version"}) {
		return version.Print(o.stdout, "atmclient", o.isJSON())
	}
	to, words, err := findTarget(&o.sign, args)
	if err != nil {
		return err
	}
	if slices.Contains(programs, words[0]) {
		return o.program(cmd.Context(), to, words)
	}
	r, err := o.request(cmd.Flags(), words)
	if err != nil {
		return err
	}
	// An empty id, such as of a variable that is not set, would be another one with each try.
	if cmd.Flags().Changed("request-id") && r.moves() {
		if r.id, err = atm.ParseRequestID(o.requestID); err != nil {
			return exit.Usagef("--request-id: %w", err)
		}
	}
	if err := o.save.check(r.operation); err != nil {
		return err
	}
	if o.save.form != "" {
		return o.saveStatement(cmd.Context(), to, r)
	}
	return o.carryOut(cmd.Context(), to, r)
}

// program carries out words that are no operation.
func (o *options) program(ctx context.Context, to *target, words []string) error {
	if words[0] == "batch" {
		if len(words) != 2 {
			return exit.Usagef("batch needs one FILE")
		}
		return o.batch(ctx, to, words[1])
	}
	if len(words) != 1 {
		return exit.Usagef("%s takes no argument %q", words[0], words[1])
	}
	switch words[0] {
	case "shell":
		return o.shell(ctx, to)
	case "login":
		return o.logIn(ctx, to)
	case "logout":
		return o.logOut(ctx, to)
	}
	c, err := o.connect(to)
	if err != nil {
		return err
	}
	return browse.Run(ctx, c, "localhost:0", o.stdout, true)
}

// carryOut carries out the operation on the command line.
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
	answer, err := r.send(ctx, c, o.timeout)
	var unknown *client.OutcomeUnknownError
	if errors.As(err, &unknown) {
		return unknownOutcome(r, err)
	}
	if err != nil {
		return err
	}
	if r.operation == atm.Certificate && o.save.out != "" && answer.OK() {
		return o.saveCertificate(ctx, answer)
	}
	if err := o.print(r, answer); err != nil || o.receipt == "" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	return o.saveReceipt(ctx, c, answer)
}

// connect returns a client of the server that signs in as the flags say.
func (o *options) connect(to *target) (*client.Client, error) {
	cfg, err := to.way.Config(to.host, defaultCredentials)
	if err != nil {
		return nil, err
	}
	cfg.Server, cfg.Timeout = to.url, o.timeout
	return client.New(cfg)
}

// unknownOutcome says how to find out whether a request was carried out.
func unknownOutcome(r *request, err error) error {
	return &exit.Error{
		Code:    exit.OutcomeUnknown,
		Request: r.id,
		Err:     err,
		Advice: []string{fmt.Sprintf("Money may have moved. Repeat the command with --request-id "+
			"'%s': it happens once, however often you ask",
			strings.ReplaceAll(string(r.id), "'", `'\''`))},
	}
}
