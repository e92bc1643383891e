package teller

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

const (
	tokenLife     = 15 * time.Minute
	tokenLifeMost = time.Hour
)

// tooMuch refuses a caller who asks, by a token, for a credential that could do more than the
// token can.
var tooMuch = vault.Refuse(atm.PermissionDenied, "A token makes nothing that can do more, or "+
	"lives longer, than itself")

// checkScope reads a scope: names of methods, or * for all.
func (t *Teller) checkScope(scope string) (string, error) {
	words := strings.Fields(scope)
	if len(words) == 0 {
		return "*", nil
	}
	for _, word := range words {
		op := atm.Operation(word)
		if word != "*" && t.ops[op] == nil && op != atm.AuditRead && op != atm.Backup {
			return "", malformed("there is no method %q for a scope", shorten(word))
		}
	}
	slices.Sort(words)
	return strings.Join(slices.Compact(words), " "), nil
}

// life reads the argument at position i, in seconds: how long a token or grant lives.
func (in *input) life(i int, what string, otherwise time.Duration) (time.Duration, error) {
	arg := in.Args[i]
	if !arg.Given() {
		return otherwise, nil
	}
	n, ok := wholeNumber(arg.Text, int64(tokenLifeMost/time.Second))
	if !ok {
		return 0, malformed("the seconds of a %s are a number from 1 to 3600", what)
	}
	return time.Duration(n) * time.Second, nil
}

func issueToken(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	if err := checkSubject(in.Args[0].Text); err != nil {
		return nil, err
	}
	scope, err := t.checkScope(in.Args[1].Text)
	if err != nil {
		return nil, err
	}
	if !in.Args[1].Given() && !in.Caller.InScope("*") {
		scope = joined(in.Caller.Scope)
	}
	if !in.Caller.InScope(operationsOf(scope)...) {
		return tooMuch, nil
	}
	life, err := in.life(2, "token", tokenLife)
	if err != nil {
		return nil, err
	}
	life, ok := in.Caller.Left(life, time.Now())
	if !ok {
		return tooMuch, nil
	}
	bound := in.Args[3].Text
	if sum, err := base64.RawURLEncoding.Strict().DecodeString(bound); in.Args[3].Given() &&
		(err != nil || len(sum) != sha256.Size) {
		return nil, malformed("a token is bound to the SHA-256 of a certificate, in base64url")
	}
	token, err := t.cfg.Credentials.IssueToken(in.Args[0].Text, scope, bound, life)
	if err != nil {
		return nil, err
	}
	in.About = append(in.About, people.Warrant{
		Subject: in.Args[0].Text, Issued: token.Issued,
		Named: true,
	})
	// the log keeps its hash
	return vault.People(people.IssueToken{
		For: in.Args[0].Text, ID: token.ID, Scope: scope, Ends: token.Expires,
		Result: atm.Record{
			{Name: "token", Value: token.Text},
			{Name: "jti", Value: token.ID},
			{Name: "expires", Value: token.Expires.UTC().Format(time.RFC3339)},
		},
	}), nil
}

// revokeToken revokes one token. The store knows the tokens of this server. It does not know
// those of another issuer, so for them it is enough that the issuer is trusted.
func revokeToken(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	id, issuer := in.Args[0].Text, in.Args[1].Text
	if len(id) > 128 || id == "" {
		return nil, malformed("a jti has 1 to 128 characters")
	}
	if issuer != "" && issuer != t.cfg.Credentials.Issuer() {
		if !t.cfg.Credentials.Trusts(issuer) {
			return vault.Refuse(atm.AccountNotFound, "There is no issuer "+shorten(issuer)), nil
		}
		return vault.People(people.Revoke{Name: people.TokenRevocation(issuer, id)}), nil
	}
	name := people.TokenRevocation("", id)
	issued, err := lookup.Issued(ctx, t.cfg.Store, name)
	if err != nil {
		return nil, err
	}
	if !issued {
		return vault.Refuse(atm.AccountNotFound, "There is no token "+shorten(id)+
			" of this server that is good; one of another issuer is revoked by issuer and id"), nil
	}
	return vault.People(people.Revoke{Name: name}), nil
}

// joined is a scope in words.
func joined(scope []atm.Operation) string {
	words := make([]string, len(scope))
	for i, op := range scope {
		words[i] = string(op)
	}
	return strings.Join(words, " ")
}

// operationsOf are the words of a scope.
func operationsOf(scope string) []atm.Operation {
	var ops []atm.Operation
	for word := range strings.FieldsSeq(scope) {
		ops = append(ops, atm.Operation(word))
	}
	return ops
}

// A SelfToken is one that a caller got for itself.
type SelfToken struct {
	Token
	Scope string
	Life  time.Duration
}

// ErrEnds reports a token for a caller whose own credential ends at once.
var ErrEnds = errors.New("what the caller signed in by ends at once")

// ErrTakenBack reports a caller whose credential was taken back after they had signed in.
var ErrTakenBack = errors.New("what the caller signed in by was taken back")

// SelfToken makes a token for caller, and records that. With bind it is good
// only beside the certificate that caller signed in with. It does not outlive what
// caller signed in by. A *MalformedError, ErrEnds and
// ErrTakenBack are the caller's fault.
func (t *Teller) SelfToken(ctx context.Context, caller *atm.Caller, scope string,
	bind bool,
) (SelfToken, error) {
	scope, err := t.checkScope(scope)
	if err != nil {
		return SelfToken{}, err
	}
	life, ok := caller.Left(tokenLife, time.Now())
	if !ok {
		return SelfToken{}, ErrEnds
	}
	bound := ""
	if bind {
		sum, err := base64.StdEncoding.DecodeString(caller.SHA256)
		if err != nil {
			return SelfToken{}, err
		}
		bound = base64.RawURLEncoding.EncodeToString(sum)
	}
	token, err := t.cfg.Credentials.IssueToken(caller.Subject, scope, bound, life)
	if err != nil {
		return SelfToken{}, err
	}
	status := t.cfg.Ledger.Do(ctx, vault.Command{
		Event: audit.EventAdmin, Operation: atm.TokenSelf, Caller: caller,
		Warrants: append(t.warrants(caller, atm.TokenSelf), people.Warrant{
			Subject: caller.Subject,
			Issued:  token.Issued,
		}),
		Rule: vault.People(people.IssueToken{
			For: caller.Subject, ID: token.ID, Scope: scope,
			Ends: token.Expires, Result: "",
		}),
		Args: []audit.Arg{{Name: "jti", Value: token.ID}, {Name: "scope", Value: scope}},
	})
	switch {
	case status.Code == atm.PermissionDenied:
		return SelfToken{}, ErrTakenBack
	case status.Receipt == "":
		return SelfToken{}, ErrUnavailable
	}
	return SelfToken{token, scope, life}, nil
}

// GiveUpToken revokes a token that caller gives up: one of caller's own, or any
// token if caller may revoke tokens. Any other token stays as it is, without an
// error.
func (t *Teller) GiveUpToken(ctx context.Context, caller *atm.Caller, subject, id string) error {
	if subject != caller.Subject && t.cfg.Permissions.Permit(caller.Principal,
		atm.TokenRevoke) != atm.Everywhere {
		return nil
	}
	may := atm.TokenGiveUp
	if subject != caller.Subject {
		may = atm.TokenRevoke
	}
	status := t.cfg.Ledger.Do(ctx, vault.Command{
		Event: audit.EventAdmin, Operation: atm.TokenGiveUp, Caller: caller,
		Rule: vault.People(people.Revoke{Name: people.TokenRevocation("", id)}),
		Args: []audit.Arg{{Name: "jti", Value: id}}, Warrants: t.warrants(caller, may),
	})
	switch {
	case status.Code == atm.PermissionDenied:
		return ErrTakenBack
	case status.Receipt == "":
		return ErrUnavailable
	}
	return nil
}

// GrantLife is how long a grant lives when its grantor does not say.
const GrantLife = 5 * time.Minute

// grantable are the operations that a grant can be for.
var grantable = []string{
	string(atm.Inquiry), string(atm.Deposit), string(atm.Withdraw),
	string(atm.Transfer), string(atm.Authorize),
}

// grantedOperations reads the operations that a grant is for.
func grantedOperations(words string) ([]string, error) {
	operations := strings.Fields(words)
	slices.Sort(operations)
	operations = slices.Compact(operations)
	for _, op := range operations {
		if !slices.Contains(grantable, op) {
			return nil, malformed("a grant cannot be for %q", shorten(op))
		}
	}
	return operations, nil
}

func createGrant(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	operations, err := grantedOperations(in.Args[1].Text)
	if err != nil {
		return nil, err
	}
	grantee := in.Args[3].Text
	if err := checkSubject(grantee); err != nil {
		return nil, err
	}
	if len(operations) == 0 || grantee == in.Caller.Subject {
		return nil, malformed("a grant is for an operation, and for somebody else")
	}
	limit, noLimit := in.Amount(2)
	life, err := in.life(4, "grant", GrantLife)
	if err != nil {
		return nil, err
	}
	life, ok := in.Caller.Left(life, time.Now())
	if !ok || !in.Caller.InScope(operationsOf(strings.Join(operations, " "))...) {
		return tooMuch, nil
	}
	if noLimit != nil {
		return noLimit, nil
	}
	if refusal != nil {
		return refusal, nil
	}
	accounts, err := words.Granted(account, in.Args[5].Text)
	if err != nil {
		return nil, malformed("%w", err)
	}
	numbers := make([]string, len(accounts))
	for i, name := range accounts {
		numbers[i] = string(name)
	}
	token, err := t.cfg.Credentials.IssueGrant(in.Caller.Subject, grantee, numbers, operations,
		limit.String(), life)
	if err != nil {
		return nil, err
	}
	in.About = append(in.About, people.Warrant{Subject: in.Caller.Subject, Issued: token.Issued},
		people.Warrant{Subject: grantee, Issued: token.Issued, Named: true})
	g := vault.Grant{
		ID: token.ID, Grantor: in.Caller.Subject, Grantee: grantee, Accounts: accounts, Cap: limit,
		Expires: token.Expires.UTC(),
	}
	for _, op := range operations {
		g.Operations = append(g.Operations, atm.Operation(op))
	}
	// the log keeps its hash
	return vault.CreateGrant{Party: in.Party(), Grant: g, Result: atm.Record{
		{Name: "token", Value: token.Text},
		{Name: "jti", Value: token.ID},
		{Name: "expires", Value: token.Expires.UTC().Format(time.RFC3339)},
	}}, nil
}
