package console

import (
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/statement"
	"example.com/atm/teller"
)

const (
	lastMovements = 10                   // on the page of an account
	maxMovements  = 500                  // of which the chart is made, and on a page of a statement
	statementRows = 50                   // on a page of a statement
	slipPath      = Prefix + "slips/"    // of the slip of an entry
	accountPath   = Prefix + "accounts/" // of the page of an account
)

func text(s string) atm.Arg { return atm.Arg{Kind: atm.String, Text: s} }

func number(n int) atm.Arg { return atm.Arg{Kind: atm.Int, Text: strconv.Itoa(n)} }

// rangeOf is a struct of a limit and of pairs of a name and a value, without empty values.
func rangeOf(limit int, pairs ...string) atm.Arg {
	arg := atm.Arg{
		Kind: atm.Struct, Members: []atm.Member{{Name: "limit", Arg: number(limit)}},
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			arg.Members = append(arg.Members, atm.Member{Name: pairs[i], Arg: text(pairs[i+1])})
		}
	}
	return arg
}

type homePage struct {
	Accounts []string
	More     bool // there may be other accounts
	Moves    bool // the caller may move money
	Desk     bool // the caller sees every account
	Auditor  bool // the caller reads the audit log
	Number   string
	Problem  string // with the number
}

// showHome shows what the caller can do here.
func showHome(v *visit) { showHomeWith(v, http.StatusOK, "", "") }

// showHomeWith shows what the caller can do here, with a number that was typed and what is wrong
// with it.
func showHomeWith(v *visit, code int, number, problem string) {
	page := homePage{
		Number: number, Problem: problem,
		Moves:   v.caller.Has(atm.Customer) || v.caller.Has(atm.Teller),
		Desk:    v.caller.Has(atm.Teller) || v.caller.Has(atm.Auditor),
		Auditor: v.cfg.Bank.MayReadAudit(v.caller),
	}
	if v.caller.Has(atm.Customer) {
		var err error
		if page.Accounts, page.More, err = v.cfg.Bank.Owned(v.r.Context(), v.caller); err != nil {
			v.refuse(http.StatusServiceUnavailable, "The accounts cannot be listed at the moment.")
			return
		}
	}
	v.show(code, "home.html", "ATM", "atmclient SERVER PORT whoami", page)
}

// findAccount leads from a number that was typed to the page of the account.
func findAccount(v *visit) {
	number := strings.TrimSpace(v.r.URL.Query().Get("number"))
	if _, ok := atm.ParseAccountID(number); !ok {
		showHomeWith(v, http.StatusUnprocessableEntity, number,
			"An account number is 1 to 9007199254740991.")
		return
	}
	http.Redirect(v.w, v.r, accountPath+url.PathEscape(number), http.StatusSeeOther)
}

type accountPage struct {
	Number    string
	Balance   atm.Amount
	Held      atm.Amount // by holds
	Available atm.Amount
	Movements []statement.Movement
	Chart     statement.Chart
	Quick     []string // amounts in dollars
	Request   string   // id of the next intention
	Moves     bool     // the caller may move money of this account
	Holds     []heldRow
	Grants    bool   // the caller may give grants
	Acts      []link // what the caller may do to the account itself
}

// A heldRow is a pending hold on an account, with what the caller may do to it.
type heldRow struct {
	ID           string
	Amount, Ends forms.Cell
	Acts         []link
}

// showAccount shows an account: its balance, its last movements, and what can be done.
func showAccount(v *visit, number string) {
	now := time.Now()
	status, ok := v.do(atm.Statement, text(number), rangeOf(maxMovements,
		"from", now.Add(-statement.Span).UTC().Format(time.RFC3339)))
	if !ok {
		return
	}
	if status.Code != atm.OK {
		v.refuse(statusOf(status.Code), status.Reason+".")
		return
	}
	s := statement.Read(status)
	page := accountPage{
		Number: number, Balance: s.Closing, Chart: s.Chart(now),
		Movements: s.Movements[:min(len(s.Movements), lastMovements)],
		Quick:     []string{"20", "40", "60", "100"}, Request: atm.NewUUID(now),
		Moves:  v.caller.Has(atm.Customer) || v.caller.Has(atm.Teller),
		Grants: v.may(atm.GrantCreate),
	}
	held, holds, err := v.cfg.Bank.Held(v.r.Context(), v.caller, number)
	if err != nil {
		unreadable(v, err)
		return
	}
	page.Held, page.Available = held, page.Balance-held
	for _, hold := range holds {
		page.Holds = append(page.Holds, heldRow{
			ID: forms.Plain(hold.Get("hold")).Text, Amount: forms.Money(hold.Get("amount")),
			Ends: forms.Moment(hold.Get("expires")), Acts: rowActs(v, &forms.Holds, hold, nil),
		})
	}
	if record := v.Look(atm.AccountShow, number); record != nil {
		page.Acts = rowActs(v, &forms.Accounts, record, nil)
	}
	v.show(http.StatusOK, "account.html", "Account "+number,
		"atmclient SERVER PORT statement "+number, page)
}

// An intention is an act that a form describes and that has not happened.
type intention struct {
	Act, Account, To string
	Memo             string
	Written          string     // the amount as it was typed
	Amount           atm.Amount // that was understood
	Request          string
}

// intend reads an intention, and says what is wrong with it.
func intend(number string, form url.Values) (i intention, problem string) {
	i = intention{
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
	i.Amount, code = atm.ParseAmount(plainAmount(i.Written))
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
func (i intention) Again() template.URL { // by value, for templates
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

// grouped is an amount as pages show it.
var grouped = regexp.MustCompile(`^[0-9]{1,3}(,[0-9]{3})+(\.[0-9]*)?$`)

// plainAmount is an amount without the dollar sign and the commas that pages show it with.
func plainAmount(written string) string {
	written = strings.TrimPrefix(written, "$")
	if grouped.MatchString(written) {
		written = strings.ReplaceAll(written, ",", "")
	}
	return written
}

func isAccount(number string) bool {
	_, ok := atm.ParseAccountID(number)
	return ok
}

// change is what the act does to the balance of the account.
func (i *intention) change() atm.Amount {
	if i.Act == string(atm.Deposit) {
		return i.Amount
	}
	return -i.Amount
}

type reviewPage struct {
	intention
	Problem   string     // with what was typed
	NotDone   string     // why it did not happen when it was sent
	Confirm   ceremony   // empty for what needs no passkey
	After     atm.Amount // the balance after the act
	Available atm.Amount // before it
	Known     bool       // both are known
	Short     bool       // more leaves than is available
}

// showReview says in one line what an act would do. Nothing happens yet.
func showReview(v *visit, number string) {
	i, problem := intend(number, v.r.URL.Query())
	if problem != "" {
		v.show(http.StatusUnprocessableEntity, "review.html", "Account "+number, "",
			reviewPage{intention: i, Problem: problem})
		return
	}
	v.reviewed(http.StatusOK, i, "")
}

// reviewed shows an intention; notDone says why it did not happen when it was sent before.
func (v *visit) reviewed(code int, i intention, notDone string) {
	status, ok := v.do(atm.Inquiry, text(i.Account))
	if !ok {
		return
	}
	page := reviewPage{intention: i, NotDone: notDone, Confirm: v.confirmation(i.call())}
	if status.Code == atm.OK {
		written, _ := status.Result.(string)
		before := forms.ParseSigned(written)
		held, _, err := v.cfg.Bank.Held(v.r.Context(), v.caller, i.Account)
		if err != nil {
			unreadable(v, err)
			return
		}
		page.Known, page.After, page.Available = true, before+i.change(), before-held
		page.Short = i.change() < 0 && page.Available+i.change() < 0
	}
	v.show(code, "review.html", "Account "+i.Account, i.command(), page)
}

// call is the operation that the intention becomes.
func (i *intention) call() teller.Call {
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

// command is the command line that does the same.
func (i *intention) command() string {
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

// act carries an intention out, and leads to its slip. The same intention again leads to the
// same slip.
func act(v *visit, number string) {
	i, problem := intend(number, v.r.PostForm)
	if problem != "" {
		v.show(http.StatusUnprocessableEntity, "review.html", "Account "+number, "",
			reviewPage{intention: i, Problem: problem})
		return
	}
	begun := time.Now()
	call := i.call()
	status, problem, ok := v.try(call.Operation, call.Request, call.Args...)
	if !ok {
		return
	}
	if status.Code == atm.NotConfirmed {
		v.reviewed(http.StatusForbidden, i, problem)
		return
	}
	index, _, found := strings.Cut(status.Receipt, " ")
	if !found {
		if status.Code != atm.Fault {
			problem += " Send the form again: it has the same request id, so nothing happens twice."
		}
		v.refuse(statusOf(status.Code), problem)
		return
	}
	toSlip(v, index, begun)
}

// toSlip leads to the slip of an act that was asked for at a time. The slip says so if it was
// done before.
func toSlip(v *visit, index string, asked time.Time) {
	to := slipPath + index
	n, err := strconv.ParseInt(index, 10, 64)
	if err == nil {
		slip, err := v.cfg.Bank.Slip(v.r.Context(), v.caller, n)
		if err == nil && slip != nil && slip.Entry.Time.Before(asked) {
			to += "?again=1"
		}
	}
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
}
