package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"text/tabwriter"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
)

func (o *options) print(r *request, a *client.Answer) error {
	if err := o.printResult(r, a); err != nil {
		return err
	}
	if !a.OK() {
		return &exit.Error{Code: exit.Refused, Err: errors.New("Error from ATM Server: " + a.Reason), Plain: true}
	}
	return nil
}

func (o *options) printResult(r *request, a *client.Answer) error {
	var err error
	switch {
	case o.quiet:
	case o.output == "json":
		err = json.NewEncoder(o.stdout).Encode(struct {
			Status  string        `json:"status"`
			Reason  string        `json:"reason"`
			Result  any           `json:"result"`
			Code    atm.Code      `json:"code"`
			Receipt string        `json:"receipt"`
			Request atm.RequestID `json:"request_id,omitempty"`
		}{a.Status(), a.Reason, a.Result, a.Code, a.Receipt, r.id})
	case !a.OK():
	default:
		err = o.printText(r, a)
	}
	return err
}

func (o *options) printText(r *request, a *client.Answer) error {
	var err error
	switch r.operation {
	case atm.Inquiry:
		_, err = fmt.Fprintf(o.stdout, "Current value of account %s is $%s\n", r.account, a.Text())
	case atm.Transfer:
		_, err = fmt.Fprintf(o.stdout, "Successful transfer of $%s from account %s to account %s\n", r.amount, r.account, r.to)
	case atm.Authorize:
		_, err = fmt.Fprintf(o.stdout, "Successful authorize of $%s from account %s: hold %s\n", r.amount, r.account, a.Text())
	case atm.Capture, atm.Release:
		_, err = fmt.Fprintf(o.stdout, "Successful %s of $%s of hold %s\n", r.operation, a.Text(), r.hold)
	case atm.Statement:
		err = o.printStatement(a)
	case atm.Whoami:
		me, _ := a.Result.(map[string]any)
		_, err = fmt.Fprintf(o.stdout, "%v, %v, by %v\n", me["subject"], me["roles"], me["method"])
	default:
		_, err = fmt.Fprintf(o.stdout, "Successful %s of $%s to account %s\n", r.operation, r.amount, r.account)
	}
	return err
}

// printStatement prints movements as they are listed, newest first, between
// the balances of the range.
func (o *options) printStatement(a *client.Answer) error {
	page, _ := a.Result.(map[string]any)
	entries, _ := page["entries"].([]any)
	t := tabwriter.NewWriter(o.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "closing\t\t\t%v\t\n", page["closing"])
	for _, entry := range entries {
		e, _ := entry.(map[string]any)
		fmt.Fprintf(t, "%v\t%v\t%v\t%v\t%v\n", e["time"], e["operation"], e["amount"], e["balance"], e["counterparty"])
	}
	fmt.Fprintf(t, "opening\t\t\t%v\t\n", page["opening"])
	if err := t.Flush(); err != nil {
		return err
	}
	if next, _ := page["next"].(string); next != "" {
		_, err := fmt.Fprintf(o.stderr, "There are older ones: --cursor %s\n", next)
		return err
	}
	return nil
}
