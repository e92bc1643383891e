package teller

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/sessions"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/query"
)

// An operation is a method and what it does: it books, or has a rule, or reads.
type operation struct {
	*methods.Method

	// book reads the arguments into a rule that changes accounts or holds. What
	// is wrong with an argument's value becomes a rule that refuses; an error is
	// a malformed call. It is given no Teller, because replaying the journal has
	// to build the same rule from the arguments in an entry.
	book func(in *input) (vault.Rule, error)

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
			book:   bookings[name], rule: rules[name], read: reads[name],
		}
		if rule := sessions.Rules[name]; rule != nil {
			byName[name].rule = signIns(rule)
		}
	}
	return byName
}

var bookings = map[atm.Operation]func(*input) (vault.Rule, error){
	atm.Deposit:         noted(deposit),
	atm.Withdraw:        noted(withdraw),
	atm.Transfer:        noted(transfer),
	atm.Authorize:       noted(authorize),
	atm.Capture:         noted(capture),
	atm.Release:         release,
	atm.Reverse:         noted(reverse),
	atm.MandateCreate:   createMandate,
	atm.MandateRevoke:   revokeMandate,
	atm.Collect:         noted(collect),
	atm.OrderCreate:     createOrder,
	atm.OrderCancel:     cancelOrder,
	atm.Notify:          note,
	atm.AccountOpen:     openAccount,
	atm.AccountFreeze:   standing(vault.Frozen),
	atm.AccountUnfreeze: standing(vault.Open),
	atm.AccountClose:    standing(vault.Closed),
	atm.AccountLimit:    limitAccount,
	atm.AccountSet:      setAccount,
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

// signIns makes an operation of one on passkeys and sessions, of the caller or of the subject
// that the first argument names.
func signIns(rule func(context.Context, people.Store, sessions.Call) (vault.Rule, error)) func(
	context.Context, *Teller, *input) (vault.Rule, error) {
	return func(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
		call := sessions.Call{
			Subject: in.caller.Subject, Args: in.args, Session: in.caller.Session,
		}
		if in.reach == atm.Everywhere {
			call.Subject, call.Args = in.args[0].Text, in.args[1:]
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

// noted makes a booking refuse a memo that is none. No rule reads the memo: it stands in the
// arguments of the entry. What else is wrong is said first, and read in any case, so that the
// entry has it as it was understood.
func noted(book func(*input) (vault.Rule, error)) func(*input) (vault.Rule, error) {
	return func(in *input) (vault.Rule, error) {
		rule, err := book(in)
		if _, refused := rule.(vault.Refusal); refused || err != nil {
			return rule, err
		}
		memo := in.args[in.op.Position(atm.MemoArg)]
		if atm.CheckMemo(memo.Text) != nil {
			return badMemo, nil
		}
		return rule, nil
	}
}

var badMemo = vault.Refuse(atm.MemoInvalid, "A memo is text of at most 140 characters and 256 "+
	"bytes, without control and direction characters")

func inquiry(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.Unknown)
	if refusal != nil {
		return refusal, nil
	}
	return vault.Inquiry{Party: in.party(), Account: account}, nil
}

func deposit(in *input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Deposit{
		Party: in.party(), Account: account, Cash: vault.Cash(in.caller.Subject), Amount: amount,
		Tell: in.inquires,
	}, nil
}

func withdraw(in *input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Withdraw{
		Party: in.party(), Account: account, Cash: vault.Cash(in.caller.Subject), Amount: amount,
		Tell: in.inquires,
	}, nil
}

func transfer(in *input) (vault.Rule, error) {
	from, noFrom := in.account(0, vault.NotFound)
	to, noTo := in.account(1, vault.NotFound)
	amount, noAmount := in.amount(2)
	for _, refusal := range []vault.Rule{noAmount, noFrom, noTo} {
		if refusal != nil {
			return refusal, nil
		}
	}
	return vault.Transfer{
		Party: in.party(), From: from, To: to, Amount: amount,
		Tell: in.inquires,
	}, nil
}

const (
	holdDefault = 7 * 24 * time.Hour
	holdMost    = 30 * 24 * time.Hour
)

func authorize(in *input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	life := holdDefault
	if arg := in.args[2]; arg.Given() {
		n, ok := wholeNumber(arg.Text, int64(holdMost/time.Second))
		if !ok {
			return vault.Refuse(atm.AmountInvalid, "The seconds of a hold are a number from 1 to "+
				"2592000"), nil
		}
		life = time.Duration(n) * time.Second
	}
	return vault.Authorize{Party: in.party(), Account: account, Amount: amount, Life: life}, nil
}

// wholeNumber reads a number from 1 to most.
func wholeNumber(s string, most int64) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 1 && n <= most
}

func capture(in *input) (vault.Rule, error) {
	hold, refusal := in.hold()
	r := vault.Capture{Party: in.party(), Hold: hold, Cash: vault.Cash(in.caller.Subject)}
	if in.args[1].Given() {
		var noAmount vault.Rule
		if r.Amount, noAmount = in.amount(1); noAmount != nil {
			return noAmount, nil
		}
	}
	if refusal != nil {
		return refusal, nil
	}
	return r, nil
}

func release(in *input) (vault.Rule, error) {
	hold, refusal := in.hold()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Release{Party: in.party(), Hold: hold}, nil
}

// hold reads the first argument as the id of a hold.
func (in *input) hold() (vault.HoldID, vault.Rule) {
	id, ok := vault.ParseHoldID(in.args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoHold())
	}
	return id, nil
}

func statement(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.NotFound)
	r := query.Statement{Party: in.party(), Account: account, Limit: statementDefault}
	if noRange, err := in.statementRange(&r); noRange != nil || err != nil {
		return noRange, err
	}
	if refusal != nil {
		return refusal, nil
	}
	// What is not the caller's is not read ahead: it would take longer than an
	// account that does not exist.
	if in.reach != atm.Everywhere {
		if owned, err := t.Owns(ctx, in.caller.Subject, account); err != nil || !owned {
			return r, err
		}
	}
	err := r.Prepare(func(n vault.Name, from uint64,
		yield func(uint64, vault.JournalIndex, []byte) bool,
	) error {
		return t.cfg.Store.History(ctx, n, from, yield)
	})
	return r, err
}

const statementDefault = 50

// statementRange reads the optional struct of a statement into r.
func (in *input) statementRange(r *query.Statement) (vault.Rule, error) {
	for _, m := range in.args[1].Members {
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

// movement reads account and amount. Both are read even if the first is
// wrong, so that the audit log has both as they were understood.
func (in *input) movement() (vault.Name, atm.Amount, vault.Rule) {
	account, noAccount := in.account(0, vault.NotFound)
	amount, noAmount := in.amount(1)
	if noAmount != nil {
		return "", 0, noAmount
	}
	return account, amount, noAccount
}

func whoami(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	roles := make([]string, len(in.caller.Roles))
	for i, role := range in.caller.Roles {
		roles[i] = string(role)
	}
	return vault.Report{Result: atm.Record{
		{Name: "subject", Value: in.caller.Subject},
		{Name: "roles", Value: roles},
		{Name: "method", Value: in.caller.Method},
	}}, nil
}
