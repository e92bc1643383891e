// Package intention reads what the form of a deposit, a withdrawal or a transfer asks for, before
// it happens.
package intention

import (
	"html/template"
	"net/url"
	"strings"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/teller"
)

// An Intention is an act that a form describes and that has not happened.
type Intention struct {
	Act, Account, To string
	Memo             string
	Written          string     // the amount as it was typed
	Amount           atm.Amount // that was understood
	Request          string
}

// Read reads an intention, and says what is wrong with it.
func Read(number string, form url.Values) (i Intention, problem string) {
	i = Intention{
		Act: form.Get("act"), Account: number, To: strings.TrimSpace(form.Get("to")),
		Written: strings.TrimSpace(form.Get("amount")), Request: form.Get("request_id"),
		Memo: strings.TrimSpace(form.Get("memo")),
	}
	for _, field := range []string{"act", "to", "amount", "request_id", "memo"} {
		if len(form[field]) > 1 { // which one was meant?
			return i, "This form has a field twice. Open the page of the account again."
		}
	}
	if i.Request == "" {
		return i, "This form has no request id. Open the page of the account again."
	}
	if i.Act != string(atm.Deposit) && i.Act != string(atm.Withdraw) &&
		i.Act != string(atm.Transfer) {
		return i, "There is no such act."
	}
	var code atm.Code
	i.Amount, code = atm.ParseAmount(forms.PlainAmount(i.Written))
	switch {
	case code == atm.AmountPrecision:
		return i, "An amount has at most two digits after the point."
	case code == atm.AmountTooLarge:
		return i, "An amount is at most " + forms.Dollars(atm.MaxAmount) + "."
	case code != atm.OK:
		return i, "An amount is more than zero, like 12.50."
	case i.Act == string(atm.Transfer) && i.To == "":
		return i, "Say which account the money goes to."
	case i.Act == string(atm.Transfer) && !isAccount(i.To):
		return i, "The number of an account has digits alone."
	case i.Act == string(atm.Transfer) && i.To == i.Account:
		return i, "The money is on that account already. Choose another one."
	case atm.CheckMemo(i.Memo) != nil:
		return i, forms.BadMemo
	}
	return i, ""
}

// Again is the query of the page that says what the intention would do.
func (i Intention) Again() template.URL { // by value, for templates
	again := url.Values{
		"act": {i.Act}, "amount": {i.Amount.String()}, "request_id": {i.Request},
	}
	if i.Act == string(atm.Transfer) {
		again.Set("to", i.To)
	}
	if i.Memo != "" {
		again.Set("memo", i.Memo)
	}
	return template.URL(again.Encode())
}

// Change is what the act does to the balance of the account.
func (i *Intention) Change() atm.Amount {
	if i.Act == string(atm.Deposit) {
		return i.Amount
	}
	return -i.Amount
}

// Call is the operation that the intention becomes.
func (i *Intention) Call() teller.Call {
	args := []atm.Arg{text(i.Account)}
	if i.Act == string(atm.Transfer) {
		args = append(args, text(i.To))
	}
	return teller.Call{
		Operation: atm.Operation(i.Act),
		Args:      append(args, text(i.Amount.String()), atm.Arg{}, text(i.Memo)),
		Request:   i.Request, Once: true,
	}
}

// Command is the command line that does the same.
func (i *Intention) Command() string {
	words := []string{"atmclient", "SERVER", "PORT", i.Act, i.Account}
	if i.Act == string(atm.Transfer) {
		words = append(words, i.To)
	}
	words = append(words, i.Amount.String())
	if i.Memo != "" {
		words = append(words, "--memo", i.Memo)
	}
	return forms.CommandLine(words...)
}

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

func isAccount(number string) bool {
	_, ok := atm.ParseAccountID(number)
	return ok
}
