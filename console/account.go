package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/intention"
	"example.com/atm/console/internal/statement"
)

const (
	lastMovements = 10                   // on the page of an account
	lastNotices   = 3                    // likewise
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
	Feed     bool // the caller may subscribe
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
		Auditor: v.cfg.Bank.MayReadAudit(v.caller), Feed: v.may(atm.FeedAdd),
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

func isAccount(number string) bool {
	_, ok := atm.ParseAccountID(number)
	return ok
}

type accountPage struct {
	Number    string
	Holder    string // "" when it is not known, or not for the caller
	Balance   atm.Amount
	Held      atm.Amount // by holds
	Available atm.Amount
	Movements []statement.Movement
	Chart     statement.Chart
	Quick     []string // amounts in dollars
	Request   string   // id of the next intention
	Moves     bool     // the caller may move money of this account
	Holds     []heldRow
	Grants    bool // the caller may give grants
	Tables    []table
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
	if err == nil {
		page.Holder, err = v.cfg.Bank.Holder(v.r.Context(), v.caller, number)
	}
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
	record := v.Look(atm.AccountShow, number)
	if record == nil && v.cfg.Bank.Reach(v.caller, atm.Notify) == atm.Everywhere {
		record = atm.Record{{Name: "account", Value: number}}
	}
	if record != nil {
		page.Acts = rowActs(v, &forms.Accounts, record, nil)
	}
	page.Acts = append(page.Acts, offered(v, []string{"feed/add"}, number)...)
	if page.Tables, ok = v.agreed(number); !ok {
		return
	}
	v.offerReversals(number, page.Movements)
	v.show(http.StatusOK, "account.html", "Account "+number,
		"atmclient SERVER PORT statement "+number, page)
}

// agreed are the mandates and the standing orders of an account, and its newest notices.
func (v *visit) agreed(number string) (tables []table, ok bool) {
	mandates, orders, err := v.cfg.Bank.Agreed(v.r.Context(), v.caller, number)
	if err != nil {
		unreadable(v, err)
		return nil, false
	}
	query := url.Values{"account": {number}}
	for _, l := range []struct {
		*forms.List
		some bool
	}{{&forms.Mandates, mandates}, {&forms.Orders, orders}, {&forms.Notices, true}} {
		if !v.may(l.Op) {
			continue
		}
		var rows []atm.Record
		if l.some {
			if rows, _, _, ok = readList(v, l.List, query); !ok {
				return nil, false
			}
		}
		all := ""
		if l.Op == atm.Notices && len(rows) > lastNotices {
			rows, all = rows[:lastNotices], Prefix+l.Path+"?"+query.Encode()
		}
		t := newTable(v, l.List, rows, query)
		if t.All = all; l.Op == atm.Notices {
			t.Above = nil // owners need no notices of their own, and tellers have a link below
		}
		tables = append(tables, t)
	}
	return tables, true
}

// offerReversals gives each movement of an account of which the caller may give money back the
// form for it, filled in with what is left.
func (v *visit) offerReversals(number string, movements []statement.Movement) {
	everything := v.cfg.Bank.Reach(v.caller, atm.Reverse) == atm.Everywhere
	for i := range movements {
		m := &movements[i]
		if left := m.Left(everything); left > 0 && v.may(atm.Reverse) {
			m.Undo, m.UndoLabel = undoLink(everything, url.Values{
				"index": {strconv.FormatInt(m.Index, 10)}, "amount": {left.String()},
				forms.FromAccount: {number},
			})
		}
	}
}

// undoLink leads to the form that gives money back, with these fields filled in.
func undoLink(everything bool, given url.Values) (path, label string) {
	if label = "Give back"; everything {
		label = "Reverse"
	}
	return Prefix + "reverse?" + given.Encode(), label
}

type reviewPage struct {
	intention.Intention
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
	i, problem := intention.Read(number, v.r.URL.Query())
	if problem != "" {
		v.show(http.StatusUnprocessableEntity, "review.html", "Account "+number, "",
			reviewPage{Intention: i, Problem: problem})
		return
	}
	v.reviewed(http.StatusOK, i, "")
}

// reviewed shows an intention; notDone says why it did not happen when it was sent before.
func (v *visit) reviewed(code int, i intention.Intention, notDone string) {
	status, ok := v.do(atm.Inquiry, text(i.Account))
	if !ok {
		return
	}
	page := reviewPage{Intention: i, NotDone: notDone, Confirm: v.confirmation(i.Call())}
	if status.Code == atm.OK {
		written, _ := status.Result.(string)
		before := forms.ParseSigned(written)
		held, _, err := v.cfg.Bank.Held(v.r.Context(), v.caller, i.Account)
		if err != nil {
			unreadable(v, err)
			return
		}
		page.Known, page.After, page.Available = true, before+i.Change(), before-held
		page.Short = i.Change() < 0 && page.Available+i.Change() < 0
	}
	v.show(code, "review.html", "Account "+i.Account, i.Command(), page)
}

// act carries an intention out, and leads to its slip. The same intention again leads to the
// same slip.
func act(v *visit, number string) {
	i, problem := intention.Read(number, v.r.PostForm)
	if problem != "" {
		v.show(http.StatusUnprocessableEntity, "review.html", "Account "+number, "",
			reviewPage{Intention: i, Problem: problem})
		return
	}
	begun := time.Now()
	call := i.Call()
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
