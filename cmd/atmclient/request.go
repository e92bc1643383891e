package main

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/signin"
	"example.com/atm/cmd/internal/when"
	"github.com/spf13/pflag"
)

// negative matches arguments that are numbers, not flags.
var negative = regexp.MustCompile(`^-[.0-9]`)

// numberMark stands before a negative number while flags are parsed.
const numberMark = "\x00"

// protectNumbers keeps negative numbers from being taken for flags, so that
// somebody who types -5 is told what is wrong with it. The value of a flag is
// none, whatever it begins with.
func protectNumbers(flags *pflag.FlagSet, args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if negative.MatchString(arg) && (i == 0 || !wantsValue(flags, args[i-1])) {
			args[i] = numberMark + arg
		}
	}
	return args
}

// wantsValue reports whether what stands after arg is its value.
func wantsValue(flags *pflag.FlagSet, arg string) bool {
	var flag *pflag.Flag
	switch name, long := strings.CutPrefix(arg, "--"); {
	case long:
		flag = flags.Lookup(name)
	case len(arg) > 1 && arg[0] == '-':
		flag = flags.ShorthandLookup(arg[len(arg)-1:])
	}
	return flag != nil && flag.NoOptDefVal == ""
}

// A target is the server that is asked, and how the caller signs in there.
type target struct {
	url  string
	host string
	way  *signin.Way
}

// A request is a checked operation.
type request struct {
	operation atm.Operation
	account   atm.AccountID
	to        atm.AccountID // of a transfer
	hold      string
	amount    atm.Amount // zero when a capture takes all
	id        atm.RequestID
	page      client.Range // of a statement
	line      int          // of a batch
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

// operationNames are the names of the operations, sorted.
func operationNames() []string {
	var names []string
	for op := range operations {
		names = append(names, string(op))
	}
	slices.Sort(names)
	return names
}

// parse checks the arguments that say where to, and returns the words behind them.
func (o *options) parse(args []string) (*target, []string, error) {
	for i := range args {
		args[i] = strings.TrimPrefix(args[i], numberMark)
	}
	if err := output.CheckForm(o.output, output.FormText); err != nil {
		return nil, nil, err
	}
	if len(args) == 4 && args[0] == "batch" {
		args = []string{args[2], args[3], args[0], args[1]}
	}
	return o.target(args)
}

// target finds the server in the arguments, or in the profile when they begin with an
// operation, and returns the arguments behind it.
func (o *options) target(args []string) (*target, []string, error) {
	way, err := o.sign.Way()
	if err != nil {
		return nil, nil, err
	}
	if way.Server != "" && len(args) > 0 {
		if _, known := operations[atm.Operation(args[0])]; known || args[0] == "batch" ||
			args[0] == "shell" {
			u, err := url.Parse(way.Server)
			if err != nil {
				return nil, nil, err
			}
			return &target{url: way.Server, host: u.Hostname(), way: way}, args, nil
		}
	}
	if len(args) < 3 {
		return nil, nil, exit.Usagef("SERVER, PORT, OPERATION and ACCOUNT are needed; see " +
			"atmclient --help")
	}
	host := strings.Trim(args[0], "[]")
	port, err := strconv.ParseUint(args[1], 10, 16)
	if err != nil || port == 0 {
		return nil, nil, exit.Usagef("the port %q is no number from 1 to 65535", args[1])
	}
	if host == "" || strings.ContainsAny(host, "/?#@ ") {
		return nil, nil, exit.Usagef("%q is no name or address of a server", args[0])
	}
	return &target{url: "https://" + net.JoinHostPort(host, args[1]), host: host, way: way},
		args[2:], nil
}

// request checks an operation and its arguments.
func (o *options) request(words []string) (*request, error) {
	r := &request{operation: atm.Operation(words[0])}
	wanted, known := operations[r.operation]
	if !known {
		if meant := exit.DidYouMean(words[0], operationNames()...); meant != "" {
			return nil, exit.Usagef("there is no operation %q%s", words[0], meant)
		}
		return nil, exit.Usagef("there is no operation %q; see atmclient --help", words[0])
	}
	args := words[1:]
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
	var err error
	r.page, err = o.statementRange(time.Now())
	return r, err
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

// statementRange is what the flags of a statement say.
func (o *options) statementRange(now time.Time) (client.Range, error) {
	if o.limit < 1 || o.limit > 500 {
		return client.Range{}, exit.Usagef("--limit is a number from 1 to 500")
	}
	r := client.Range{Limit: o.limit, Cursor: o.cursor}
	var from, to time.Time
	var err error
	if o.from != "" {
		if from, err = when.Since(o.from, now); err != nil {
			return r, exit.Usagef("--from %w", err)
		}
		r.From = from.Format(time.RFC3339Nano)
	}
	if o.to != "" {
		if to, err = when.Until(o.to, now); err != nil {
			return r, exit.Usagef("--to %w", err)
		}
		r.To = to.Format(time.RFC3339Nano)
	}
	if o.from != "" && o.to != "" && from.After(to) {
		return r, exit.Usagef("--from is after --to")
	}
	return r, nil
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
