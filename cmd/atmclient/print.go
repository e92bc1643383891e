package main

import (
	"encoding/json"
	"io"
	"slices"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/printable"
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

func (p *printer) printText(r *request, a *client.Answer) error {
	var err error
	var memo string
	if r.memo != "" {
		memo = "; memo: " + r.memo
	}
	switch r.operation {
	case atm.Inquiry:
		err = printable.Linef(p.stdout, "Current value of account %s is $%s", r.account, a.Text())
	case atm.Transfer:
		err = printable.Linef(p.stdout, "Successful transfer of $%s from account %s to account "+
			"%s%s", r.amount, r.account, r.to, memo)
	case atm.Authorize:
		err = printable.Linef(p.stdout, "Successful authorize of $%s from account %s: hold %s%s",
			r.amount, r.account, a.Text(), memo)
	case atm.Capture, atm.Release:
		err = printable.Linef(p.stdout, "Successful %s of $%s of hold %s%s", r.operation,
			a.Text(), r.hold, memo)
	case atm.Statement:
		err = p.printStatement(a)
	case atm.Certificate:
		_, err = io.WriteString(p.stdout, a.Text())
	case atm.Whoami:
		me, _ := a.Result.(map[string]any)
		err = printable.Linef(p.stdout, "%v, %s, by %v", me["subject"], output.Words(me["roles"]),
			me["method"])
	default:
		err = printable.Linef(p.stdout, "Successful %s of $%s to account %s%s", r.operation,
			r.amount, r.account, memo)
	}
	return err
}

// printStatement prints movements, newest first, between the closing and the opening balance.
// There is a column of memos if one of them has a memo.
func (p *printer) printStatement(a *client.Answer) error {
	page, _ := a.Result.(map[string]any)
	entries, _ := page["entries"].([]any)
	columns := []string{"time", "operation", "amount", "balance", "counterparty"}
	if slices.ContainsFunc(entries, hasMemo) {
		columns = append(columns, "memo")
	}
	t := output.NewTable(p.stdout, !p.noPager, columns...)
	row := func(cells ...any) {
		cells = cells[:len(columns)]
		texts := make([]string, len(cells))
		for i, cell := range cells {
			texts[i] = output.Words(cell)
		}
		t.Row(texts...)
	}
	row("", "closing", "", page["closing"], "", "")
	for _, entry := range entries {
		e, _ := entry.(map[string]any)
		row(e["time"], e["operation"], e["amount"], e["balance"], e["counterparty"], e["memo"])
	}
	row("", "opening", "", page["opening"], "", "")
	if err := t.Flush(); err != nil {
		return err
	}
	if next, _ := page["next"].(string); next != "" {
		return printable.Linef(p.stderr, "There are older ones: --cursor %s", next)
	}
	return nil
}

func hasMemo(entry any) bool {
	e, _ := entry.(map[string]any)
	memo, _ := e["memo"].(string)
	return memo != ""
}
