package forms

import (
	"net/url"
	"strconv"
	"strings"

	"example.com/atm"
)

// Accounts is the list of accounts.
var Accounts = List{
	Path: "admin/accounts", Title: "Accounts", Op: atm.AccountList, Member: "accounts",
	Args: pageFiltered,
	Filters: []Field{
		{Name: "owner", Label: "Owner", Kind: Subject, Optional: true, Hint: "user:NAME"},
		{
			Name: "standing", Label: "Standing", Kind: Choice, Optional: true,
			Options: []string{"open", "frozen", "closed"},
		},
	},
	Columns: []Column{
		{"account", "Account", toAccount},
		{"owner", "Owner", Plain},
		{"name", "Holder", Plain},
		{"standing", "Standing", Plain},
		{"balance", "Balance", Money},
		{"held", "Held", Money},
		{"limits", "Limits", limitsOf},
	},
	Empty: "No account fits. Open one, or leave a field empty and show them again.",
	Same:  "atmctl account list",
	Above: []string{"admin/accounts/open"},
	Rows: []RowAct{
		{Label: "Freeze", Path: "admin/accounts/freeze", Gives: thisAccount, When: isOpen},
		{
			Label: "Unfreeze", Path: "admin/accounts/unfreeze", Gives: thisAccount,
			When: func(row atm.Record) bool { return row.Get("standing") == "frozen" },
		},
		{Label: "Limit", Path: "admin/accounts/limit", Gives: thisAccount, When: notClosed},
		{Label: "Owner", Path: "admin/accounts/set", Gives: thisAccount, When: notClosed},
		{Label: "Close", Path: "admin/accounts/close", Gives: thisAccount, When: notClosed},
		{Label: "Leave a notice", Path: "notices/leave", Gives: thisAccount, When: notClosed},
	},
}

var thisAccount = map[string]string{"account": "account"}

func isOpen(row atm.Record) bool { return row.Get("standing") == "open" }

func notClosed(row atm.Record) bool { return row.Get("standing") != "closed" }

// limitsOf writes the limits of an account that has some.
func limitsOf(value any) Cell {
	record, _ := value.(atm.Record)
	var words []string
	for _, l := range []struct{ name, says string }{
		{"per_operation", " at once"}, {"daily_amount", " a day"},
	} {
		if amount, _ := record.Get(l.name).(string); amount != "" {
			words = append(words, DollarsOf(amount)+l.says)
		}
	}
	if count, limited := record.Get("daily_count").(int64); limited {
		words = append(words, strconv.FormatInt(count, 10)+" times a day")
	}
	return Cell{Text: strings.Join(words, ", ")}
}

// actOnAccount is an action on an account that needs no more to be said.
func actOnAccount(name, button string, op atm.Operation, says string) Action {
	return Action{
		Path: "admin/accounts/" + name, Title: button + " an account", Button: button, Op: op,
		Back:   "admin/accounts",
		Fields: []Field{{Name: "account", Label: "Account", Kind: Given}},
		Line: func(b Bank, f url.Values) string {
			return button + " " + accountWords(b, f.Get("account")) + says
		},
		Same: func(f url.Values) []string {
			return []string{"atmctl", "account", name, f.Get("account")}
		},
	}
}

var accountActions = []Action{
	{
		Path: "admin/accounts/open", Title: "Open an account", Button: "Open",
		Op: atm.AccountOpen, Back: "admin/accounts",
		Fields: []Field{
			{Name: "account", Label: "Account number", Kind: Account},
			{
				Name: "owner", Label: "Owner", Kind: Subject, Optional: true,
				Hint: "user:NAME or service:NAME",
			},
			{Name: "opening", Label: "Opening balance in dollars", Kind: Amount, Optional: true},
			{Name: "name", Label: "Name of the holder", Optional: true},
		},
		Line: func(_ Bank, f url.Values) string {
			line := "Open account " + f.Get("account")
			if owner := f.Get("owner"); owner != "" {
				line += " of " + owner
			}
			if name := f.Get("name"); name != "" {
				line += ", held by " + name
			}
			opening := f.Get("opening")
			if opening == "" {
				return line + ", with nothing in it."
			}
			return line + ", with " + DollarsOf(opening) + " posted from equity."
		},
		Same: func(f url.Values) []string {
			return append([]string{"atmctl", "account", "open", f.Get("account")},
				flags(f, "owner", "opening", "name")...)
		},
	},
	actOnAccount("freeze", "Freeze", atm.AccountFreeze,
		": no money leaves it or arrives until it is unfrozen."),
	actOnAccount("unfreeze", "Unfreeze", atm.AccountUnfreeze, ": it can be used again."),
	actOnAccount("close", "Close", atm.AccountClose,
		" for good. Its number is not used again. Only an empty account can be closed."),
	{
		Path: "admin/accounts/limit", Title: "Limit an account", Button: "Limit",
		Op: atm.AccountLimit, Back: "admin/accounts",
		Fields: []Field{
			{Name: "account", Label: "Account", Kind: Given},
			{
				Name: "per_operation", Label: "Dollars at once", Kind: Limitation, Optional: true,
				Hint: "none lifts the limit; left empty, it stays",
			},
			{Name: "daily_amount", Label: "Dollars a day", Kind: Limitation, Optional: true},
			{Name: "daily_count", Label: "Times a day", Kind: Count, Optional: true},
			{
				Name: "zone", Label: "Time zone of the day", Optional: true,
				Hint: "such as Europe/Zurich; UTC otherwise",
			},
			{Name: "mode", Fixed: "change"},
		},
		Now: func(b Bank, f url.Values) string {
			record := b.Look(atm.AccountShow, f.Get("account"))
			if record == nil {
				return ""
			}
			limits := limitsOf(record.Get("limits")).Text
			if limits == "" {
				return "No limit is in force."
			}
			return "In force: " + limits + "."
		},
		Line: func(b Bank, f url.Values) string {
			line := "Limit what may leave " + accountWords(b, f.Get("account")) + ":"
			for _, l := range []struct{ name, says string }{
				{"per_operation", "dollars at once"},
				{"daily_amount", "dollars a day"},
				{"daily_count", "times a day"},
				{"zone", "time zone"},
			} {
				if value := f.Get(l.name); value != "" {
					line += " " + l.says + " " + value + ","
				}
			}
			return line + " everything else as before."
		},
		Same: func(f url.Values) []string {
			words := []string{"atmctl", "account", "limit", f.Get("account")}
			for _, name := range []string{"per-operation", "daily-amount", "daily-count", "zone"} {
				if f.Get(strings.ReplaceAll(name, "-", "_")) == "none" {
					words = append(words, "--no-"+name)
				} else {
					words = append(words, flags(f, name)...)
				}
			}
			return words
		},
	},
	{
		Path: "admin/accounts/set", Title: "Give an account another owner", Button: "Change",
		Op: atm.AccountSet, Back: "admin/accounts",
		Fields: []Field{
			{Name: "account", Label: "Account", Kind: Given},
			{
				Name: "owner", Label: "Owner", Kind: Subject, Optional: true,
				Hint: "left empty, it stays",
			},
			{Name: "name", Label: "Name of the holder", Optional: true},
		},
		Line: func(b Bank, f url.Values) string {
			line := "Change " + accountWords(b, f.Get("account")) + ":"
			if owner := f.Get("owner"); owner != "" {
				line += " its owner is " + owner + ", and nobody else may use it as a customer."
			}
			if name := f.Get("name"); name != "" {
				line += " its holder is called " + name + "."
			}
			return line
		},
		Same: func(f url.Values) []string {
			return append([]string{"atmctl", "account", "set", f.Get("account")},
				flags(f, "owner", "name")...)
		},
	},
}

// accountWords names an account, with whose it is and what is in it if the caller may know.
func accountWords(b Bank, number string) string {
	words := "account " + number
	record := b.Look(atm.AccountShow, number)
	if record == nil {
		return words
	}
	if owner := Plain(record.Get("owner")).Text; owner != "" {
		words += " of " + owner
	}
	return words + ", which holds " + Money(record.Get("balance")).Text
}
