package main

import (
	"context"
	"io"
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
	"example.com/atm/cmd/internal/signin"
	"example.com/atm/cmd/internal/when"
	"github.com/spf13/pflag"
)

// negative matches arguments that are negative numbers and not flags.
var negative = regexp.MustCompile(`^-[.0-9]`)

// numberMark is the prefix of a negative number while flags are parsed.
const numberMark = "\x00"

// protectNumbers keeps negative numbers from being parsed as flags, so that a user who types -5
// gets a helpful error. It leaves the values of flags alone.
func protectNumbers(flags *pflag.FlagSet, args []string) []string {
	args = slices.Clone(args)
	for i, arg := range args {
		if negative.MatchString(arg) && (i == 0 || !wantsValue(flags, args[i-1])) {
			args[i] = numberMark + arg
		}
	}
	return args
}

// unprotected undoes protectNumbers.
func unprotected(args []string) []string {
	for i := range args {
		args[i] = strings.TrimPrefix(args[i], numberMark)
	}
	return args
}

// wantsValue reports whether the argument after arg is its value.
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

// A target is a server, and how the caller signs in there.
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
	amount    atm.Amount    // zero when a capture takes all
	life      time.Duration // of a hold
	page      client.Range  // of a statement
	id        atm.RequestID // when it moves money
	memo      string        // empty for none
	line      int           // of a batch
}

// An argument is the kind of an argument of an operation.
type argument uint8

const (
	account argument = iota
	toAccount
	amount
	amountOrAll
	hold
)

// operations are the operations and the kinds of their arguments.
var operations = map[atm.Operation][]argument{
	atm.Inquiry:   {account},
	atm.Deposit:   {account, amount},
	atm.Withdraw:  {account, amount},
	atm.Transfer:  {account, toAccount, amount},
	atm.Authorize: {account, amount},
	atm.Capture:   {hold, amountOrAll},
	atm.Release:   {hold},
	atm.Statement: {account},

	atm.Certificate: {account},
	atm.Whoami:      {},
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

// findTarget finds the server in the arguments, or in the profile when they begin with an
// operation. It returns the words after SERVER and PORT.
func findTarget(sign *signin.Flags, args []string) (*target, []string, error) {
	args = unprotected(args)
	if len(args) == 4 && args[0] == "batch" {
		args = []string{args[2], args[3], args[0], args[1]}
	}
	way, err := sign.Way()
	if err != nil {
		return nil, nil, err
	}
	if way.Server != "" && len(args) > 0 {
		if _, known := operations[atm.Operation(args[0])]; known || args[0] == "batch" ||
			args[0] == "shell" || args[0] == "console" {
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

// operationFlags are the flags that belong to one operation.
type operationFlags struct {
	life             time.Duration // of a hold
	memo             string        // of what moves money
	limit            int           // of a statement
	cursor, from, to string        // of a statement
}

func (f *operationFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.life, "life", 0, "how long authorize holds the money (default seven "+
		"days)")
	flags.StringVar(&f.memo, "memo", "", "`text` that says what the money is for, for the "+
		"statements of both accounts")
	flags.IntVar(&f.limit, "limit", 50, "`entries` on a page of a statement, 1 to 500")
	flags.StringVar(&f.cursor, "cursor", "", "`cursor` of a page of a statement, as the previous "+
		"page said")
	flags.StringVar(&f.from, "from", "", "start of a statement, a `time`: "+when.Forms)
	flags.StringVar(&f.to, "to", "", "end of a statement, a `time`; a day counts to its end")
}

// parseLine parses an operation with its flags, as on a command line after SERVER and PORT.
func parseLine(typed []string) (*request, error) {
	var f operationFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	f.add(flags)
	if err := flags.Parse(protectNumbers(flags, typed)); err != nil {
		return nil, exit.Usagef("%w", err)
	}
	words := unprotected(flags.Args())
	if len(words) == 0 {
		return nil, exit.Usagef("there is no operation")
	}
	return f.request(flags, words)
}

// request checks an operation and its arguments. One that moves money gets a request id.
func (f *operationFlags) request(flags *pflag.FlagSet, words []string) (*request, error) {
	if flags.Changed("life") && f.life < time.Second {
		return nil, exit.Usagef("--life is at least 1s")
	}
	if err := atm.CheckMemo(f.memo); err != nil {
		return nil, exit.Usagef("--memo: %w", err)
	}
	r := &request{operation: atm.Operation(words[0]), life: f.life, memo: f.memo}
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
	if r.memo != "" && !r.movesMoney() {
		return nil, exit.Usagef("%s takes no --memo", r.operation)
	}
	if r.moves() {
		r.id = atm.RequestID(atm.NewUUID(time.Now()))
		return r, nil
	}
	var err error
	r.page, err = f.statementRange(time.Now())
	return r, err
}

// String names the argument, for an error that says that it is missing.
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
	case atm.Inquiry, atm.Statement, atm.Whoami, atm.Certificate:
		return false
	}
	return true
}

// movesMoney reports whether the operation takes a memo.
func (r *request) movesMoney() bool { return r.moves() && r.operation != atm.Release }

// statementRange is the part of a statement that the flags select.
func (f *operationFlags) statementRange(now time.Time) (client.Range, error) {
	if f.limit < 1 || f.limit > 500 {
		return client.Range{}, exit.Usagef("--limit is a number from 1 to 500")
	}
	r := client.Range{Limit: f.limit, Cursor: f.cursor}
	var from, to time.Time
	var err error
	if f.from != "" {
		if from, err = when.Since(f.from, now); err != nil {
			return r, exit.Usagef("--from %w", err)
		}
		r.From = from.Format(time.RFC3339Nano)
	}
	if f.to != "" {
		if to, err = when.Until(f.to, now); err != nil {
			return r, exit.Usagef("--to %w", err)
		}
		r.To = to.Format(time.RFC3339Nano)
	}
	if f.from != "" && f.to != "" && from.After(to) {
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

// send sends the request, and waits for the answer for at most this long.
func (r *request) send(ctx context.Context, c *client.Client, most time.Duration) (*client.Answer,
	error,
) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	memo := client.Memo(r.memo)
	switch r.operation {
	case atm.Deposit:
		return c.Deposit(ctx, r.account, r.amount, r.id, memo)
	case atm.Withdraw:
		return c.Withdraw(ctx, r.account, r.amount, r.id, memo)
	case atm.Transfer:
		return c.Transfer(ctx, r.account, r.to, r.amount, r.id, memo)
	case atm.Authorize:
		return c.Authorize(ctx, r.account, r.amount, r.life, r.id, memo)
	case atm.Capture:
		return c.Capture(ctx, r.hold, r.amount, r.id, memo)
	case atm.Release:
		return c.Release(ctx, r.hold, r.id)
	case atm.Statement:
		return c.Statement(ctx, r.account, r.page)
	case atm.Certificate:
		return c.Certificate(ctx, r.account)
	case atm.Whoami:
		return c.Call(ctx, string(atm.Whoami))
	}
	return c.Inquiry(ctx, r.account)
}
