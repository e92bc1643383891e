package teller

import (
	"context"
	"errors"
	"math"

	"example.com/atm"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/sessions"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/query"
)

// An operation is a method and what it does: it books, or has a rule, or reads.
type operation struct {
	*methods.Method

	// book reads the arguments into a rule that changes accounts.
	book bookings.Booking

	// rule is as book, for an operation that changes neither accounts nor holds.
	rule func(ctx context.Context, t *Teller, in *input) (vault.Rule, error)

	// read carries out an operation that reads the audit log, in place of
	// both.
	read func(ctx context.Context, t *Teller, in *input) (atm.Status, error)
}

// operations returns every operation by name.
func operations() map[atm.Operation]*operation {
	byName := make(map[atm.Operation]*operation)
	all := methods.All()
	for i := range all {
		name := all[i].Name
		byName[name] = &operation{
			Method: &all[i],
			book:   bookings.Of(name), rule: rules[name], read: reads[name],
		}
		if rule := sessions.Rules[name]; rule != nil {
			byName[name].rule = signIns(rule)
		}
	}
	for _, name := range subscriptions.Operations() {
		byName[name].rule = subscribes
	}
	return byName
}

var rules = map[atm.Operation]func(context.Context, *Teller, *input) (vault.Rule, error){
	atm.Inquiry:       inquiry,
	atm.Statement:     statement,
	atm.Certificate:   certify,
	atm.Whoami:        whoami,
	atm.MandateList:   agreements(query.MandatesOf),
	atm.OrderList:     agreements(query.OrdersOf),
	atm.OrderShow:     showOrder,
	atm.Notices:       notices,
	atm.AccountShow:   showAccount,
	atm.AccountList:   listAccounts,
	atm.CertIssue:     issueCertificate,
	atm.UserAdd:       addUser,
	atm.UserList:      listUsers,
	atm.UserDisable:   disable(true),
	atm.UserEnable:    disable(false),
	atm.UserShow:      showUser,
	atm.UserRevoke:    revokeSubject,
	atm.CertInvite:    inviteClient,
	atm.CertRenew:     renewCertificate,
	atm.CertRevoke:    revokeCertificate,
	atm.GrantCreate:   createGrant,
	atm.TokenIssue:    issueToken,
	atm.TokenRevoke:   revokeToken,
	atm.CertList:      listCertificates,
	atm.CertCRL:       revocationList,
	atm.AuditRotate:   rotateAudit,
	atm.TokenRotate:   rotateTokens,
	atm.VaultRotate:   rotateVault,
	atm.ServerStatus:  showStatus,
	atm.AccountImport: importAccounts,
	atm.UserImport:    importUsers,
	atm.HoldList:      listHolds,
	atm.HoldShow:      showHold,
	atm.GrantList:     listGrants,
	atm.GrantRevoke:   revokeGrant,
	atm.TokenList:     listTokens,
}

// subscribes carries out the operations of package subscriptions.
func subscribes(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	return subscriptions.Desk{Store: t.cfg.Store, Feed: t.cfg.Feed}.Rule(ctx, &in.Input)
}

// signIns makes an operation of one on passkeys and sessions, of the caller or of the subject
// that the first argument names.
func signIns(rule func(context.Context, people.Store, sessions.Call) (vault.Rule, error)) func(
	context.Context, *Teller, *input) (vault.Rule, error) {
	return func(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
		call := sessions.Call{
			Subject: in.Caller.Subject, Args: in.Args, Session: in.Caller.Session,
		}
		if in.Reach == atm.Everywhere {
			call.Subject, call.Args = in.Args[0].Text, in.Args[1:]
			if err := checkSubject(call.Subject); err != nil {
				return nil, err
			}
		}
		made, err := rule(ctx, t.cfg.Store, call)
		var bad sessions.MalformedError
		if errors.As(err, &bad) {
			return nil, malformed("%w", bad)
		}
		return made, err
	}
}

var reads = map[atm.Operation]func(context.Context, *Teller, *input) (atm.Status, error){
	atm.Receipt:       receipt,
	atm.ShowEntry:     showEntry,
	atm.AuditList:     listEntries,
	atm.AuditBalances: hashBalances,
}

func inquiry(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.Unknown)
	if refusal != nil {
		return refusal, nil
	}
	return vault.Inquiry{Party: in.Party(), Account: account}, nil
}

func statement(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	r := query.Statement{Party: in.Party(), Account: account, Limit: statementDefault}
	if noRange, err := in.statementRange(&r); noRange != nil || err != nil {
		return noRange, err
	}
	if refusal != nil {
		return refusal, nil
	}
	// What is not the caller's is not read ahead: it would take longer than an
	// account that does not exist.
	if in.Reach != atm.Everywhere {
		if owned, err := t.Owns(ctx, in.Caller.Subject, account); err != nil || !owned {
			return r, err
		}
	}
	err := t.prepare(ctx, &r)
	return r, err
}

// prepare reads ahead what a statement needs. Movements that are trimmed meanwhile are missing
// since the time at which the journal begins then.
func (t *Teller) prepare(ctx context.Context, r *query.Statement) error {
	for {
		before, err := t.Since(ctx)
		if err != nil {
			return err
		}
		a, err := t.cfg.Store.Account(ctx, r.Account)
		if err != nil {
			return err
		}
		r.Since = before
		err = r.Prepare(a, func(n vault.Name, from uint64,
			yield func(uint64, vault.JournalIndex, []byte) bool,
		) error {
			return t.cfg.Store.History(ctx, n, from, yield)
		})
		if err != nil {
			return err
		}
		if after, err := t.Since(ctx); err != nil || after.Equal(before) {
			return err
		}
	}
}

const statementDefault = 50

// statementRange reads the optional struct of a statement into r.
func (in *input) statementRange(r *query.Statement) (vault.Rule, error) {
	for _, m := range in.Args[1].Members {
		if !m.Arg.Given() {
			continue
		}
		var want atm.Kind
		switch m.Name {
		case "limit", "proof":
			want = atm.Int
		case "cursor", "from", "to":
			want = atm.String
		default:
			return nil, malformed("a statement has no %s", shorten(m.Name))
		}
		if m.Arg.Kind != want {
			return nil, malformed("%s of a statement is of the wrong type", shorten(m.Name))
		}
		var err error
		switch m.Name {
		case "limit":
			n, ok := wholeNumber(m.Arg.Text, math.MaxInt64)
			if !ok {
				return vault.Refusal(vault.BadCursor("limit is a number from 1 to 500")), nil
			}
			r.Limit = int(min(n, query.StatementMost))
		case "proof":
			if r.Proof = m.Arg.Text == "1"; !r.Proof && m.Arg.Text != "0" {
				return vault.Refusal(vault.BadCursor("proof is 1 or 0")), nil
			}
		case "cursor":
			r.Cursor = m.Arg.Text
		case "from":
			r.From, err = atm.ParseTime(m.Arg.Text)
		case "to":
			r.To, err = atm.ParseTime(m.Arg.Text)
		}
		if err != nil {
			return vault.Refusal(vault.BadCursor(m.Name + " is no time in RFC 3339")), nil
		}
	}
	if !r.From.IsZero() && !r.To.IsZero() && r.From.After(r.To) {
		return vault.Refusal(vault.BadCursor("from is after to")), nil
	}
	return nil, nil
}

func whoami(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	roles := make([]string, len(in.Caller.Roles))
	for i, role := range in.Caller.Roles {
		roles[i] = string(role)
	}
	return vault.Report{Result: atm.Record{
		{Name: "subject", Value: in.Caller.Subject},
		{Name: "roles", Value: roles},
		{Name: "method", Value: in.Caller.Method},
	}}, nil
}
