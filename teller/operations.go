package teller

import (
	"context"
	"math"
	"slices"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// An Operation describes one operation to those who call it. It is declared
// here once; the methods of the protocol, their signatures and their help all
// come from it.
type Operation struct {
	Name       atm.Operation
	Help       string
	Params     []Param
	Structured bool // the result may be a struct or an array

	// answer bounds the bytes of an answer that is not short; nil for short ones.
	answer func(args []atm.Arg) int64

	// rule reads the arguments into a rule. What is wrong with an argument's
	// value becomes a rule that refuses; an error is a malformed call.
	rule func(ctx context.Context, t *Teller, in *input) (vault.Rule, error)

	// read carries out an operation that reads the audit log, in place of
	// rule.
	read func(ctx context.Context, t *Teller, in *input) (atm.Status, error)
}

// A Param is one parameter. Optional ones stand last.
type Param struct {
	Name     string
	Kinds    []atm.Kind
	Optional bool
	Secret   bool // never in the audit log
	Help     string

	// Example is a value for documents. An optional parameter without one is
	// left out there.
	Example atm.Arg
}

// Operations returns the operations a teller knows, in the order in which
// documents list them.
func Operations() []Operation { return operations }

func (op *Operation) position(param string) int {
	for i := range op.Params {
		if op.Params[i].Name == param {
			return i
		}
	}
	return -1
}

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

const paramRequestID = "request_id"

var (
	paramAccount = Param{
		Name: "account", Kinds: []atm.Kind{atm.Int, atm.String},
		Help:    "Account number, 1 to 9007199254740991, as an int or a string of digits.",
		Example: atm.Arg{Kind: atm.Int, Text: "100"},
	}
	paramAmount = Param{
		Name: "amount", Kinds: []atm.Kind{atm.String, atm.Int, atm.Double},
		Help:    `Dollars. A string such as "12.50" is taken exactly, an int is whole dollars, a double is the cent it stands for.`,
		Example: text("12.50"),
	}
	paramRequest = Param{
		Name: paramRequestID, Kinds: []atm.Kind{atm.String}, Optional: true,
		Help: "Names this intention, 1 to 128 characters: however often it is sent, it " +
			"happens once.",
		Example: text("order-4711"),
	}
)

var (
	paramHold = Param{
		Name: "hold", Kinds: []atm.Kind{atm.String},
		Help:    "Id of a hold, as authorize answered it.",
		Example: text("h4711"),
	}
	paramRange = Param{
		Name: "range", Kinds: []atm.Kind{atm.Struct}, Optional: true,
		Help: "limit, the entries on the page, 1 to 500, 50 when left out; cursor, next of the " +
			"page before; " +
			"from and to, times in RFC 3339, both inclusive.",
		Example: atm.Arg{
			Kind:    atm.Struct,
			Members: []atm.Member{{Name: "limit", Arg: atm.Arg{Kind: atm.Int, Text: "10"}}},
		},
	}
)

var operations = append([]Operation{
	{
		Name:   atm.Inquiry,
		Help:   "Tells the balance of an account, in dollars.",
		Params: []Param{paramAccount},
		rule:   inquiry,
	},
	{
		Name:   atm.Deposit,
		Help:   "Puts money into an account and tells the balance after it.",
		Params: []Param{paramAccount, paramAmount, paramRequest},
		rule:   deposit,
	},
	{
		Name:   atm.Withdraw,
		Help:   "Takes money out of an account and tells the balance after it.",
		Params: []Param{paramAccount, paramAmount, paramRequest},
		rule:   withdraw,
	},
	{
		Name: atm.Transfer,
		Help: "Moves money to another account. The result is the new balance of the first.",
		Params: []Param{
			{Name: "from", Kinds: paramAccount.Kinds, Help: "Number of the account that the " +
				"money leaves.", Example: paramAccount.Example},
			{Name: "to", Kinds: paramAccount.Kinds, Help: "Number of the account that it arrives " +
				"at.", Example: atm.Arg{Kind: atm.Int, Text: "200"}},
			paramAmount, paramRequest,
		},
		rule: transfer,
	},
	{
		Name: atm.Authorize,
		Help: "Sets money of an account aside for a while and tells the id of the hold.",
		Params: []Param{
			paramAccount, paramAmount,
			{
				Name: "seconds", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Life of the hold, 1 to 2592000; seven days when left out.",
			},
			paramRequest,
		},
		rule: authorize,
	},
	{
		Name: atm.Capture,
		Help: "Takes the money of a hold, or a part of it, and frees the rest. Tells the amount " +
			"taken.",
		Params: []Param{
			paramHold,
			{
				Name: "amount", Kinds: paramAmount.Kinds, Optional: true,
				Help: "Dollars, at most those of the hold; all of them when left out.",
			},
			paramRequest,
		},
		rule: capture,
	},
	{
		Name:   atm.Release,
		Help:   "Gives a hold up and tells the amount that is free again.",
		Params: []Param{paramHold, paramRequest},
		rule:   release,
	},
	{
		Name: atm.Statement,
		Help: "Lists the movements of an account, newest first, with the balances before " +
			"and after all of the range.",
		Params:     []Param{paramAccount, paramRange},
		Structured: true,
		rule:       statement,
		answer:     rows(rowBytes, 1),
	},
	{
		Name: atm.Receipt,
		Help: "Proves that an entry is in the audit log (C2SP tlog-proof), to whoever keeps its " +
			"leaf hash.",
		Params: []Param{{
			Name: "index", Kinds: []atm.Kind{atm.Int, atm.String},
			Help:    "Index of the entry, the first word of a receipt.",
			Example: atm.Arg{Kind: atm.Int, Text: "4"},
		}},
		read:   receipt,
		answer: atMost(proofBytes),
	},
	{
		Name:       atm.Whoami,
		Help:       "Tells who the caller is to this server.",
		Structured: true,
		rule:       whoami,
	},
}, slices.Concat(administration, lists)...)

func inquiry(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.Unknown)
	if refusal != nil {
		return refusal, nil
	}
	return vault.Inquiry{Party: in.party(), Account: account}, nil
}

func deposit(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Deposit{
		Party: in.party(), Account: account, Cash: vault.Cash(in.caller.Subject), Amount: amount,
		Tell: t.mayInquire(in),
	}, nil
}

func withdraw(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Withdraw{
		Party: in.party(), Account: account, Cash: vault.Cash(in.caller.Subject), Amount: amount,
		Tell: t.mayInquire(in),
	}, nil
}

func transfer(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	from, noFrom := in.account(0, vault.NotFound)
	to, noTo := in.account(1, vault.NotFound)
	amount, noAmount := in.amount(2)
	for _, refusal := range []vault.Rule{noAmount, noFrom, noTo} {
		if refusal != nil {
			return refusal, nil
		}
	}
	return vault.Transfer{
		Party: in.party(), From: from, To: to, Amount: amount,
		Tell: t.mayInquire(in),
	}, nil
}

const (
	holdDefault = 7 * 24 * time.Hour
	holdMost    = 30 * 24 * time.Hour
)

func authorize(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	life := holdDefault
	if arg := in.args[2]; arg.Given() {
		n, ok := wholeNumber(arg.Text, int64(holdMost/time.Second))
		if !ok {
			return vault.Refuse(atm.AmountInvalid, "The seconds of a hold are a number from 1 to "+
				"2592000"), nil
		}
		life = time.Duration(n) * time.Second
	}
	return vault.Authorize{Party: in.party(), Account: account, Amount: amount, Life: life}, nil
}

// wholeNumber reads a number from 1 to most.
func wholeNumber(s string, most int64) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 1 && n <= most
}

func capture(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	hold, refusal := in.hold()
	r := vault.Capture{Party: in.party(), Hold: hold, Cash: vault.Cash(in.caller.Subject)}
	if in.args[1].Given() {
		var noAmount vault.Rule
		if r.Amount, noAmount = in.amount(1); noAmount != nil {
			return noAmount, nil
		}
	}
	if refusal != nil {
		return refusal, nil
	}
	return r, nil
}

func release(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	hold, refusal := in.hold()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Release{Party: in.party(), Hold: hold}, nil
}

// hold reads the first argument as the id of a hold.
func (in *input) hold() (vault.HoldID, vault.Rule) {
	id, ok := vault.ParseHoldID(in.args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoHold())
	}
	return id, nil
}

func statement(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.NotFound)
	r := vault.Statement{Party: in.party(), Account: account, Limit: statementDefault}
	if noRange, err := in.statementRange(&r); noRange != nil || err != nil {
		return noRange, err
	}
	if refusal != nil {
		return refusal, nil
	}
	// What is not the caller's is not read ahead: it would take longer than an
	// account that does not exist.
	if in.reach != atm.Everywhere {
		if owned, err := t.owns(ctx, in.caller.Subject, account); err != nil || !owned {
			return r, err
		}
	}
	err := r.Prepare(func(n vault.Name, from uint64, yield func(uint64, int64, []byte) bool) error {
		return t.cfg.Store.History(ctx, n, from, yield)
	})
	return r, err
}

// owns reports whether an account with a number is subject's at the moment.
func (t *Teller) owns(ctx context.Context, subject string, account vault.Name) (bool, error) {
	found, err := t.cfg.Store.Account(ctx, account)
	return err == nil && found.Version > 0 && found.Owner == subject, err
}

const statementDefault = 50

// statementRange reads the optional struct of a statement into r.
func (in *input) statementRange(r *vault.Statement) (vault.Rule, error) {
	for _, m := range in.args[1].Members {
		if !m.Arg.Given() {
			continue
		}
		var want atm.Kind
		switch m.Name {
		case "limit":
			want = atm.Int
		case "cursor", "from", "to":
			want = atm.String
		default:
			return nil, malformed("a statement has no %s", shorten(m.Name))
		}
		if m.Arg.Kind != want {
			return nil, malformed("%s of a statement is of the wrong type", shorten(m.Name))
		}
		var err error
		switch m.Name {
		case "limit":
			n, ok := wholeNumber(m.Arg.Text, math.MaxInt64)
			if !ok {
				return vault.Refusal(vault.BadCursor("limit is a number from 1 to 500")), nil
			}
			r.Limit = int(min(n, vault.StatementMost))
		case "cursor":
			r.Cursor = m.Arg.Text
		case "from":
			r.From, err = atm.ParseTime(m.Arg.Text)
		case "to":
			r.To, err = atm.ParseTime(m.Arg.Text)
		}
		if err != nil {
			return vault.Refusal(vault.BadCursor(m.Name + " is no time in RFC 3339")), nil
		}
	}
	if !r.From.IsZero() && !r.To.IsZero() && r.From.After(r.To) {
		return vault.Refusal(vault.BadCursor("from is after to")), nil
	}
	return nil, nil
}

// movement reads account and amount. Both are read even if the first is
// wrong, so that the audit log has both as they were understood.
func (in *input) movement() (vault.Name, atm.Amount, vault.Rule) {
	account, noAccount := in.account(0, vault.NotFound)
	amount, noAmount := in.amount(1)
	if noAmount != nil {
		return "", 0, noAmount
	}
	return account, amount, noAccount
}

// mayInquire reports whether the caller may know the balance of an account
// that this operation reaches.
func (t *Teller) mayInquire(in *input) bool {
	return t.cfg.Permit(in.caller.Principal, atm.Inquiry) >= in.reach
}

func whoami(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	roles := make([]string, len(in.caller.Roles))
	for i, role := range in.caller.Roles {
		roles[i] = string(role)
	}
	return vault.Report{Result: atm.Record{
		{Name: "subject", Value: in.caller.Subject},
		{Name: "roles", Value: roles},
		{Name: "method", Value: in.caller.Method},
	}}, nil
}
