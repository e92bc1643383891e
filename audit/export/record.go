package export

import (
	"fmt"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
)

// A record is an entry of the log, with a field for each thing that an auditor searches. A text
// is empty if the entry does not have it.
type record struct {
	*audit.Entry
	index  int64
	leaf   []byte
	hash   merkle.Hash // of the leaf
	origin string      // of the log
	// version of the program that exports it
	program string
	args    map[string]string

	who     string // subject of the caller, or of the callers who were denied
	address string // of the caller, or the network of a summary
	movement
	about
	result
}

// A movement is how money moved, or was meant to move.
type movement struct {
	account  string
	from, to string // accounts that the money left and reached
	amount   string
}

// about is the target of an act of administration.
type about struct {
	target  string // such as user:alice, account:200 and roles:teller
	subject string // the user or service among them
}

// A result is how a call or a sign-in ended.
type result struct {
	outcome string // OK or ERROR
	code    string
	reason  string
	count   int64 // of a summary; 0 otherwise
}

func newRecord(index int64, leaf []byte, origin, program string) (*record, error) {
	e, err := audit.ParseEntry(leaf)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	r := &record{
		Entry: e, index: index, leaf: leaf, hash: merkle.LeafHash(leaf), origin: origin,
		program: program,
		args:    make(map[string]string, len(e.Args)), address: Source(e),
		result: result{reason: e.Reason},
	}
	for _, arg := range e.Args {
		r.args[arg.Name] = arg.Value
	}
	r.account = r.args["account"]
	if e.Caller != nil {
		r.who = e.Caller.Subject
	}
	if e.Status != nil {
		r.outcome, r.code, r.reason = e.Status.Word(), string(e.Status.Code), e.Status.Reason
	}
	if e.Summary != nil {
		r.count = e.Summary.N
	}
	if r.isSignIn() || e.Event == audit.EventDeniedSummary {
		r.outcome = "ERROR"
	}
	r.findMovement()
	r.findTargets()
	return r, nil
}

// Source returns the address or network of the sender of a request.
func Source(e *audit.Entry) string {
	if e.Caller != nil && e.Caller.IP != "" {
		return e.Caller.IP
	}
	return e.Source
}

// isSignIn reports whether the record is about failed sign-ins.
func (r *record) isSignIn() bool {
	return r.Event == audit.EventAuthFail || r.Event == audit.EventAuthFailSummary
}

// name returns the operation, or else the event.
func (r *record) name() string {
	if r.Operation != "" {
		return string(r.Operation)
	}
	return string(r.Event)
}

// findMovement finds the accounts and the amount in the changes of the entry, or in its
// arguments if it was refused. A standing order that was given has moved nothing yet.
func (r *record) findMovement() {
	if r.Event == audit.EventOp && r.outcome != "OK" {
		r.from, r.to = r.args["from"], r.args["to"]
	}
	var moved atm.Amount
	for _, leg := range r.State {
		switch {
		case leg.After < leg.Before:
			r.from = leg.Account
		case leg.After > leg.Before:
			r.to, moved = leg.Account, leg.After-leg.Before
		}
	}
	switch r.amount = r.args["amount"]; {
	case r.amount != "":
	case moved > 0:
		r.amount = moved.String()
	default:
		r.amount = r.args["opening"]
	}
}

// findTargets finds what an act of administration concerned.
func (r *record) findTargets() {
	if r.Event != audit.EventAdmin {
		return
	}
	kind := "token"
	if strings.HasPrefix(string(r.Operation), "admin.grant.") {
		kind = "grant"
	}
	for _, name := range []string{"subject", "to", "owner"} {
		if r.subject == "" {
			r.subject = r.args[name]
		}
	}
	words := []string{r.subject}
	for _, t := range []struct{ kind, arg string }{
		{"account", "account"},
		{"hold", "hold"},
		{"certificate", "serial"},
		{kind, "jti"},
		{"roles", "roles"},
	} {
		if value := r.args[t.arg]; value != "" {
			words = append(words, t.kind+":"+strings.ReplaceAll(value, " ", ","))
		}
	}
	r.target = strings.TrimSpace(strings.Join(words, " "))
}

// resources returns the accounts and the target as resources of OCSF.
func (r *record) resources() []map[string]any {
	var list []map[string]any
	seen := make(map[string]bool)
	for _, account := range []string{r.account, r.from, r.to} {
		if account != "" && !seen[account] {
			seen[account] = true
			list = append(list, map[string]any{"type": "account", "uid": account})
		}
	}
	for _, t := range []struct{ kind, uid string }{
		{"subject", r.subject},
		{"certificate", r.args["serial"]},
		{"token", r.args["jti"]},
		{"hold", r.args["hold"]},
	} {
		if t.uid != "" {
			list = append(list, map[string]any{"type": t.kind, "uid": t.uid})
		}
	}
	return list
}
