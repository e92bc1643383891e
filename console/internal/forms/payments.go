package forms

import (
	"net/url"
	"strings"

	"example.com/atm"
)

// ofAccount asks for the account that a list is of.
var ofAccount = []Field{{Name: "account", Label: "Account", Kind: Account}}

// byAccount are the arguments of an operation that lists what an account has.
func byAccount(_ *List, query url.Values) []atm.Arg {
	return []atm.Arg{text(strings.TrimSpace(query.Get("account")))}
}

// Mandates is the list of the mandates on an account.
var Mandates = List{
	Path: "mandates", Title: "Mandates", Op: atm.MandateList, Args: byAccount, Filters: ofAccount,
	For: "A mandate lets somebody collect from the account when they choose to, up to what it " +
		"says.",
	Columns: []Column{
		{"mandate", "Mandate", Plain},
		{"creditor", "For", Plain},
		{"", "At most", mostOf},
		{"", "Spent", spentOf},
		{"from", "Begins", Moment},
		{"until", "Ends", Moment},
		{"memo", "Memo", Words},
	},
	Empty: "Nobody has a mandate on this account.",
	Same:  "atmclient SERVER PORT mandate list",
	Above: []string{"mandates/give"},
	Rows: []RowAct{{
		Label: "Revoke", Path: "mandates/revoke", Gives: map[string]string{"mandate": "mandate"},
		From: "account",
	}},
}

// mostOf shows what may be collected by a mandate.
func mostOf(value any) Cell {
	row, _ := value.(atm.Record)
	return Cell{Text: bounds(Plain(row.Get("each")).Text, Plain(row.Get("total")).Text,
		Plain(row.Get("period")).Text)}
}

// bounds are those of a mandate: one of them or both.
func bounds(each, total, period string) string {
	var words []string
	if each != "" {
		words = append(words, DollarsOf(each)+" at once")
	}
	if total != "" {
		words = append(words, DollarsOf(total)+" a "+period)
	}
	return strings.Join(words, ", ")
}

// spentOf shows what was collected in this period by a mandate that counts it.
func spentOf(value any) Cell {
	row, _ := value.(atm.Record)
	period := Plain(row.Get("period")).Text
	if period == "" {
		return Cell{}
	}
	return Cell{Text: Money(row.Get("spent")).Text + " this " + period}
}

// Orders is the list of the standing orders of an account.
var Orders = List{
	Path: "orders", Title: "Standing orders", Op: atm.OrderList, Args: byAccount,
	Filters: ofAccount,
	For:     "A standing order pays the same amount from the account again and again.",
	Columns: []Column{
		{"order", "Order", Plain},
		{"to", "To", Plain},
		{"amount", "Amount", Money},
		{"", "When", dueOf},
		{"next", "Next", Moment},
		{"", "State", stateOf},
		{"memo", "Memo", Words},
	},
	Empty: "No standing order pays from this account.",
	Same:  "atmclient SERVER PORT order list",
	Above: []string{"orders/give"},
	Rows: []RowAct{{
		Label: "Cancel", Path: "orders/cancel", Gives: map[string]string{"order": "order"},
		From: "account",
	}},
}

// dueOf shows on which days a standing order pays.
func dueOf(value any) Cell {
	row, _ := value.(atm.Record)
	get := func(name string) string { return Plain(row.Get(name)).Text }
	return Cell{Text: upper(due(get("every"), get("on"), get("at"), get("zone"), "",
		get("until")))}
}

// due says when a standing order pays. What is empty is left out.
func due(every, on, at, zone, from, until string) string {
	words := dueDays(every, on)
	if at != "" {
		words += " at " + at
	}
	if zone != "" {
		words += " in " + zone
	}
	return words + between(from, until)
}

// between says from which day to which one.
func between(from, until string) string {
	words := ""
	if from != "" {
		words += " from " + dayInWords(from)
	}
	if until != "" {
		words += " until " + dayInWords(until)
	}
	return words
}

// stateOf shows whether a standing order goes on, and how its last payment went.
func stateOf(value any) Cell {
	row, _ := value.(atm.Record)
	state := Plain(row.Get("state")).Text
	if state == "waiting" {
		state = "waiting for money"
	}
	switch outcome := Plain(row.Get("outcome")).Text; outcome {
	case "":
		return Cell{Text: state}
	case string(atm.OK):
		return Cell{Text: state + ", paid last time"}
	default:
		return Cell{Text: state + ", last time refused: " + outcome}
	}
}

// Notices is the list of the notices on an account, the newest first.
var Notices = List{
	Path: "notices", Title: "Notices", Op: atm.Notices, Member: "entries",
	Filters: ofAccount,
	Args: func(l *List, query url.Values) []atm.Arg {
		page := atm.Arg{
			Kind: atm.Struct, Members: []atm.Member{{Name: "limit", Arg: limit}},
		}
		if cursor := query.Get("cursor"); cursor != "" {
			page.Members = append(page.Members, atm.Member{Name: "cursor", Arg: text(cursor)})
		}
		return append(byAccount(l, query), page)
	},
	Columns: []Column{
		{"time", "Time", Moment},
		{"by", "From", Plain},
		{"text", "Notice", Words},
		{"index", "Slip", toSlip},
	},
	Empty: "There is no notice. Tellers leave some, and services that you let use your account.",
	Same:  "atmclient SERVER PORT notices",
	Above: []string{"notices/leave"},
}

var memoField = Field{
	Name: "memo", Label: "Memo", Kind: Memo, Optional: true,
	Hint: "what it is for, on the statement",
}

// memberOf makes fields members of the terms of an operation.
func memberOf(parameter string, fields ...Field) []Field {
	for i := range fields {
		fields[i].In = parameter
	}
	return fields
}

var periods = []string{"month", "week", "day"}

var paymentActions = []Action{{
	Path: "reverse", Title: "Give money back", Button: "Give back", Op: atm.Reverse,
	Back: ToAccount,
	Fields: []Field{
		{Name: "index", Label: "Entry", Kind: Given},
		{
			Name: "amount", Label: "Amount in dollars", Kind: Amount, Optional: true,
			Hint: "all that is left of it when left empty",
		},
		{Name: "request_id", Fixed: noValue},
		memoField,
	},
	Line: func(b Bank, f url.Values) string {
		what := "all that has not been given back"
		if f.Get("amount") != "" {
			what = DollarsOf(f.Get("amount"))
		}
		moved := b.Moved(f.Get("index"))
		if moved == "" {
			moved = "what it moved"
		}
		return "Give back " + what + " of entry " + f.Get("index") + ", " + moved + noted(f) +
			". It goes back where it came from, and cannot be reversed again."
	},
	Same: func(f url.Values) []string {
		words := []string{"atmclient", "SERVER", "PORT", "reverse", f.Get("index")}
		if f.Get("amount") != "" {
			words = append(words, f.Get("amount"))
		}
		return append(words, flags(f, "memo")...)
	},
}, {
	Path: "mandates/give", Title: "Give a mandate", Button: "Give", Op: atm.MandateCreate,
	Back: ToAccount,
	Fields: append([]Field{{Name: "account", Label: "Account", Kind: Account}}, memberOf("terms",
		Field{
			Name: "creditor", Label: "Who may collect", Kind: Subject,
			Hint: "user:NAME or service:NAME",
		},
		Field{Name: "each", Label: "Dollars at once", Kind: Amount, Optional: true},
		Field{Name: "total", Label: "Dollars in a period", Kind: Amount, Optional: true},
		Field{
			Name: "period", Label: "Period", Kind: Choice, Options: periods, Optional: true,
			Hint: "by the calendar of the account",
		},
		Field{
			Name: "from", Label: "First day", Kind: Date, Optional: true,
			Hint: "today when left empty",
		},
		Field{
			Name: "until", Label: "Last day", Kind: Date, Optional: true,
			Hint: "until you revoke it when left empty",
		}, memoField)...),
	Also: checkBounds,
	Line: func(_ Bank, f url.Values) string {
		end := "It goes on until it is revoked."
		if f.Get("until") != "" {
			end = "It can be revoked before."
		}
		if f.Get("total") == "" {
			end = "There is no bound in all. " + end
		}
		return "Let " + f.Get("creditor") + " collect from account " + f.Get("account") +
			" without asking again: at most " + bounds(f.Get("each"), f.Get("total"),
			f.Get("period")) + between(f.Get("from"), f.Get("until")) + noted(f) + ". " + end
	},
	Same: func(f url.Values) []string {
		return append([]string{
			"atmclient", "SERVER", "PORT", "mandate", "create",
			f.Get("account"),
		},
			flags(f, "creditor", "each", "total", "period", "from", "until", "memo")...)
	},
}, {
	Path: "mandates/revoke", Title: "Revoke a mandate", Button: "Revoke", Op: atm.MandateRevoke,
	Back: ToAccount, Fields: []Field{{Name: "mandate", Label: "Mandate", Kind: Given}},
	Line: func(b Bank, f url.Values) string {
		return "Revoke " + mandateWords(b, f) + ": from now on nothing is collected by it."
	},
	Same: func(f url.Values) []string {
		return []string{"atmclient", "SERVER", "PORT", "mandate", "revoke", f.Get("mandate")}
	},
}, {
	Path: "orders/give", Title: "Give a standing order", Button: "Give", Op: atm.OrderCreate,
	Back: ToAccount,
	Fields: append([]Field{{Name: "account", Label: "From account", Kind: Account}}, memberOf(
		"terms",
		Field{Name: "to", Label: "To account", Kind: Account},
		Field{Name: "amount", Label: "Amount in dollars", Kind: Amount, Hint: "each time"},
		Field{Name: "every", Label: "Every", Kind: Choice, Options: periods},
		Field{
			Name: "on", Label: "On", Kind: DueDay, Optional: true,
			Hint: "a day of the month, where 31 is the last one, or of the week, such as Monday",
		},
		Field{
			Name: "at", Label: "At", Kind: Clock, Optional: true,
			Hint: "midnight when left empty",
		},
		Field{
			Name: "zone", Label: "Time zone", Kind: Zone, Optional: true,
			Hint: "such as Europe/Zurich; that of the account when left empty",
		},
		Field{
			Name: "from", Label: "First day", Kind: Date, Optional: true,
			Hint: "the next due date when left empty",
		},
		Field{
			Name: "until", Label: "Last day", Kind: Date, Optional: true,
			Hint: "until you cancel it when left empty",
		}, memoField)...),
	Also: checkSchedule,
	Line: func(_ Bank, f url.Values) string {
		end := "It goes on until it is cancelled."
		if f.Get("until") != "" {
			end = "It can be cancelled before."
		}
		return "Pay " + DollarsOf(f.Get("amount")) + " from account " + f.Get("account") +
			" to account " + f.Get("to") + " " + due(f.Get("every"), f.Get("on"), f.Get("at"),
			f.Get("zone"), f.Get("from"), f.Get("until")) + noted(f) + ". " + end
	},
	Same: func(f url.Values) []string {
		return append([]string{
			"atmclient", "SERVER", "PORT", "order", "create",
			f.Get("account"),
		}, flags(f, "to", "amount", "every", "on", "at", "zone", "from",
			"until", "memo")...)
	},
}, {
	Path: "orders/cancel", Title: "Cancel a standing order", Button: "Cancel the order",
	Op: atm.OrderCancel, Back: ToAccount,
	Fields: []Field{{Name: "order", Label: "Order", Kind: Given}},
	Line: func(b Bank, f url.Values) string {
		return "Cancel " + orderWords(b, f.Get("order")) + ": nothing more is paid by it."
	},
	Same: func(f url.Values) []string {
		return []string{"atmclient", "SERVER", "PORT", "order", "cancel", f.Get("order")}
	},
}, {
	Path: "notices/leave", Title: "Leave a notice", Button: "Leave", Op: atm.Notify,
	Back: ToAccount,
	Fields: []Field{
		{Name: "account", Label: "Account", Kind: Account},
		{
			Name: "text", Label: "Notice", Kind: Memo,
			Hint: "at most 140 characters, which stay in the audit log",
		},
	},
	Line: func(_ Bank, f url.Values) string {
		return "Leave this notice for the owner of account " + f.Get("account") + ": “" +
			f.Get("text") + "”. It cannot be taken back."
	},
	Same: func(f url.Values) []string {
		return []string{"atmclient", "SERVER", "PORT", "note", f.Get("account"), f.Get("text")}
	},
}}

// noted is the memo of what a page says before it happens.
func noted(f url.Values) string {
	if f.Get("memo") == "" {
		return ""
	}
	return ", for “" + f.Get("memo") + "”"
}

// checkBounds finds what is wrong with the terms of a mandate as a whole.
func checkBounds(f url.Values, problems map[string]string) {
	problem := func(field, says string) {
		if problems[field] == "" {
			problems[field] = says
		}
	}
	switch {
	case f.Get("each") == "" && f.Get("total") == "":
		problem("each", "Say how much may be collected at once, or in a period, or both.")
	case f.Get("total") != "" && f.Get("period") == "":
		problem("period", "Say in which period this is the total.")
	case f.Get("total") == "" && f.Get("period") != "":
		problem("total", "Say how much may be collected in a "+f.Get("period")+".")
	}
	checkDays(f, problem)
}

// checkSchedule finds what is wrong with the days of a standing order as a whole.
func checkSchedule(f url.Values, problems map[string]string) {
	problem := func(field, says string) {
		if problems[field] == "" {
			problems[field] = says
		}
	}
	if says := checkDueDay(f.Get("every"), f.Get("on")); says != "" {
		problem("on", says)
	}
	if f.Get("to") != "" && f.Get("to") == f.Get("account") {
		problem("to", "The money is on that account already. Choose another one.")
	}
	checkDays(f, problem)
}

func checkDays(f url.Values, problem func(field, says string)) {
	if from, until := f.Get("from"), f.Get("until"); from != "" && until != "" && until < from {
		problem("until", "The last day is before the first one.")
	}
}

// mandateWords names a mandate of the account whose page led here, with whose it is if the caller
// may know that.
func mandateWords(b Bank, f url.Values) string {
	id := f.Get("mandate")
	if number := f.Get(FromAccount); number != "" {
		for _, row := range b.Rows(atm.MandateList, number) {
			if Plain(row.Get("mandate")).Text == id {
				return "mandate " + id + " of " + Plain(row.Get("creditor")).Text +
					" on account " + number + ", at most " + mostOf(row).Text
			}
		}
	}
	return "mandate " + id
}

// orderWords names a standing order, with what it pays if the caller may know that.
func orderWords(b Bank, id string) string {
	row := b.Look(atm.OrderShow, id)
	if row == nil {
		return "standing order " + id
	}
	get := func(name string) string { return Plain(row.Get(name)).Text }
	return "standing order " + id + " of " + Money(row.Get("amount")).Text + " from account " +
		get("account") + " to account " + get("to") + " " +
		dueDays(get("every"), get("on"))
}
