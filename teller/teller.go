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
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/search"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/events"
	"example.com/atm/teller/methods"
	"example.com/atm/teller/reader"
	"example.com/atm/teller/sessions"
	"example.com/atm/vault"
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

	// Index is of the current audit log, so that lists need not read all of it.
	Index *search.Index

	// Realm is that of the passwords.
	Realm string

	// Confirm says what of a browser is confirmed with a passkey.
	Confirm confirm.Policy

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
		{"Index", cfg.Index == nil},
		{"Realm", cfg.Realm == ""},
		{"Confirm", cfg.Confirm == nil},
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
	// use for it.
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

// Shown returns what a passkey signs to confirm a call that changes accounts or holds, and whether
// it has to be confirmed. Nothing is done yet.
func (t *Teller) Shown(ctx context.Context, caller *atm.Caller, call Call) (shown []byte,
	needed bool, err error,
) {
	in, err := t.read(caller, &call)
	if err != nil || in.op.book == nil {
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
	in := &input{op: op, caller: caller, args: call.Args}
	if len(in.args) < len(op.Params) {
		in.args = make([]atm.Arg, len(op.Params))
		copy(in.args, call.Args)
	}
	return in, nil
}

// command is what an operation becomes that the ledger decides.
func (t *Teller) command(ctx context.Context, in *input, call *Call) (vault.Command, error) {
	op, caller, cmd := in.op, in.caller, in.command()
	conflict, err := t.identify(&cmd, in, call)
	if err != nil {
		return cmd, err
	}
	// Permission comes first, as of now: a caller who may no longer ask is not shown
	// what an old request id was answered with.
	in.reach = t.cfg.Permissions.Permit(caller.Principal, op.Name)
	switch {
	case in.reach == atm.Nowhere:
		cmd.Rule = denied
	case conflict:
		cmd.Rule = vault.Refuse(atm.IdempotencyConflict, "The request id in the header differs "+
			"from the one in the call")
	default:
		if op.book != nil {
			in.find = t.find(ctx)
			in.inquires = t.cfg.Permissions.Permit(caller.Principal, atm.Inquiry) >= in.reach
			cmd.Rule, err = op.book(in)
		} else {
			cmd.Rule, err = op.rule(ctx, t, in)
		}
		if err != nil {
			return cmd, err
		}
		cmd.Rule = in.granted(t.keepOperator(cmd.Rule))
	}
	if cmd.Event == audit.EventAdmin {
		cmd.Warrants = slices.Concat(t.warrants(caller, op.Name), present(call.Beside...), in.about)
	}
	cmd.Args, cmd.Then = in.named(), in.then // as the rule understood them
	return cmd, nil
}

var denied = vault.Refuse(atm.PermissionDenied, "You may not do this")

// A MalformedError says what is wrong with a call in a way that no status dict
// can answer: the number or kind of its parameters, or a value that is no
// amount and no account. Its text is for the caller.
type MalformedError struct{ err error }

// Error implements error.
func (e *MalformedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *MalformedError) Unwrap() error { return e.err }

func malformed(format string, args ...any) error {
	return &MalformedError{fmt.Errorf(format, args...)}
}

// granted puts a rule within the bounds of the grant that the caller acts
// under.
func (in *input) granted(rule vault.Rule) vault.Rule {
	if in.caller.Grant == "" {
		return rule
	}
	switch r := rule.(type) {
	case vault.Refusal:
		return r
	case vault.Spender:
		return vault.Granted{
			Spender: r, Grant: in.caller.Grant, Grantee: in.caller.Actor,
			Operation: in.op.Name,
		}
	}
	return denied
}

// identify gives cmd the request id of the call. It reports whether header
// and parameter contradict each other.
func (t *Teller) identify(cmd *vault.Command, in *input, call *Call) (conflict bool, err error) {
	position := in.op.Position(methods.RequestID)
	if position < 0 && !call.Once {
		return false, nil
	}
	header := call.Request
	text := header
	if position >= 0 && in.args[position].Given() {
		text = in.args[position].Text
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
	cmd.Request = t.cfg.Requests.Hash(in.caller, id)
	return header != "" && header != text, nil
}

// Malformed begins to record that a known caller called a known operation in a
// way that got a fault. The reply waits until that is durable.
func (t *Teller) Malformed(ctx context.Context, caller *atm.Caller, call Call,
	fault string,
) ledger.Reply {
	op := t.ops[call.Operation]
	in := input{op: op, caller: caller, args: make([]atm.Arg, len(op.Params))}
	copy(in.args, call.Args)
	cmd := in.command()
	cmd.Args, cmd.Rule = in.named(), vault.Refuse(atm.Fault, fault)
	return t.cfg.Ledger.Begin(ctx, cmd)
}

// TooLarge begins to record that a call was not carried out because its answer would have
// been too large, and answers so.
func (t *Teller) TooLarge(ctx context.Context, caller *atm.Caller, call Call) ledger.Reply {
	op := t.ops[call.Operation]
	in := input{op: op, caller: caller, args: make([]atm.Arg, len(op.Params))}
	copy(in.args, call.Args)
	if op.read != nil {
		return t.RecordRead(ctx, caller, op.Name, atm.Status(tooLarge))
	}
	cmd := in.command()
	cmd.Args, cmd.Rule = in.named(), tooLarge
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
	op     *operation
	caller *atm.Caller
	args   []atm.Arg // one for each parameter
	read   []string  // the text of each argument as its rule understood it; "" for as written
	reach  atm.Reach

	// inquires says that the caller may know the balance of an account that a booking reaches.
	inquires bool

	find finder // of what an entry moved; for bookings

	then  []vault.Command  // that follow it, or all are refused
	about []people.Warrant // whom the call names, and what must be true of them

	memory [4]string // for read, which most need no more of
}

func (in *input) command() vault.Command {
	event := audit.EventOp
	if in.op.Name.Administrative() {
		event = audit.EventAdmin
	}
	return vault.Command{Event: event, Operation: in.op.Name, Caller: in.caller}
}

// named returns the arguments by name, as the audit log keeps them: all that
// were given but for the request id and what is secret.
func (in *input) named() []audit.Arg {
	args := make([]audit.Arg, 0, len(in.args))
	for i, arg := range in.args {
		p := in.op.Params[i]
		if !arg.Given() || p.Name == methods.RequestID || p.Secret {
			continue
		}
		if p.Members != nil {
			for _, m := range arg.Members {
				if m.Arg.Given() {
					args = append(args, audit.Arg{Name: m.Name, Value: m.Arg.Text})
				}
			}
			continue
		}
		text := arg.Text
		if arg.Kind == atm.Struct {
			text = members(arg.Members)
		}
		if in.read != nil && in.read[i] != "" {
			text = in.read[i]
		}
		args = append(args, audit.Arg{Name: p.Name, Value: text})
	}
	return args
}

// members writes the members of a struct in one line, for the audit log.
func members(list []atm.Member) string {
	var words []string
	for _, m := range list {
		if m.Arg.Given() {
			words = append(words, m.Name+"="+m.Arg.Text)
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// understood notes how the argument at position i was read, so that "5", 5
// and "5.00" are one meaning in the audit log and for the request id.
func (in *input) understood(i int, text string) {
	if in.read == nil {
		in.read = append(in.memory[:0], make([]string, len(in.args))...)
	}
	in.read[i] = text
}

// account reads the argument at position i. When it is no account number the
// answer is notFound's, the same as for an account that does not exist.
func (in *input) account(i int, notFound func(string) atm.Status) (vault.Name, vault.Rule) {
	id, ok := in.args[i].Account()
	if !ok {
		return "", vault.Refusal(notFound(shorten(in.args[i].Text)))
	}
	in.understood(i, id.String())
	return vault.Numbered(id), nil
}

// amount reads the argument at position i.
func (in *input) amount(i int) (atm.Amount, vault.Rule) {
	amount, code := in.args[i].Amount()
	if code != atm.OK {
		return 0, vault.Refuse(code, amountReasons[code])
	}
	in.understood(i, amount.String())
	return amount, nil
}

var amountReasons = map[atm.Code]string{
	atm.AmountInvalid:     "The amount is not a decimal number of dollars",
	atm.AmountNotPositive: "The amount must be above zero",
	atm.AmountPrecision:   "The amount has a fraction of a cent",
	atm.AmountTooLarge:    "The amount is above 1000000000000.00",
}

// party is whose accounts the caller may use.
func (in *input) party() vault.Party {
	if in.reach == atm.Everywhere {
		return vault.Party{}
	}
	return vault.Party{Owner: in.caller.Subject}
}

// shorten bounds what an answer repeats of an argument.
func shorten(s string) string {
	const longest = 64 // characters
	n := 0
	for i := range s {
		if n++; n > longest {
			return strings.ToValidUTF8(s[:i], "\ufffd") + "…"
		}
	}
	return s
}
