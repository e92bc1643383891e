// Package methods declares the methods of the protocol: their names, their help, their
// parameters, and how large their answers can be.
//
// A method is declared here once. Its signature and its help come from the declaration, so do
// the names of its arguments in the audit log. What a method does is in package teller, and
// which callers may use it is in package auth.
package methods

import (
	"slices"

	"example.com/atm"
)

// A Method describes one operation to those who call it.
type Method struct {
	Name       atm.Operation
	Help       string
	Params     []Param
	Structured bool // the result may be a struct or an array

	// Result is an example of a structured result, which has every field; nil for one that is not
	// described.
	Result any

	// Once says that the request id of a header counts although no parameter has one: what is
	// sent twice is made once.
	Once bool

	// answer bounds the bytes of an answer that is not short; nil for short ones.
	answer func(args []atm.Arg) int64
}

// A Param is one parameter. Optional ones stand last.
type Param struct {
	Name     string
	Kinds    []atm.Kind
	Optional bool
	Secret   bool // never in the audit log
	Hashed   bool // in the audit log as a keyed hash: it has the name of a holder
	URL      bool // in the audit log without a user name and a password
	Help     string

	// Members are the members of a struct, and the kinds of each. In the audit log they stand
	// as arguments of their own. Nil for other parameters, and for structs whose members stand
	// there in one line.
	Members map[string][]atm.Kind

	// Example is a value for documents. An optional parameter without one is
	// left out there, and so are those after it.
	Example atm.Arg
}

// All returns every method, in the order in which documents list them.
func All() []Method { return all }

var all = slices.Concat(money, payments, administration, lists, browsers, feed)

// Of returns the method of an operation; nil for one that is no method.
func Of(op atm.Operation) *Method {
	i := slices.IndexFunc(all, func(m Method) bool { return m.Name == op })
	if i < 0 {
		return nil
	}
	return &all[i]
}

// Position is that of the parameter called param, and -1 when the method has none.
func (m *Method) Position(param string) int {
	return slices.IndexFunc(m.Params, func(p Param) bool { return p.Name == param })
}

// Holder is the position of the parameter that has a member called member, and -1 when none
// has.
func (m *Method) Holder(member string) int {
	return slices.IndexFunc(m.Params, func(p Param) bool { return p.Members[member] != nil })
}

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

// RequestID is the name of the parameter that names an intention.
const RequestID = "request_id"

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
		Name: RequestID, Kinds: []atm.Kind{atm.String}, Optional: true,
		Help: "Names this intention, 1 to 128 characters: however often it is sent, it " +
			"happens once.",
		Example: text("order-4711"),
	}
	paramMemo = Param{
		Name: atm.MemoArg, Kinds: []atm.Kind{atm.String}, Optional: true,
		Help: "What the money is for, at most 140 characters and 256 bytes, without control and " +
			"direction characters. It stands in the statements of both accounts.",
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
			"from and to, times in RFC 3339, both inclusive; proof 1 lists what moved no money " +
			"too, and adds version and leaf to each entry, so that their receipts prove the page.",
		Example: atm.Arg{
			Kind:    atm.Struct,
			Members: []atm.Member{{Name: "limit", Arg: atm.Arg{Kind: atm.Int, Text: "10"}}},
		},
	}
)

var money = []Method{
	{
		Name:   atm.Inquiry,
		Help:   "Tells the balance of an account, in dollars.",
		Params: []Param{paramAccount},
	},
	{
		Name:   atm.Deposit,
		Help:   "Puts money into an account and tells the balance after it.",
		Params: []Param{paramAccount, paramAmount, paramRequest, paramMemo},
	},
	{
		Name:   atm.Withdraw,
		Help:   "Takes money out of an account and tells the balance after it.",
		Params: []Param{paramAccount, paramAmount, paramRequest, paramMemo},
	},
	{
		Name: atm.Transfer,
		Help: "Moves money to another account. The result is the new balance of the first.",
		Params: []Param{
			{Name: "from", Kinds: paramAccount.Kinds, Help: "Number of the account that the " +
				"money leaves.", Example: paramAccount.Example},
			{Name: "to", Kinds: paramAccount.Kinds, Help: "Number of the account that it arrives " +
				"at.", Example: atm.Arg{Kind: atm.Int, Text: "200"}},
			paramAmount, paramRequest, paramMemo,
		},
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
			paramRequest, paramMemo,
		},
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
			paramRequest, paramMemo,
		},
	},
	{
		Name:   atm.Release,
		Help:   "Gives a hold up and tells the amount that is free again.",
		Params: []Param{paramHold, paramRequest},
	},
	{
		Name: atm.Statement,
		Help: "Lists the movements of an account, newest first, with the balances before " +
			"and after all of the range. Of a range that begins before the server's entries do, " +
			"it lists those since a time, which it tells.",
		Params:     []Param{paramAccount, paramRange},
		Structured: true, Result: resultStatement,
		answer: rows(movementBytes, 1),
	},
	{
		Name: atm.Receipt,
		Help: "Proves that an entry is in the audit log (C2SP tlog-proof), to anybody who keeps " +
			"its " +
			"leaf hash.",
		Params: []Param{{
			Name: "index", Kinds: []atm.Kind{atm.Int, atm.String},
			Help:    "Index of the entry, the first word of a receipt.",
			Example: atm.Arg{Kind: atm.Int, Text: "4"},
		}},
		answer: atMost(proofBytes),
	},
	{
		Name: atm.ShowEntry,
		Help: "Tells the line of an entry of the audit log, which its receipt proves, to those " +
			"who may see all that it says.",
		Params: []Param{{
			Name: "index", Kinds: []atm.Kind{atm.Int, atm.String},
			Help:    "Index of the entry, the first word of a receipt.",
			Example: atm.Arg{Kind: atm.Int, Text: "4"},
		}},
		answer: atMost(entryBytes),
	},
	{
		Name: atm.Certificate,
		Help: "States who holds an account, and whether it is open, in a text that anybody can " +
			"check with the public key of the audit log: the statement, its entry, and the proof " +
			"(C2SP tlog-proof).",
		Params: []Param{paramAccount},
		answer: atMost(entryBytes + proofBytes),
	},
	{
		Name:       atm.Whoami,
		Help:       "Tells who the caller is to this server.",
		Structured: true, Result: resultWhoami,
	},
}
