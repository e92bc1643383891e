// Command atmclient is the customer's and the teller's command line.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/version"
	"example.com/atm/internal/durable"
	"github.com/spf13/cobra"
)

func main() {
	exit.Main(func(ctx context.Context, args []string) int { return run(ctx, args, os.Stdout, os.Stderr) })
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o := &options{stdout: stdout, stderr: stderr}
	cmd := o.command()
	cmd.SetArgs(protectNumbers(args))
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	return exit.Report(stderr, "atmclient", exit.FromClient(cmd.ExecuteContext(ctx)), o.output == "json")
}

// options are the values of the flags, and where to print.
type options struct {
	stdout, stderr io.Writer

	files     client.Files
	requestID string
	timeout   time.Duration
	receipt   string

	user, passwordFile string
	tokenFile          string
	output             string
	quiet              bool

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
  atmclient localhost 9000 whoami`,
		Version:       version.String(),
		Args:          cobra.ArbitraryArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := settings.Apply(cmd); err != nil {
				return err
			}
			r, err := o.parse(args)
			if err != nil {
				return err
			}
			return o.carryOut(cmd.Context(), r)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return exit.Usagef("%w", err) })
	cmd.CompletionOptions.DisableDefaultCmd = true
	flags := cmd.Flags()
	settings.AddConfig(flags)
	flags.StringVar(&o.files.CA, "ca", "", "`file` with the authority that the server is trusted by")
	flags.StringVar(&o.files.Cert, "cert", "", "`file` with your certificate")
	flags.StringVar(&o.files.Key, "key", "", "`file` with its key")
	flags.StringVar(&o.tokenFile, "token-file", "", "`file` with a token to sign in with; - for standard input")
	flags.StringVar(&o.user, "user", "", "`name` to sign in with by HTTP Digest")
	flags.StringVar(&o.passwordFile, "password-file", "", "`file` with the password; - for standard input")
	flags.StringVar(&o.requestID, "request-id", "", "`id` of a request whose outcome was unknown, to ask again")
	flags.StringVar(&o.receipt, "receipt", "", "`file` for the proof that what was done is in the audit log")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to try")
	flags.DurationVar(&o.life, "life", 0, "how long authorize holds the money; seven days when left out")
	flags.IntVar(&o.limit, "limit", 50, "`entries` on a page of a statement, 1 to 500")
	flags.StringVar(&o.cursor, "cursor", "", "where the page of a statement begins, as the page before it said")
	flags.StringVar(&o.from, "from", "", "begin of a statement, a `time` such as 2026-05-01T00:00:00Z")
	flags.StringVar(&o.to, "to", "", "end of a statement, a `time`")
	flags.StringVarP(&o.output, "output", "o", "text", "`form` of what is printed: text or json")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print no result")
	return cmd
}

// negative matches arguments that are numbers, not flags.
var negative = regexp.MustCompile(`^-[.0-9]`)

// numberMark stands before a negative number while flags are parsed.
const numberMark = "\x00"

// protectNumbers keeps negative numbers from being taken for flags, so that
// somebody who types -5 is told what is wrong with it.
func protectNumbers(args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if negative.MatchString(arg) {
			args[i] = numberMark + arg
		}
	}
	return args
}

// A request is a checked command line.
type request struct {
	server    string
	host      string
	operation atm.Operation
	account   atm.AccountID
	to        atm.AccountID // of a transfer
	hold      string
	amount    atm.Amount // zero when a capture takes all
	id        atm.RequestID
}

// An argument is what stands after the operation.
type argument uint8

const (
	account argument = iota
	toAccount
	amount
	amountOrAll
	hold
)

// operations are the operations and their arguments.
var operations = map[atm.Operation][]argument{
	atm.Inquiry:   {account},
	atm.Deposit:   {account, amount},
	atm.Withdraw:  {account, amount},
	atm.Transfer:  {account, toAccount, amount},
	atm.Authorize: {account, amount},
	atm.Capture:   {hold, amountOrAll},
	atm.Release:   {hold},
	atm.Statement: {account},
	atm.Whoami:    {},
}

// parse checks the arguments. Nothing is sent unless all of them are good.
func (o *options) parse(args []string) (*request, error) {
	for i := range args {
		args[i] = strings.TrimPrefix(args[i], numberMark)
	}
	if o.output != "text" && o.output != "json" {
		return nil, exit.Usagef("--output is text or json, not %q", o.output)
	}
	if len(args) < 3 {
		return nil, exit.Usagef("SERVER, PORT, OPERATION and ACCOUNT are needed; see atmclient --help")
	}
	r := &request{host: strings.Trim(args[0], "[]"), operation: atm.Operation(args[2])}
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil || port == 0 {
		return nil, exit.Usagef("the port %q is no number from 1 to 65535", args[1])
	}
	if r.host == "" || strings.ContainsAny(r.host, "/?#@ ") {
		return nil, exit.Usagef("%q is no name or address of a server", args[0])
	}
	r.server = "https://" + net.JoinHostPort(r.host, args[1])
	wanted, known := operations[r.operation]
	if !known {
		return nil, exit.Usagef("there is no operation %q; see atmclient --help", args[2])
	}
	args = args[3:]
	for _, what := range wanted {
		if len(args) == 0 {
			if what == amountOrAll {
				break
			}
			return nil, exit.Usagef("%s needs %s", r.operation, what)
		}
		if err := r.take(what, args[0]); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	if len(args) > 0 {
		return nil, exit.Usagef("%s takes no argument %q", r.operation, args[0])
	}
	if r.moves() {
		return r, o.identify(r)
	}
	return r, o.checkRange(r)
}

// String says what is missing.
func (a argument) String() string {
	switch a {
	case amount, amountOrAll:
		return "an amount"
	case hold:
		return "the id of a hold"
	case toAccount:
		return "an account that the money goes to"
	}
	return "an account"
}

func (r *request) take(what argument, text string) error {
	switch what {
	case account, toAccount:
		id, ok := atm.ParseAccountID(text)
		if !ok {
			return exit.Usagef("the account %q is no number from 1 to %d", text, atm.MaxAccountID)
		}
		if what == toAccount {
			r.to = id
		} else {
			r.account = id
		}
	case amount, amountOrAll:
		value, code := atm.ParseAmount(text)
		if code != atm.OK {
			return exit.Usagef("the amount %s %s", text, amountFaults[code])
		}
		r.amount = value
	case hold:
		r.hold = text
	}
	return nil
}

// moves reports whether the operation has a request id.
func (r *request) moves() bool {
	switch r.operation {
	case atm.Inquiry, atm.Statement, atm.Whoami:
		return false
	}
	return true
}

// checkRange checks the flags of a statement.
func (o *options) checkRange(r *request) error {
	for name, text := range map[string]string{"from": o.from, "to": o.to} {
		if _, err := time.Parse(time.RFC3339, text); text != "" && err != nil {
			return exit.Usagef("--%s %q is no time such as 2026-05-01T00:00:00Z", name, text)
		}
	}
	if o.limit < 1 || o.limit > 500 {
		return exit.Usagef("--limit is a number from 1 to 500")
	}
	return nil
}

var amountFaults = map[atm.Code]string{
	atm.AmountInvalid:     "is no decimal number of dollars",
	atm.AmountNotPositive: "is not above zero",
	atm.AmountPrecision:   "has a fraction of a cent",
	atm.AmountTooLarge:    "is above 1000000000000.00",
}

// identify gives a money request its one id.
func (o *options) identify(r *request) error {
	if o.requestID == "" {
		r.id = atm.RequestID(atm.NewUUID(time.Now()))
		return nil
	}
	id, err := atm.ParseRequestID(o.requestID)
	if err != nil {
		return exit.Usagef("--request-id: %w", err)
	}
	r.id = id
	return nil
}

// defaultCredentials is where init puts the demo customer's.
const defaultCredentials = "./atm-data/clients/demo"

// credentials are what o says to sign in with.
func (o *options) credentials(r *request) (client.Config, error) {
	cfg := client.Config{Server: r.server, Timeout: o.timeout}
	if o.tokenFile != "" {
		return o.byToken(cfg, r)
	}
	if o.user != "" {
		if o.passwordFile == "" || o.files.Cert != "" || o.files.Key != "" {
			return cfg, exit.Usagef("--user goes with --password-file and --ca, and without --cert and --key")
		}
		ca := o.files.CA
		if ca == "" {
			files, err := o.files.OrDefault(r.host, filepath.FromSlash(defaultCredentials))
			if err != nil {
				return cfg, err
			}
			ca = files.CA
		}
		password, err := settings.Passphrase(o.passwordFile, "Password of "+o.user)()
		if err != nil {
			return cfg, &exit.Error{Code: exit.NotAuthenticated, Err: err}
		}
		if cfg.TLS, err = client.Trusting(ca); err != nil {
			return cfg, err
		}
		cfg.User, cfg.Password = o.user, string(password)
		return cfg, nil
	}
	files, err := o.files.OrDefault(r.host, filepath.FromSlash(defaultCredentials))
	if err != nil {
		return cfg, err
	}
	if cfg.TLS, err = files.TLS(); err != nil {
		return cfg, &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	return cfg, nil
}

// byToken is cfg with the token in a file, and with a certificate when one is
// named, which a token may be bound to.
func (o *options) byToken(cfg client.Config, r *request) (client.Config, error) {
	if o.user != "" {
		return cfg, exit.Usagef("--token-file and --user exclude each other")
	}
	token, err := settings.Passphrase(o.tokenFile, "Token")()
	if err != nil {
		return cfg, &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	cfg.Token = string(token)
	if o.files.Cert != "" || o.files.Key != "" {
		cfg.TLS, err = o.files.TLS()
		return cfg, err
	}
	ca := o.files.CA
	if ca == "" {
		files, err := o.files.OrDefault(r.host, filepath.FromSlash(defaultCredentials))
		if err != nil {
			return cfg, err
		}
		ca = files.CA
	}
	cfg.TLS, err = client.Trusting(ca)
	return cfg, err
}

func (o *options) carryOut(ctx context.Context, r *request) error {
	cfg, err := o.credentials(r)
	if err != nil {
		return err
	}
	c, err := client.New(cfg)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	answer, err := o.call(ctx, c, r)
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
	return o.saveReceipt(ctx, c, answer)
}

// saveReceipt fetches the proof of what was just done, verifies nothing about
// it but that it is one, and saves it.
func (o *options) saveReceipt(ctx context.Context, c *client.Client, done *client.Answer) error {
	var index int64
	var leafHash string
	if _, err := fmt.Sscan(done.Receipt, &index, &leafHash); err != nil {
		return fmt.Errorf("the answer has no receipt: %w", err)
	}
	answer, err := c.Receipt(ctx, index)
	if err != nil {
		return err
	}
	if !answer.OK() {
		return &exit.Error{Code: exit.Refused, Err: errors.New("Error from ATM Server: " + answer.Reason), Plain: true}
	}
	if _, err := audit.ParseProof([]byte(answer.Text())); err != nil {
		return err
	}
	if err := durable.WriteFile(o.receipt, []byte(answer.Text()), 0o644); err != nil {
		return err
	}
	if !o.quiet {
		fmt.Fprintf(o.stderr, "Receipt saved. Check it with: atmctl audit check %s --leaf-hash %s --vkey log.vkey\n", o.receipt, leafHash)
	}
	return nil
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
		return c.Statement(ctx, r.account, client.Range{Limit: o.limit, Cursor: o.cursor, From: o.from, To: o.to})
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
		Err: fmt.Errorf("%w\nMoney may have moved. Repeat the command with --request-id '%s': it happens once, however often you ask",
			err, strings.ReplaceAll(string(r.id), "'", `'\''`)),
	}
}

func (o *options) print(r *request, a *client.Answer) error {
	if err := o.printResult(r, a); err != nil {
		return err
	}
	if !a.OK() {
		return &exit.Error{Code: exit.Refused, Err: errors.New("Error from ATM Server: " + a.Reason), Plain: true}
	}
	return nil
}

func (o *options) printResult(r *request, a *client.Answer) error {
	var err error
	switch {
	case o.quiet:
	case o.output == "json":
		err = json.NewEncoder(o.stdout).Encode(struct {
			Status  string        `json:"status"`
			Reason  string        `json:"reason"`
			Result  any           `json:"result"`
			Code    atm.Code      `json:"code"`
			Receipt string        `json:"receipt"`
			Request atm.RequestID `json:"request_id,omitempty"`
		}{a.Status(), a.Reason, a.Result, a.Code, a.Receipt, r.id})
	case !a.OK():
	default:
		err = o.printText(r, a)
	}
	return err
}

func (o *options) printText(r *request, a *client.Answer) error {
	var err error
	switch r.operation {
	case atm.Inquiry:
		_, err = fmt.Fprintf(o.stdout, "Current value of account %s is $%s\n", r.account, a.Text())
	case atm.Transfer:
		_, err = fmt.Fprintf(o.stdout, "Successful transfer of $%s from account %s to account %s\n", r.amount, r.account, r.to)
	case atm.Authorize:
		_, err = fmt.Fprintf(o.stdout, "Successful authorize of $%s from account %s: hold %s\n", r.amount, r.account, a.Text())
	case atm.Capture, atm.Release:
		_, err = fmt.Fprintf(o.stdout, "Successful %s of $%s of hold %s\n", r.operation, a.Text(), r.hold)
	case atm.Statement:
		err = o.printStatement(a)
	case atm.Whoami:
		me, _ := a.Result.(map[string]any)
		_, err = fmt.Fprintf(o.stdout, "%v, %v, by %v\n", me["subject"], me["roles"], me["method"])
	default:
		_, err = fmt.Fprintf(o.stdout, "Successful %s of $%s to account %s\n", r.operation, r.amount, r.account)
	}
	return err
}

// printStatement prints movements as they are listed, newest first, between
// the balances of the range.
func (o *options) printStatement(a *client.Answer) error {
	page, _ := a.Result.(map[string]any)
	entries, _ := page["entries"].([]any)
	t := tabwriter.NewWriter(o.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "closing\t\t\t%v\t\n", page["closing"])
	for _, entry := range entries {
		e, _ := entry.(map[string]any)
		fmt.Fprintf(t, "%v\t%v\t%v\t%v\t%v\n", e["time"], e["operation"], e["amount"], e["balance"], e["counterparty"])
	}
	fmt.Fprintf(t, "opening\t\t\t%v\t\n", page["opening"])
	if err := t.Flush(); err != nil {
		return err
	}
	if next, _ := page["next"].(string); next != "" {
		_, err := fmt.Fprintf(o.stderr, "There are older ones: --cursor %s\n", next)
		return err
	}
	return nil
}
