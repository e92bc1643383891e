package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
	"example.com/atm/vault/calendar"
	"github.com/spf13/pflag"
)

// A printer prints answers in the form that the flags ask for.
type printer struct {
	stdout, stderr io.Writer
	form           string
	quiet, noPager bool
}

func (p *printer) add(flags *pflag.FlagSet) {
	flags.StringVarP(&p.form, "output", "o", output.FormText, "`form` of what is printed: "+
		"text, json or jsonl")
	flags.BoolVarP(&p.quiet, "quiet", "q", false, "print no result")
	flags.BoolVar(&p.noPager, "no-pager", false, "do not show long statements through "+
		"ATM_PAGER, PAGER or less")
}

// isJSON reports whether results are for programs.
func (p *printer) isJSON() bool { return output.IsJSON(p.form) }

// endList ends a list of answers.
func (p *printer) endList(list *output.Array) error {
	if !p.isJSON() || p.quiet {
		return nil
	}
	return list.End()
}

// print prints an answer, and returns a refusal as an error.
func (p *printer) print(r *request, a *client.Answer) error {
	if err := p.printResult(r, a); err != nil {
		return err
	}
	return exit.FromAnswer(a)
}

func (p *printer) printResult(r *request, a *client.Answer) error {
	var err error
	switch {
	case p.quiet:
	case p.isJSON():
		var object []byte
		if object, err = answerJSON(r, a); err == nil {
			_, err = p.stdout.Write(append(object, '\n'))
		}
	case !a.OK():
	default:
		err = p.printText(r, a)
	}
	return err
}

// answerJSON returns an answer as JSON.
func answerJSON(r *request, a *client.Answer) ([]byte, error) {
	return json.Marshal(struct {
		Line    int           `json:"line,omitempty"` // of a batch
		Status  string        `json:"status"`
		Reason  string        `json:"reason"`
		Result  any           `json:"result"`
		Code    atm.Code      `json:"code"`
		Receipt string        `json:"receipt"`
		Request atm.RequestID `json:"request_id,omitempty"`
		Memo    string        `json:"memo,omitempty"`
	}{r.line, a.Status(), a.Reason, a.Result, a.Code, a.Receipt, r.id, r.memo})
}

// printText prints what was done as a sentence, and what was asked for as a table.
func (p *printer) printText(r *request, a *client.Answer) error {
	switch r.operation {
	case atm.Statement:
		return p.printStatement(a)
	case atm.MandateList:
		return p.printMandates(a)
	case atm.OrderList:
		return p.printOrders(a)
	case atm.OrderShow:
		return p.printOrder(a)
	case atm.Notices:
		return p.printNotices(a)
	case atm.Certificate:
		_, err := io.WriteString(p.stdout, a.Text())
		return err
	}
	return printable.Linef(p.stdout, "%s", r.done(a))
}

// done says what was done.
func (r *request) done(a *client.Answer) string {
	memo := ""
	if r.memo != "" {
		memo = "; memo: " + r.memo
	}
	switch r.operation {
	case atm.Inquiry:
		return fmt.Sprintf("Current value of account %s is $%s", r.account, a.Text())
	case atm.Transfer:
		return fmt.Sprintf("Successful transfer of $%s from account %s to account %s%s", r.amount,
			r.account, r.to, memo)
	case atm.Authorize:
		return fmt.Sprintf("Successful authorize of $%s from account %s: hold %s%s", r.amount,
			r.account, a.Text(), memo)
	case atm.Capture, atm.Release:
		return fmt.Sprintf("Successful %s of $%s of hold %s%s", r.operation, a.Text(), r.ref,
			memo)
	case atm.Reverse:
		return fmt.Sprintf("Entry %s is reversed: $%s went back%s", r.ref, a.Text(), memo)
	case atm.MandateCreate:
		return fmt.Sprintf("Mandate %s lets %s collect from account %s: %s%s", a.Text(),
			r.mandate.Creditor, r.account, bounds(&r.mandate), memo)
	case atm.MandateRevoke:
		return fmt.Sprintf("Mandate %s is revoked", r.ref)
	case atm.Collect:
		return fmt.Sprintf("Collected $%s by mandate %s into account %s%s", a.Text(), r.ref, r.to,
			memo)
	case atm.OrderCreate:
		o := &r.order
		return fmt.Sprintf("Standing order %s pays $%s from account %s to account %s %s%s",
			a.Text(), o.Amount, r.account, o.To, often(o.Every, o.On, o.At, o.Zone), memo)
	case atm.OrderCancel:
		return fmt.Sprintf("Standing order %s is cancelled", r.ref)
	case atm.Notify:
		return fmt.Sprintf("A notice is left on account %s", r.account)
	case atm.Whoami:
		me, _ := a.Result.(map[string]any)
		return fmt.Sprintf("%v, %s, by %v", me["subject"], output.Words(me["roles"]), me["method"])
	}
	return fmt.Sprintf("Successful %s of $%s to account %s%s", r.operation, r.amount, r.account,
		memo)
}

// bounds says what may be collected by a mandate.
func bounds(m *client.MandateTerms) string {
	var parts []string
	if m.Each != 0 {
		parts = append(parts, fmt.Sprintf("$%s at once", m.Each))
	}
	if m.Total != 0 {
		parts = append(parts, fmt.Sprintf("$%s in a %s", m.Total, m.Period))
	}
	return "at most " + strings.Join(parts, ", ")
}

// often says when a standing order pays.
func often(every, on, at, zone string) string {
	when := "every day"
	switch parsed, _ := calendar.ParsePeriod(every); parsed {
	case calendar.Week:
		day, _ := calendar.ParseOn(parsed, on)
		when = "every " + time.Weekday(day%7).String()
	case calendar.Month:
		when = "on day " + on + " of each month"
	}
	if at != "" {
		when += " at " + at
	}
	if zone != "" {
		when += " " + zone
	}
	return when
}
