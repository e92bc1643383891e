// Package teller is the one path of every operation: it reads the arguments,
// asks for permission, builds a command, hands it to the ledger and gives back
// the status dict.
//
// Every operation that a known caller asks for ends in exactly one entry of
// the audit log, refused or not. The teller knows no protocol: what it is
// given is already a name and arguments.
package teller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/search"
	"example.com/atm/teller/bookings"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/events"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/reader"
	"example.com/atm/teller/sessions"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/vault"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
	"golang.org/x/text/unicode/norm"
)

// A Token is one that was issued.
type Token struct {
	Text    string
	ID      string    // jti
	Issued  time.Time // by the clock that is furthest behind of those it is good by
	Expires time.Time
}

// Config is everything a Teller needs. All fields are required.
type Config struct {
	// Ledger decides and stores.
	Ledger *ledger.Ledger

	// Store is read for lists.
	Store vault.Store

	// Requests makes the stored forms of request ids.
	Requests *requestid.Hasher

	// Holders makes what the audit log has of the names of holders.
	Holders *holder.Hasher

	// Index is of the current audit log, so that lists need not read all of it.
	Index *search.Index

	// Realm is that of the passwords.
	Realm string

	// Confirm says what of a browser is confirmed with a passkey.
	Confirm confirm.Policy

	// Feed delivers what is subscribed to.
	Feed subscriptions.Feed

	Permissions  Permissions
	Credentials  Credentials
	Installation Installation
}

// Permissions say what callers may do.
type Permissions interface {
	// Permit says on which accounts a principal may do an operation.
	Permit(atm.Principal, atm.Operation) atm.Reach

	// Operators are some subjects that may sign in as operators at the moment.
	Operators() []string
}

// Credentials are the keys of the server: what it signs with them, and how they are
// replaced.
type Credentials interface {
	// IssueClient signs a certificate for subject over the key of a certificate request.
	IssueClient(request []byte, subject string, life time.Duration) (Issued, error)

	// InForce reports whether a serial number in hexadecimal is of the authority that signs
	// the certificates of clients at the moment.
	InForce(serial string) bool

	// RevocationList signs the list of these certificates (RFC 5280), in PEM.
	RevocationList(revoked []people.Revocation) (string, error)

	// IssueToken makes a token for a subject and the methods in scope, bound to
	// the certificate with this SHA-256 in base64url unless bound is empty.
	IssueToken(subject, scope, bound string, life time.Duration) (Token, error)

	// IssueGrant makes the token of a grant.
	IssueGrant(grantor, grantee string, accounts, operations []string, limit string,
		life time.Duration) (Token, error)

	// Invite makes the code of an invitation.
	Invite(Invitation) (code string, err error)

	// Issuer is the issuer that this server's tokens name. Trusts reports whether
	// tokens of another issuer are good here.
	Issuer() string
	Trusts(issuer string) bool

	// Slack is how far the clocks of servers may differ that accept each other's tokens.
	Slack() time.Duration

	// HashSecret returns what a secret for tokens alone is checked by.
	HashSecret(secret string) ([]byte, error)

	// RotateTokens makes another key sign tokens, and returns what the keys
	// before and after are called. It refuses, with the time that has to pass,
	// when tokens of the key before would die of it, unless force is set.
	RotateTokens(ctx context.Context, force bool) (old, kid string, wait time.Duration, err error)

	// RotateAudit makes another key sign the audit log, with its entry.
	RotateAudit(context.Context) (checkpoint.Rotation, error)

	// RotateVault replaces the keys that the vault is sealed with.
	RotateVault() error
}

// An Installation is the running program and its machine.
type Installation interface {
	// Program says which program this is, for what it records of itself.
	Program() audit.Program

	// Status says how the server is, as far as the teller does not know it.
	Status(context.Context) (atm.Record, error)

	// Prove returns the proof that an entry is in the published log.
	Prove(ctx context.Context, index int64) ([]byte, error)
}

// A Teller carries out operations, and records events that are none.
type Teller struct {
	*events.Recorder
	*reader.Reader
	*sessions.Keeper

	cfg Config
	ops map[atm.Operation]*operation
}

// New returns a teller. An error names what cfg lacks.
func New(cfg Config) (*Teller, error) {
	for _, field := range []struct {
		name    string
		missing bool
	}{
		{"Ledger", cfg.Ledger == nil},
		{"Store", cfg.Store == nil},
		{"Requests", cfg.Requests == nil},
		{"Holders", cfg.Holders == nil},
		{"Index", cfg.Index == nil},
		{"Realm", cfg.Realm == ""},
		{"Confirm", cfg.Confirm == nil},
		{"Feed", cfg.Feed == nil},
		{"Permissions", cfg.Permissions == nil},
		{"Credentials", cfg.Credentials == nil},
		{"Installation", cfg.Installation == nil},
	} {
		if field.missing {
			return nil, fmt.Errorf("teller: Config.%s is missing", field.name)
		}
	}
	t := &Teller{
		Recorder: events.New(cfg.Ledger, cfg.Installation.Program),
		Reader:   reader.New(cfg.Ledger, cfg.Store, cfg.Index, cfg.Permissions),
		cfg:      cfg, ops: operations(),
	}
	t.Keeper = sessions.NewKeeper(cfg.Ledger, cfg.Store, cfg.Requests,
		func(c *atm.Caller, op atm.Operation) ([]people.Warrant, bool) {
			return t.warrants(c, op), cfg.Permissions.Permit(c.Principal, op) != atm.Nowhere
		})
	return t, nil
}

// A Call is an operation and its arguments, in the order of the operation's
// parameters. Missing ones at the end may be left out.
type Call struct {
	Operation atm.Operation
	Args      []atm.Arg

	// Request is the request id that came beside the arguments, in a header.
	// Empty means none. An operation without the parameter request_id has no
	// use for it, unless its method says so.
	Request string

	// Once says that Request counts for an operation without that parameter as well. What such
	// an operation answered with a record is told once: a repetition gets its hash.
	Once bool

	// Assertion is what a passkey signed to confirm the call; nil for nothing.
	Assertion *atm.Assertion

	// Beside are other callers who take part in the call and have signed in as well.
	Beside []*atm.Caller
}

// A Reply is an answer that may still be on its way to the disk; calling it
// waits.
type Reply = ledger.Reply

// Begin starts a call and returns before its answer is durable. Calls that
// one goroutine begins happen in that order. After an error nothing was
// started: a *MalformedError is the caller's fault, to be recorded with
// Malformed, and any other is the server's.
func (t *Teller) Begin(ctx context.Context, caller *atm.Caller, call Call) (Reply, error) {
	in, err := t.read(caller, &call)
	if err != nil {
		return nil, err
	}
	if in.op.read != nil {
		return t.beginRead(ctx, in)
	}
	cmd, err := t.command(ctx, in, &call)
	if err != nil {
		return nil, err
	}
	if caller.Session != "" {
		if err := t.cfg.Confirm.Apply(ctx, t.Keeper, &cmd, call.Assertion); err != nil {
			return nil, err
		}
	}
	reply := t.cfg.Ledger.Begin(ctx, cmd)
	if in.op.Name == atm.Certificate {
		reply = t.attach(ctx, reply)
	}
	return reply, nil
}

// Shown returns what a passkey signs to confirm a call that changes accounts or holds or gives a
// grant, and whether it has to be confirmed. Nothing is done yet.
func (t *Teller) Shown(ctx context.Context, caller *atm.Caller, call Call) (shown []byte,
	needed bool, err error,
) {
	in, err := t.read(caller, &call)
	if err != nil || in.op.book == nil && in.op.Name != atm.GrantCreate {
		return nil, false, err
	}
	cmd, err := t.command(ctx, in, &call)
	if err != nil {
		return nil, false, err
	}
	if _, refused := cmd.Rule.(vault.Refusal); refused {
		return nil, false, nil // it is going to be refused anyway
	}
	return confirm.Shown(&cmd), t.cfg.Confirm.Needs(&cmd), nil
}

// read finds the operation of a call, and its arguments.
func (t *Teller) read(caller *atm.Caller, call *Call) (*input, error) {
	op := t.ops[call.Operation]
	if op == nil {
		return nil, malformed("there is no operation %q", shorten(string(call.Operation)))
	}
	if len(call.Args) > len(op.Params) {
		return nil, malformed("%s takes at most %d parameters", op.Name, len(op.Params))
	}
	in := t.input(op, caller, call.Args)
	if len(in.Args) < len(op.Params) {
		in.Args = make([]atm.Arg, len(op.Params))
		copy(in.Args, call.Args)
	}
	return in, nil
}

// command is what an operation becomes that the ledger decides.
func (t *Teller) command(ctx context.Context, in *input, call *Call) (vault.Command, error) {
	op, caller, cmd := in.op, in.Caller, in.command()
	conflict, err := t.identify(&cmd, in, call)
	if err != nil {
		return cmd, err
	}
	// Permission comes first, as of now: a caller who may no longer ask is not shown
	// what an old request id was answered with.
	in.Reach = t.cfg.Permissions.Permit(caller.Principal, op.Name)
	switch {
	case in.Reach == atm.Nowhere:
		cmd.Rule = denied
	case conflict:
		cmd.Rule = vault.Refuse(atm.IdempotencyConflict, "The request id in the header differs "+
			"from the one in the call")
	default:
		if op.book != nil {
			if op.Name == atm.Reverse { // which alone looks for an entry
				in.Find = t.find(ctx)
			}
			in.Inquires = t.cfg.Permissions.Permit(caller.Principal, atm.Inquiry) >= in.Reach
			cmd.Rule, err = op.book(&in.Input)
		} else {
			cmd.Rule, err = op.rule(ctx, t, in)
		}
		if err != nil {
			return cmd, err
		}
		cmd.Rule = in.granted(t.keepOperator(cmd.Rule))
	}
	if cmd.Event == audit.EventAdmin {
		cmd.Warrants = slices.Concat(t.warrants(caller, op.Name), present(call.Beside...), in.About)
	}
	cmd.Args, cmd.Then = in.Named(), in.then // as the rule understood them
	return cmd, nil
}

var denied = vault.Refuse(atm.PermissionDenied, "You may not do this")

// A MalformedError says what is wrong with a call in a way that no status dict can answer.
type MalformedError = bookings.MalformedError

// granted puts a rule within the bounds of the grant that the caller acts
// under.
func (in *input) granted(rule vault.Rule) vault.Rule {
	if in.Caller.Grant == "" {
		return rule
	}
	switch r := rule.(type) {
	case vault.Refusal:
		return r
	case vault.Spender:
		return vault.Granted{
			Spender: r, Grant: in.Caller.Grant, Grantee: in.Caller.Actor,
			Operation: in.op.Name,
		}
	}
	return denied
}

// identify gives cmd the request id of the call. It reports whether header
// and parameter contradict each other.
func (t *Teller) identify(cmd *vault.Command, in *input, call *Call) (conflict bool, err error) {
	position := in.op.Position(methods.RequestID)
	if position < 0 && !call.Once && !in.op.Once {
		return false, nil
	}
	header := call.Request
	text := header
	if position >= 0 && in.Args[position].Given() {
		text = in.Args[position].Text
	}
	if text == "" {
		return false, nil
	}
	id, err := atm.ParseRequestID(text)
	if err != nil {
		return false, malformed("%w", err)
	}
	// Composed and decomposed forms look alike, and clients change one into the other.
	if !norm.NFC.IsNormalString(text) {
		return false, malformed("a request id is in the composed form of Unicode, NFC")
	}
	cmd.Request = t.cfg.Requests.Hash(in.Caller, id)
	return header != "" && header != text, nil
}

// Malformed begins to record that a known caller called a known operation in a
// way that got a fault. The reply waits until that is durable.
func (t *Teller) Malformed(ctx context.Context, caller *atm.Caller, call Call,
	fault string,
) ledger.Reply {
	op := t.ops[call.Operation]
	in := t.input(op, caller, make([]atm.Arg, len(op.Params)))
	copy(in.Args, call.Args)
	cmd := in.command()
	cmd.Args, cmd.Rule = in.Named(), vault.Refuse(atm.Fault, fault)
	return t.cfg.Ledger.Begin(ctx, cmd)
}

// TooLarge begins to record that a call was not carried out because its answer would have
// been too large, and answers so.
func (t *Teller) TooLarge(ctx context.Context, caller *atm.Caller, call Call) ledger.Reply {
	op := t.ops[call.Operation]
	in := t.input(op, caller, make([]atm.Arg, len(op.Params)))
	copy(in.Args, call.Args)
	if op.read != nil {
		return t.RecordRead(ctx, caller, op.Name, atm.Status(tooLarge))
	}
	cmd := in.command()
	cmd.Args, cmd.Rule = in.Named(), tooLarge
	if t.cfg.Permissions.Permit(caller.Principal, op.Name) == atm.Nowhere {
		cmd.Rule = denied
	}
	return t.cfg.Ledger.Begin(ctx, cmd)
}

var tooLarge = vault.Refuse(atm.AnswerTooLarge, "The answer would be too large together with "+
	"those before it; ask for it alone")

// ErrUnavailable reports that nothing can be stored or read at the moment.
var ErrUnavailable = vault.ErrUnavailable

// Unavailable answers what could not be read at the moment. No entry holds it.
var Unavailable = atm.Status{Code: atm.Unavailable, Reason: "The server cannot read its records " +
	"at the moment", Result: ""}

// input is a call on its way to its rule.
type input struct {
	bookings.Input
	op   *operation
	then []vault.Command // that follow it, or all are refused
}

func (t *Teller) input(op *operation, caller *atm.Caller, args []atm.Arg) *input {
	return &input{op: op, Input: bookings.Input{
		Method: op.Method, Caller: caller, Args: args, Holders: t.cfg.Holders,
	}}
}

func (in *input) command() vault.Command {
	event := audit.EventOp
	if in.op.Name.Administrative() {
		event = audit.EventAdmin
	}
	return vault.Command{Event: event, Operation: in.op.Name, Caller: in.Caller}
}

// What reads arguments for bookings reads them here, too.
var (
	malformed    = bookings.Malformed
	shorten      = bookings.Shorten
	wholeNumber  = bookings.WholeNumber
	checkSubject = bookings.CheckSubject
)
