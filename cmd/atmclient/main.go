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
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/version"
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
	output    string
	quiet     bool
}

func (o *options) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atmclient [flags] SERVER PORT OPERATION ACCOUNT [AMOUNT]",
		Short: "Asks an ATM server for a balance, deposits, and withdraws",
		Example: `  atmclient localhost 9000 inquiry 100
  atmclient localhost 9000 deposit 100 1001
  atmclient localhost 9000 withdraw 100 392.50`,
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
	flags.StringVar(&o.requestID, "request-id", "", "`id` of a request whose outcome was unknown, to ask again")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long to try")
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
	amount    atm.Amount
	id        atm.RequestID
}

// parse checks the arguments. Nothing is sent unless all of them are good.
func (o *options) parse(args []string) (*request, error) {
	for i := range args {
		args[i] = strings.TrimPrefix(args[i], numberMark)
	}
	if o.output != "text" && o.output != "json" {
		return nil, exit.Usagef("--output is text or json, not %q", o.output)
	}
	if len(args) < 4 {
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
	wanted := 5
	switch r.operation {
	case atm.Inquiry:
		wanted = 4
	case atm.Deposit, atm.Withdraw:
	default:
		return nil, exit.Usagef("there is no operation %q: it is inquiry, deposit or withdraw", args[2])
	}
	switch {
	case len(args) < wanted:
		return nil, exit.Usagef("%s needs an amount", r.operation)
	case len(args) > wanted:
		return nil, exit.Usagef("%s takes no argument %q", r.operation, args[wanted])
	}
	account, ok := atm.ParseAccountID(args[3])
	if !ok {
		return nil, exit.Usagef("the account %q is no number from 1 to %d", args[3], atm.MaxAccountID)
	}
	r.account = account
	if wanted == 4 {
		return r, nil
	}
	amount, code := atm.ParseAmount(args[4])
	if code != atm.OK {
		return nil, exit.Usagef("the amount %s %s", args[4], amountFaults[code])
	}
	r.amount = amount
	return r, o.identify(r)
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

func (o *options) carryOut(ctx context.Context, r *request) error {
	files, err := o.files.OrDefault(r.host, filepath.FromSlash(defaultCredentials))
	if err != nil {
		return err
	}
	tls, err := files.TLS()
	if err != nil {
		return &exit.Error{Code: exit.NotAuthenticated, Err: err}
	}
	c, err := client.New(client.Config{Server: r.server, TLS: tls, Timeout: o.timeout})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var answer *client.Answer
	switch r.operation {
	case atm.Inquiry:
		answer, err = c.Inquiry(ctx, r.account)
	case atm.Deposit:
		answer, err = c.Deposit(ctx, r.account, r.amount, r.id)
	case atm.Withdraw:
		answer, err = c.Withdraw(ctx, r.account, r.amount, r.id)
	}
	var unknown *client.OutcomeUnknownError
	if errors.As(err, &unknown) {
		return o.unknown(r, err)
	}
	if err != nil {
		return err
	}
	return o.print(r, answer)
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
	case r.operation == atm.Inquiry:
		_, err = fmt.Fprintf(o.stdout, "Current value of account %s is $%s\n", r.account, a.Text())
	default:
		_, err = fmt.Fprintf(o.stdout, "Successful %s of $%s to account %s\n", r.operation, r.amount, r.account)
	}
	return err
}
