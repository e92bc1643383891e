package main

import (
	"errors"
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
	"example.com/atm/vault"
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
	to        atm.AccountID // of a transfer or a collection
	ref       string        // a hold, mandate or standing order, or the index of an entry
	amount    atm.Amount    // zero when a capture or a reversal takes all
	life      time.Duration // of a hold
	page      client.Range  // of a statement or of notices
	id        atm.RequestID // when it has one
	memo      string        // empty for none; the text of a notice
	line      int           // of a batch
	mandate   client.MandateTerms
	order     client.OrderTerms
}

// An argument is the kind of an argument of an operation.
type argument uint8

const (
	account argument = iota
	toAccount
	amount
	amountOrAll
	hold
	entry
	mandate
	order
	notice
)

// A form is what an operation takes on the command line.
type form struct {
	args   []argument
	hasID  bool // a request id: what is sent twice happens once
	memo   bool
	paged  bool
	agrees bool // has terms
}

// operations are the operations. One whose name has two parts is typed as two words.
var operations = map[atm.Operation]form{
	atm.Inquiry:     {args: []argument{account}},
	atm.Deposit:     {args: []argument{account, amount}, hasID: true, memo: true},
	atm.Withdraw:    {args: []argument{account, amount}, hasID: true, memo: true},
	atm.Transfer:    {args: []argument{account, toAccount, amount}, hasID: true, memo: true},
	atm.Authorize:   {args: []argument{account, amount}, hasID: true, memo: true},
	atm.Capture:     {args: []argument{hold, amountOrAll}, hasID: true, memo: true},
	atm.Release:     {args: []argument{hold}, hasID: true},
	atm.Reverse:     {args: []argument{entry, amountOrAll}, hasID: true, memo: true},
	atm.Statement:   {args: []argument{account}, paged: true},
	atm.Certificate: {args: []argument{account}},
	atm.Whoami:      {},

	atm.MandateCreate: {args: []argument{account}, hasID: true, memo: true, agrees: true},
	atm.MandateList:   {args: []argument{account}},
	atm.MandateRevoke: {args: []argument{mandate}},
	atm.Collect:       {args: []argument{mandate, amount, toAccount}, hasID: true, memo: true},
	atm.OrderCreate:   {args: []argument{account}, hasID: true, memo: true, agrees: true},
	atm.OrderList:     {args: []argument{account}},
	atm.OrderShow:     {args: []argument{order}},
	atm.OrderCancel:   {args: []argument{order}},
	atm.Notify:        {args: []argument{account, notice}, hasID: true},
	atm.Notices:       {args: []argument{account}, paged: true},
}

// operationNames are the words that an operation begins with, sorted.
func operationNames() []string {
	var names []string
	for op := range operations {
		first, _, _ := strings.Cut(string(op), ".")
		names = append(names, first)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// secondWords are the words that may follow the first one of an operation, sorted; none when
// the first one is all.
func secondWords(first string) (words []string) {
	for op := range operations {
		if second, found := strings.CutPrefix(string(op), first+"."); found {
			words = append(words, second)
		}
	}
	slices.Sort(words)
	return words
}

// findOperation finds the operation that words begin with, and returns the words after it.
func findOperation(words []string) (atm.Operation, []string, error) {
	second := secondWords(words[0])
	switch {
	case len(second) == 0:
		op := atm.Operation(words[0])
		if _, known := operations[op]; known && !strings.Contains(words[0], ".") {
			return op, words[1:], nil
		}
		if meant := exit.DidYouMean(words[0], operationNames()...); meant != "" {
			return "", nil, exit.Usagef("there is no operation %q%s", words[0], meant)
		}
		return "", nil, exit.Usagef("there is no operation %q; see atmclient --help", words[0])
	case len(words) == 1:
		return "", nil, exit.Usagef("%s needs one of %s", words[0], strings.Join(second, ", "))
	case !slices.Contains(second, words[1]):
		return "", nil, exit.Usagef("%s is followed by one of %s, not by %q%s", words[0],
			strings.Join(second, ", "), words[1], exit.DidYouMean(words[1], second...))
	}
	return atm.Operation(words[0] + "." + words[1]), words[2:], nil
}

// spoken is the name of an operation as it is typed.
func spoken(op atm.Operation) string { return strings.ReplaceAll(string(op), ".", " ") }

// programs are the words in the place of an operation that are none.
var programs = []string{"batch", "shell", "console", "login", "logout"}

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
		if slices.Contains(operationNames(), args[0]) || slices.Contains(programs, args[0]) {
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
	limit            int           // of a page
	cursor, from, to string        // of a statement; from and to of terms as well
	terms            termFlags
}

func (f *operationFlags) add(flags *pflag.FlagSet) {
	flags.DurationVar(&f.life, "life", 0, "how long authorize holds the money (default seven "+
		"days)")
	flags.StringVar(&f.memo, "memo", "", "`text` that says what the money is for, for the "+
		"statements of both accounts")
	flags.IntVar(&f.limit, "limit", 50, "`entries` on a page of a statement or of notices, 1 to "+
		"500")
	flags.StringVar(&f.cursor, "cursor", "", "`cursor` of a page, as the previous page said")
	flags.StringVar(&f.from, "from", "", "start of a statement, a `time`: "+when.Forms+"; first "+
		"day of a mandate or an order")
	flags.StringVar(&f.to, "to", "", "end of a statement, a `time`; a day counts to its end; the "+
		"account that an order pays")
	f.terms.add(flags)
}

// parseLine parses an operation with its flags, as on a command line after SERVER and PORT.
func parseLine(typed []string) (*request, error) {
	var f operationFlags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	flags.SetOutput(io.Discard)
	f.add(flags)
	switch err := flags.Parse(protectNumbers(flags, typed)); {
	case errors.Is(err, pflag.ErrHelp): // what is wrapped would print the help, and exit with 0
		return nil, exit.Usagef("an operation has no --help; see atmclient --help")
	case err != nil:
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
	op, args, err := findOperation(words)
	if err != nil {
		return nil, err
	}
	r := &request{operation: op, life: f.life, memo: f.memo}
	wanted := operations[op]
	if r.memo != "" && !wanted.memo {
		return nil, exit.Usagef("%s takes no --memo", spoken(op))
	}
	for _, what := range wanted.args {
		if len(args) == 0 {
			if what == amountOrAll {
				break
			}
			return nil, exit.Usagef("%s needs %s", spoken(op), what)
		}
		if err := r.take(what, args[0]); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	if len(args) > 0 {
		return nil, exit.Usagef("%s takes no argument %q", spoken(op), args[0])
	}
	if err := f.agree(r); err != nil {
		return nil, err
	}
	if wanted.hasID {
		r.id = atm.RequestID(atm.NewUUID(time.Now()))
	}
	if wanted.paged {
		r.page, err = f.pageOf(op, time.Now())
	}
	return r, err
}

// String names the argument, for an error that says that it is missing.
func (a argument) String() string {
	switch a {
	case amount, amountOrAll:
		return "an amount"
	case hold:
		return "the id of a hold"
	case entry:
		return "the index of an entry"
	case mandate:
		return "the id of a mandate"
	case order:
		return "the id of a standing order"
	case notice:
		return "a text"
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
		r.ref = text
	case entry:
		if index, err := strconv.ParseInt(text, 10, 64); err != nil || index < 0 {
			return exit.Usagef("the entry %q is no index, such as 12: a statement has it, and a "+
				"receipt begins with it", text)
		}
		r.ref = text
	case mandate, order:
		if !known(what, text) {
			return exit.Usagef("%q is not %s, such as %s", text, what, exampleIDs[what])
		}
		r.ref = text
	case notice:
		if err := atm.CheckMemo(text); err != nil || strings.TrimSpace(text) == "" {
			return exit.Usagef("a notice is text of 1 to 140 characters and at most 256 bytes, " +
				"without control and direction characters")
		}
		r.memo = text
	}
	return nil
}

var exampleIDs = map[argument]string{mandate: "m4711", order: "o4711"}

// known reports whether text is in the form of the ids of a kind of agreement.
func known(what argument, text string) bool {
	var ok bool
	if what == mandate {
		_, ok = vault.ParseMandateID(text)
	} else {
		_, ok = vault.ParseOrderID(text)
	}
	return ok
}

// moves reports whether the request has an id: sent twice without it, it would happen twice.
func (r *request) moves() bool { return operations[r.operation].hasID }

// pageOf is the part of a statement, or of the notices, that the flags select.
func (f *operationFlags) pageOf(op atm.Operation, now time.Time) (client.Range, error) {
	if f.limit < 1 || f.limit > 500 {
		return client.Range{}, exit.Usagef("--limit is a number from 1 to 500")
	}
	r := client.Range{Limit: f.limit, Cursor: f.cursor}
	if op == atm.Notices && (f.from != "" || f.to != "") {
		return r, exit.Usagef("notices takes no --from and --to")
	}
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
