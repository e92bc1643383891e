package forms

import (
	"net/url"

	"example.com/atm"
)

// Holds is the list of pending holds.
var Holds = List{
	Path: "holds", Title: "Holds", Op: atm.HoldList, Member: "holds", Args: pageAnd,
	Filters: []Field{{Name: "account", Label: "Account", Kind: Account, Optional: true}},
	Columns: []Column{
		{"hold", "Hold", Plain},
		{"account", "Account", toAccount},
		{"amount", "Amount", Money},
		{"expires", "Ends", Moment},
	},
	Empty: "No money is held. Authorizing a payment holds some: " +
		"atmclient SERVER PORT authorize ACCOUNT AMOUNT",
	Same: "atmctl hold list",
	Rows: []RowAct{
		{Label: "Capture", Path: "holds/capture", Gives: map[string]string{"hold": "hold"}},
		{Label: "Release", Path: "holds/release", Gives: map[string]string{"hold": "hold"}},
	},
}

var grantList = List{
	Path: "grants", Title: "Grants", Op: atm.GrantList, Member: "grants", Args: pageAnd,
	Filters: []Field{{Name: "account", Label: "Account", Kind: Account, Optional: true}},
	Columns: []Column{
		{"grant", "Grant", Code},
		{"grantor", "From", Plain},
		{"grantee", "To", Plain},
		{"accounts", "Accounts", Plain},
		{"operations", "For", Plain},
		{"cap", "In all", Money},
		{"spent", "Spent", Money},
		{"expires", "Ends", Moment},
		{"revoked", "Revoked", Plain},
	},
	Empty: "No grant is in force. A grant lets somebody else act on an account of yours, up " +
		"to a total and for a time.",
	Same:  "atmctl grant list",
	Above: []string{"grants/give"},
	Rows: []RowAct{{
		Label: "Take back", Path: "grants/revoke", Gives: map[string]string{"grant": "grant"},
		When: notRevoked,
	}},
}

func notRevoked(row atm.Record) bool { return row.Get("revoked") != true }

var holdActions = []Action{{
	Path: "holds/capture", Title: "Capture a hold", Button: "Capture", Op: atm.Capture,
	Back: "holds",
	Fields: []Field{
		{Name: "hold", Label: "Hold", Kind: Given},
		{
			Name: "amount", Label: "Amount in dollars", Kind: Amount, Optional: true,
			Hint: "all of it when left empty",
		},
		{Name: "request_id", Fixed: noValue},
		memoField,
	},
	Line: func(b Bank, f url.Values) string {
		what := "all of it"
		if f.Get("amount") != "" {
			what = DollarsOf(f.Get("amount")) + ", and free the rest"
		}
		if f.Get("memo") != "" {
			what += ", for “" + f.Get("memo") + "”"
		}
		return "Capture " + holdWords(b, f.Get("hold")) + ": take " + what + "."
	},
	Same: func(f url.Values) []string {
		words := []string{"atmclient", "SERVER", "PORT", "capture", f.Get("hold")}
		if f.Get("amount") != "" {
			words = append(words, f.Get("amount"))
		}
		if f.Get("memo") != "" {
			words = append(words, "--memo", f.Get("memo"))
		}
		return words
	},
}, {
	Path: "holds/release", Title: "Release a hold", Button: "Release", Op: atm.Release,
	Back:   "holds",
	Fields: []Field{{Name: "hold", Label: "Hold", Kind: Given}},
	Line: func(b Bank, f url.Values) string {
		return "Release " + holdWords(b, f.Get("hold")) + ": the money can be used again, and " +
			"the hold can no longer be captured."
	},
	Same: func(f url.Values) []string {
		return []string{"atmclient", "SERVER", "PORT", "release", f.Get("hold")}
	},
}, {
	Path: "grants/give", Title: "Give a grant", Button: "Give", Op: atm.GrantCreate,
	Back: "grants", Once: "the token",
	Fields: []Field{
		{Name: "account", Label: "Account", Kind: Account},
		{
			Name: "operations", Label: "Operations", Kind: Choices,
			Options: []string{"inquiry", "deposit", "withdraw", "transfer", "authorize"},
		},
		{Name: "cap", Label: "Dollars in all", Kind: Amount},
		{Name: "to", Label: "To", Kind: Subject, Hint: "user:NAME or service:NAME"},
		{
			Name: "seconds", Label: "Seconds", Kind: Count, Optional: true,
			Hint: "1 to 3600; 300 when left empty",
		},
	},
	Line: func(_ Bank, f url.Values) string {
		life := f.Get("seconds")
		if life == "" {
			life = "300"
		}
		return "Let " + f.Get("to") + " use account " + f.Get("account") + " for " +
			f.Get("operations") + ", up to " + DollarsOf(f.Get("cap")) + " in all, for " +
			life + " seconds."
	},
	Same: func(f url.Values) []string {
		words := []string{"atmctl", "grant", "create", "--account", f.Get("account")}
		words = append(words, repeated("--operation", f.Get("operations"))...)
		words = append(words, "--cap", f.Get("cap"), "--to", f.Get("to"))
		if f.Get("seconds") != "" {
			words = append(words, "--ttl", f.Get("seconds")+"s")
		}
		return append(words, "--out", "FILE")
	},
}, {
	Path: "grants/revoke", Title: "Take a grant back", Button: "Take back",
	Op: atm.GrantRevoke, Back: "grants",
	Fields: []Field{{Name: "grant", Label: "Grant", Kind: Given}},
	Line: func(_ Bank, f url.Values) string {
		return "Take grant " + f.Get("grant") + " back: its token counts no longer, on open " +
			"connections too. A new grant has to be given in its place."
	},
	Same: func(f url.Values) []string {
		return []string{"atmctl", "grant", "revoke", f.Get("grant")}
	},
}}

// holdWords names a hold, with what it is of if the caller may know that.
func holdWords(b Bank, hold string) string {
	record := b.Look(atm.HoldShow, hold)
	if record == nil {
		return "hold " + hold
	}
	return "hold " + hold + " of " + Money(record.Get("amount")).Text + " on account " +
		Plain(record.Get("account")).Text
}
