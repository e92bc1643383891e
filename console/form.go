package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/words"
	"example.com/atm/teller"
)

type formPage struct {
	Action  string // path of the form
	Back    string
	Button  string
	Problem string
	Fields  []forms.Input
	Request string
	Now     string // what is in force while the form is being filled in
	Line    string // what would happen; empty while the form is being filled in
	Confirm ceremony
	From    string // number of the account whose page led here, if no field has it
}

func newForm(v *visit, a *forms.Action, values url.Values, problems map[string]string,
	request string,
) formPage {
	now := ""
	if a.Now != nil {
		now = a.Now(v, values)
	}
	page := formPage{
		Now: now, Action: Prefix + a.Path, Back: backFrom(v, a), Button: a.Button, Request: request,
		Fields: forms.Inputs(ownFields(v, a), values, problems),
		From:   values.Get(forms.FromAccount),
	}
	if page.From != "" {
		page.Action += "?" + url.Values{forms.FromAccount: {page.From}}.Encode()
	}
	return page
}

// valuesOf are the fields of an action as they were sent, with the account whose page led to it,
// and what is wrong with each.
func valuesOf(v *visit, a *forms.Action, sent url.Values) (url.Values, map[string]string) {
	values, problems := a.Values(sent)
	if from := v.r.URL.Query().Get(forms.FromAccount); isAccount(from) {
		values.Set(forms.FromAccount, from)
	}
	return values, problems
}

// backFrom is the page that led to an action, or the first page for callers who may not use that.
func backFrom(v *visit, a *forms.Action) string {
	if a.Back == forms.ToSubscription {
		return toSubscription(v)
	}
	if a.Back == forms.ToAccount {
		for _, name := range []string{forms.FromAccount, "account"} {
			if number := v.r.FormValue(name); isAccount(number) {
				return accountPath + number
			}
		}
		return Prefix
	}
	for i := range forms.Lists {
		if l := &forms.Lists[i]; l.Path == a.Back && !v.may(l.Op) {
			return Prefix
		}
	}
	return Prefix + a.Back
}

// showForm shows the form of an action, and then says in one line what would happen. Nothing
// happens yet. The address holds the request id, so that the way back leads to the same
// intention.
func showForm(v *visit, a *forms.Action) {
	query := v.r.URL.Query()
	if !v.may(a.Op) {
		v.refuse(http.StatusForbidden, mayNot)
		return
	}
	request := query.Get("request_id")
	if request == "" {
		query.Set("request_id", atm.NewUUID(time.Now()))
		http.Redirect(v.w, v.r, Prefix+a.Path+"?"+query.Encode(), http.StatusSeeOther)
		return
	}
	values, problems := valuesOf(v, a, query)
	for i := range a.Fields {
		if f := &a.Fields[i]; f.Kind == forms.Given && problems[f.Name] != "" {
			v.refuse(http.StatusUnprocessableEntity, "This link is not whole: "+problems[f.Name])
			return
		}
	}
	switch {
	case a.Asks() && query.Get("review") == "":
		v.show(http.StatusOK, "form.html", a.Title, a.Command(values), newForm(v, a, values, nil, request))
	case len(problems) > 0:
		v.show(http.StatusUnprocessableEntity, "form.html", a.Title, a.Command(values),
			newForm(v, a, values, problems, request))
	default:
		page := newForm(v, a, values, nil, request)
		page.Line, page.Confirm = a.Line(v, values), v.confirmation(teller.Call{
			Operation: a.Op, Args: a.Args(values), Request: request, Once: true,
		})
		v.show(http.StatusOK, "form.html", a.Title, a.Command(values), page)
	}
}

// Look implements forms.Bank.
func (v *visit) Look(op atm.Operation, about ...string) atm.Record {
	if !v.may(op) {
		return nil
	}
	var args []atm.Arg
	for _, name := range about {
		if name != "" {
			args = append(args, text(name))
		}
	}
	status, err := v.cfg.Bank.Do(v.r.Context(), v.caller, op, args...)
	if err != nil {
		return nil
	}
	record, _ := status.Result.(atm.Record)
	return record
}

// Rows implements forms.Bank.
func (v *visit) Rows(op atm.Operation, account string) []atm.Record {
	if !v.may(op) {
		return nil
	}
	status, err := v.cfg.Bank.Do(v.r.Context(), v.caller, op, text(account))
	if err != nil {
		return nil
	}
	rows, _ := status.Result.([]atm.Record)
	return rows
}

// Moved implements forms.Bank.
func (v *visit) Moved(index string) string {
	n, err := strconv.ParseInt(index, 10, 64)
	if err != nil {
		return ""
	}
	slip, err := v.cfg.Bank.Slip(v.r.Context(), v.caller, n)
	if err != nil || slip == nil {
		return ""
	}
	return words.Moving(slip.Entry)
}

// carryOut carries an action out. What was refused leads back to the form, as it was filled in.
func carryOut(v *visit, a *forms.Action) {
	values, problems := valuesOf(v, a, v.r.PostForm)
	request := v.r.PostForm.Get("request_id")
	if request == "" || len(v.r.PostForm["request_id"]) > 1 {
		v.refuse(http.StatusUnprocessableEntity,
			"This form has no request id, or two. Open it again from the page that leads to it.")
		return
	}
	if len(problems) > 0 {
		v.show(http.StatusUnprocessableEntity, "form.html", a.Title, a.Command(values),
			newForm(v, a, values, problems, request))
		return
	}
	asked := time.Now()
	status, problem, ok := v.try(a.Op, request, a.Args(values)...)
	switch {
	case !ok:
	case status.Code == atm.PermissionDenied:
		v.refuse(http.StatusForbidden, problem)
	case status.Code == atm.NotConfirmed:
		page := newForm(v, a, values, nil, request)
		page.Problem, page.Line = problem, a.Line(v, values)
		page.Confirm = v.confirmation(teller.Call{
			Operation: a.Op, Args: a.Args(values), Request: request, Once: true,
		})
		v.show(http.StatusForbidden, "form.html", a.Title, "", page)
	case problem != "":
		switch status.Code {
		case atm.Unavailable, atm.OutcomeUnknown, atm.Internal: // it is to be sent again
		default:
			request = atm.NewUUID(time.Now()) // the id is answered: this is another intention
		}
		page := newForm(v, a, values, nil, request)
		page.Problem = problem
		v.show(statusOf(status.Code), "form.html", a.Title, a.Command(values), page)
	case a.Op == atm.PasskeyRemove && v.caller.Session != "" && v.caller.Method == "passkey" &&
		v.caller.ID == values.Get("passkey"):
		v.cfg.Access.Leave(v.w)
		http.Redirect(v.w, v.r, signInPath+"?done=removed", http.StatusSeeOther)
	default:
		showDone(v, a, values, status, asked)
	}
}

// A donePage shows what an action answered.
type donePage struct {
	Line  string
	Facts []fact
	Once  string // what it is that is told once; empty for nothing
	Again bool   // it was told before
	Kept  bool   // what is told is a secret that can be seen again
	Index string // of the entry
	Hash  string // of its bytes
	Slip  bool   // the caller may see it
	Back  string
}

// A fact is a name and a value, which may be a URL to follow.
type fact struct {
	Name, Value string
	Link        bool
}

// showDone shows what came of an action: its slip, or what is told once. Operators may see no
// slips, and get the same page.
func showDone(v *visit, a *forms.Action, values url.Values, status atm.Status,
	asked time.Time,
) {
	page := donePage{
		Line: a.Title + ": done.", Once: a.Once, Kept: a.Tells != nil, Back: backFrom(v, a),
		Slip: v.may(atm.Receipt),
	}
	page.Index, page.Hash, _ = strings.Cut(status.Receipt, " ")
	record, told := status.Result.(atm.Record)
	switch {
	case a.Op == atm.FeedTest: // whether it arrived is said there
		http.Redirect(v.w, v.r, page.Back, http.StatusSeeOther)
		return
	case a.Tells != nil && !told:
		record = a.Tells(v, values)
	case a.Tells == nil && a.Once == "" && page.Slip && page.Index != "":
		toSlip(v, page.Index, asked)
		return
	}
	page.Again = a.Once != "" && !told
	if code := word(record, "code"); code != "" {
		page.Facts = append(page.Facts, fact{"Link", v.cfg.At(v.r) + invitePath + code, true})
	}
	for _, f := range record {
		if shown := forms.Plain(f.Value).Text; shown != "" {
			page.Facts = append(page.Facts, fact{words.Label(f.Name), shown, false})
		}
	}
	v.show(http.StatusOK, "done.html", a.Title, a.Command(values), page)
}
