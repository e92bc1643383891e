package methods

import "example.com/atm"

var (
	paramMandate = Param{
		Name: "mandate", Kinds: []atm.Kind{atm.String},
		Help: "Id of a mandate, as mandate.create answered it.", Example: text("m4711"),
	}
	paramOrder = Param{
		Name: "order", Kinds: []atm.Kind{atm.String},
		Help: "Id of a standing order, as order.create answered it.", Example: text("o4711"),
	}
	words = []atm.Kind{atm.String}
)

// terms are those of a mandate or a standing order.
func terms(help string, members map[string][]atm.Kind, example ...atm.Member) Param {
	return Param{
		Name: "terms", Kinds: []atm.Kind{atm.Struct}, Members: members, Help: help,
		Example: atm.Arg{Kind: atm.Struct, Members: example},
	}
}

func member(name, value string) atm.Member { return atm.Member{Name: name, Arg: text(value)} }

// payments are the methods on what was paid, and on what is going to be.
var payments = []Method{
	{
		Name: atm.Reverse,
		Help: "Gives back what an entry moved, or a part of it, along the legs it came: a " +
			"deposit, a withdrawal, a transfer, a capture, a collection or the payment of a " +
			"standing order. A customer gives back what they were paid. Tells the amount.",
		Params: []Param{
			{
				Name: "index", Kinds: []atm.Kind{atm.Int, atm.String},
				Help:    "Index of the entry, the first word of a receipt.",
				Example: atm.Arg{Kind: atm.Int, Text: "4"},
			},
			{
				Name: "amount", Kinds: paramAmount.Kinds, Optional: true,
				Help: "Dollars, at most what has not been given back yet; all of it when left out.",
			},
			paramRequest, paramMemo,
		},
	},
	{
		Name: atm.MandateCreate, Once: true,
		Help: "Lets a creditor collect from an account (direct debit), up to an amount at once " +
			"and in a period, and tells the id of the mandate.",
		Params: []Param{paramAccount, terms(
			"creditor, the subject that may collect; each, the most at once; total and period, "+
				"the most in a day, a week or a month by the zone of the account; from and until, "+
				"days such as 2026-12-31 or times in RFC 3339; memo. Each, or total with period, "+
				"must be there.",
			map[string][]atm.Kind{
				"creditor": words, "each": paramAmount.Kinds, "total": paramAmount.Kinds,
				"period": words, "from": words, "until": words, atm.MemoArg: words,
			}, member("creditor", "service:gas"), member("total", "80.00"),
			member("period", "month"))},
	},
	{
		Name: atm.MandateList,
		Help: "Lists the mandates on an account that go on: to a creditor, those that it may " +
			"collect by.",
		Params:     []Param{paramAccount},
		Structured: true, Result: []atm.Record{resultMandate},
		answer: atMost(agreementsMost * recordBytes),
	},
	{
		Name:   atm.MandateRevoke,
		Help:   "Ends a mandate: from the next call on nothing is collected by it.",
		Params: []Param{paramMandate},
	},
	{
		Name: atm.Collect,
		Help: "Collects money by a mandate, into an account of the creditor, who alone may do " +
			"so. Tells the amount.",
		Params: []Param{
			paramMandate, paramAmount,
			{
				Name: "to", Kinds: paramAccount.Kinds, Help: "Number of the account that it " +
					"arrives at.", Example: atm.Arg{Kind: atm.Int, Text: "200"},
			},
			paramRequest, paramMemo,
		},
	},
	{
		Name: atm.OrderCreate, Once: true,
		Help: "Gives a standing order: an amount goes to another account on each due date. Tells " +
			"the id of the order.",
		Params: []Param{paramAccount, terms(
			"to, the account that is paid; amount; every, which is day, week or month; on, a day "+
				"of the month or of the week; at, a time such as 06:30, midnight when left out; "+
				"zone, that of the account when left out; from and until, days such as "+
				"2026-12-31; memo.",
			map[string][]atm.Kind{
				"to": paramAccount.Kinds, "amount": paramAmount.Kinds, "every": words,
				"on": {atm.Int, atm.String}, "at": words, "zone": words, "from": words,
				"until": words, atm.MemoArg: words,
			}, member("to", "200"), member("amount", "25.00"), member("every", "month"),
			member("on", "1"))},
	},
	{
		Name:       atm.OrderList,
		Help:       "Lists the standing orders of an account that go on.",
		Params:     []Param{paramAccount},
		Structured: true, Result: []atm.Record{resultOrder},
		answer: atMost(agreementsMost * recordBytes),
	},
	{
		Name:       atm.OrderShow,
		Help:       "Tells what is known of a standing order, and how its newest payment went.",
		Params:     []Param{paramOrder},
		Structured: true, Result: resultOrder,
	},
	{
		Name:   atm.OrderCancel,
		Help:   "Ends a standing order: it pays nothing more.",
		Params: []Param{paramOrder},
	},
	{
		Name: atm.Notify,
		Help: "Leaves a notice for the owner of an account, by a creditor that has a mandate on " +
			"it, by a service under a grant, or by a teller.",
		Params: []Param{
			paramAccount,
			{
				Name: "text", Kinds: words, Example: text("Your tax return has been filed."),
				Help: "At most 140 characters and 256 bytes, without control and direction " +
					"characters.",
			},
			paramRequest,
		},
	},
	{
		Name: atm.Notices,
		Help: "Lists the notices on an account, the newest first.",
		Params: []Param{paramAccount, {
			Name: "page", Kinds: []atm.Kind{atm.Struct}, Optional: true,
			Help: "limit, 1 to 500, 50 when left out; cursor, next of the page before.",
		}},
		Structured: true, Result: resultNotices,
		answer: rows(recordBytes, 1),
	},
}
