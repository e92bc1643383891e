package teller

import (
	"context"

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

	// rule reads the arguments into a rule. What is wrong with an argument's
	// value becomes a rule that refuses; an error is a malformed call.
	rule func(ctx context.Context, t *Teller, in *input) (vault.Rule, error)
}

// A Param is one parameter. Optional ones stand last.
type Param struct {
	Name     string
	Kinds    []atm.Kind
	Optional bool
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
		Help:    "Names this intention, 1 to 128 characters: however often it is sent, it happens once.",
		Example: text("order-4711"),
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
		Name:       atm.Whoami,
		Help:       "Tells who the caller is to this server.",
		Structured: true,
		rule:       whoami,
	},
}, administration...)

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
