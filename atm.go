// Package atm is the vocabulary of the whole program: money, account numbers,
// callers, and the status dict that answers every operation.
//
// A value of these types has been checked once, at the boundary, and is not
// checked again inside. Money is a whole number of cents and never passes
// through a float. The package knows no protocol, no store and no file.
package atm

import (
	"slices"
	"strings"
	"time"
)

// An Operation is the name of a method as clients call it, such as "deposit"
// or "admin.account.open".
type Operation string

// The operations a customer's terminal uses.
const (
	Inquiry  Operation = "inquiry"
	Deposit  Operation = "deposit"
	Withdraw Operation = "withdraw"
	Whoami   Operation = "whoami"

	Transfer  Operation = "transfer"
	Authorize Operation = "authorize"
	Capture   Operation = "capture"
	Release   Operation = "release"
	Statement Operation = "statement"
	Receipt   Operation = "receipt"
)

// The operations of administration, which move no customer's money but for
// the opening posting of an account.
const (
	AccountOpen     Operation = "admin.account.open"
	AccountShow     Operation = "admin.account.show"
	AccountList     Operation = "admin.account.list"
	AccountFreeze   Operation = "admin.account.freeze"
	AccountUnfreeze Operation = "admin.account.unfreeze"
	AccountClose    Operation = "admin.account.close"
	AccountLimit    Operation = "admin.account.limit"
	AccountSet      Operation = "admin.account.set"
	AccountImport   Operation = "admin.account.import"
	CertIssue       Operation = "admin.cert.issue"
	UserAdd         Operation = "admin.user.add"
	UserImport      Operation = "admin.user.import"
	UserList        Operation = "admin.user.list"
	UserDisable     Operation = "admin.user.disable"
	UserEnable      Operation = "admin.user.enable"
	UserShow        Operation = "admin.user.show"
	UserRevoke      Operation = "admin.user.revoke"
	CertInvite      Operation = "admin.cert.invite"
	CertRenew       Operation = "admin.cert.renew"
	CertRevoke      Operation = "admin.cert.revoke"
	CertList        Operation = "admin.cert.list"
	CertCRL         Operation = "admin.cert.crl"
	TokenIssue      Operation = "admin.token.issue"
	GrantCreate     Operation = "admin.grant.create"
	GrantList       Operation = "admin.grant.list"
	GrantRevoke     Operation = "admin.grant.revoke"
	TokenRevoke     Operation = "admin.token.revoke"
	TokenList       Operation = "admin.token.list"
	HoldList        Operation = "admin.hold.list"
	HoldShow        Operation = "admin.hold.show"
	VaultRotate     Operation = "admin.vault.rotate"
	AuditList       Operation = "admin.audit.list"
	AuditBalances   Operation = "admin.audit.balances"
	AuditRotate     Operation = "admin.audit.rotate"
	TokenRotate     Operation = "admin.token.rotate"
	ServerStatus    Operation = "admin.status"

	UserPasskeys      Operation = "admin.passkey.list"
	UserPasskeyRemove Operation = "admin.passkey.remove"
	UserSessions      Operation = "admin.session.list"
	UserSessionEnd    Operation = "admin.session.end"
)

// The operations of users on what they sign in by in a browser.
const (
	PasskeyList   Operation = "passkey.list"
	PasskeyRename Operation = "passkey.rename"
	PasskeyRemove Operation = "passkey.remove"
	SessionList   Operation = "session.list"
	SessionEnd    Operation = "session.end"

	// PasskeyAdd is a user adding a passkey, and SessionBegin a user signing in, in the
	// console: both need its ceremony, so neither is a method.
	PasskeyAdd   Operation = "passkey.add"
	SessionBegin Operation = "session.begin"
)

// TokenSelf is somebody getting a token for themselves, at /token, and
// TokenGiveUp giving one up, at /token/revoke.
const (
	TokenSelf   Operation = "token"
	TokenGiveUp Operation = "token.revoke"

	// CertEnroll is somebody following an invitation, at /enroll.
	CertEnroll Operation = "enroll"
)

// Backup is reading everything, keys too. It is no method but a download.
const Backup Operation = "admin.backup"

// AuditRead is reading the audit log, by whatever way.
const AuditRead Operation = "audit.read"

// Administrative reports whether op is an act of administration, that of a user's own passkeys
// and sessions among it.
func (op Operation) Administrative() bool {
	area, _, _ := strings.Cut(string(op), ".")
	return area == "admin" || area == "passkey" || area == "session"
}

// A Code is the machine-readable outcome of an operation. Codes are stable:
// new ones may come, none changes its meaning.
type Code string

// The codes this server answers.
const (
	OK                    Code = "OK"
	AccountNotFound       Code = "ACCOUNT_NOT_FOUND"
	AccountExists         Code = "ACCOUNT_EXISTS"
	AccountFrozen         Code = "ACCOUNT_FROZEN"
	AccountClosed         Code = "ACCOUNT_CLOSED"
	AccountNotEmpty       Code = "ACCOUNT_NOT_EMPTY"
	InsufficientFunds     Code = "INSUFFICIENT_FUNDS"
	AmountInvalid         Code = "AMOUNT_INVALID"
	AmountNotPositive     Code = "AMOUNT_NOT_POSITIVE"
	AmountPrecision       Code = "AMOUNT_PRECISION"
	AmountTooLarge        Code = "AMOUNT_TOO_LARGE"
	BalanceTooLarge       Code = "BALANCE_TOO_LARGE"
	SameAccount           Code = "SAME_ACCOUNT"
	LimitPerOperation     Code = "LIMIT_PER_OPERATION"
	LimitDailyAmount      Code = "LIMIT_DAILY_AMOUNT"
	LimitDailyCount       Code = "LIMIT_DAILY_COUNT"
	HoldNotFound          Code = "HOLD_NOT_FOUND"
	HoldNotPending        Code = "HOLD_NOT_PENDING"
	HoldExpired           Code = "HOLD_EXPIRED"
	HoldAmountExceeded    Code = "HOLD_AMOUNT_EXCEEDED"
	GrantExceeded         Code = "GRANT_EXCEEDED"
	Fault                 Code = "FAULT"
	IdempotencyConflict   Code = "IDEMPOTENCY_CONFLICT"
	IdempotencyKeyExpired Code = "IDEMPOTENCY_KEY_EXPIRED"
	PermissionDenied      Code = "PERMISSION_DENIED"
	CursorInvalid         Code = "CURSOR_INVALID"
	AnswerTooLarge        Code = "ANSWER_TOO_LARGE"
	Unavailable           Code = "UNAVAILABLE"
	OutcomeUnknown        Code = "OUTCOME_UNKNOWN"
	Internal              Code = "INTERNAL"
)

// Remembered reports whether an answer with this code is kept for its request
// id, so that a retry gets the same answer. The others try again.
func (c Code) Remembered() bool {
	switch c {
	case Unavailable, OutcomeUnknown, Internal, PermissionDenied, IdempotencyConflict, Fault:
		return false
	}
	return true
}

// A Status is the answer to an operation, the status dict of the protocol.
type Status struct {
	// Reason says in a sentence why the operation was refused; empty when OK.
	Reason string

	// Result is what the operation sends back: a string for the operations of
	// 2013, for others also a Record or a []Record. Nil means the empty string.
	Result any

	// Code is OK or the machine-readable form of Reason.
	Code Code

	// Receipt is the audit index and the leaf hash, "INDEX LEAFHASH". It is
	// empty when the answer could not be stored.
	Receipt string
}

// Word is the member "status" of the dict: OK or ERROR.
func (s Status) Word() string {
	if s.Code == OK {
		return "OK"
	}
	return "ERROR"
}

// A Record is a structured result: named fields in the order they are
// declared. A value is a string, an int64, a bool, a Record, a []Record or a
// []string.
type Record []Field

// A Field is one named value of a Record.
type Field struct {
	Name  string
	Value any
}

// Get returns the value of the field called name, and nil when there is none.
func (r Record) Get(name string) any {
	for _, field := range r {
		if field.Name == name {
			return field.Value
		}
	}
	return nil
}

// A Role names what somebody may do. The table of permissions is in auth.
type Role string

// The roles.
const (
	Customer Role = "customer"
	Teller   Role = "teller"
	Auditor  Role = "auditor"
	Operator Role = "operator"
	Service  Role = "service"
)

// ParseRole reads the name of a role.
func ParseRole(s string) (Role, bool) {
	switch r := Role(s); r {
	case Customer, Teller, Auditor, Operator, Service:
		return r, true
	}
	return "", false
}

// A Reach says on which accounts somebody may do an operation.
type Reach uint8

// The reaches, from none to all.
const (
	Nowhere    Reach = iota // not at all
	Owned                   // on accounts that the caller owns
	Everywhere              // on every account
)

// A Principal is a caller who has proved who it is.
type Principal struct {
	// Subject is "user:NAME" or "service:NAME", or "system:init" for the
	// program itself.
	Subject string

	// Roles are what the caller is today, sorted.
	Roles []Role

	// Scope are the operations that a token is for; nil for all that the roles
	// may do.
	Scope []Operation

	// Actor is who acts for the subject under a grant, and Grant is its id;
	// empty when the subject acts itself.
	Actor string
	Grant string
}

// Has reports whether p holds role r.
func (p Principal) Has(r Role) bool {
	for _, have := range p.Roles {
		if have == r {
			return true
		}
	}
	return false
}

// InScope reports whether what p signed in by is for all of these operations. What p's
// roles allow is another question.
func (p Principal) InScope(ops ...Operation) bool {
	if p.Scope == nil || slices.Contains(p.Scope, "*") {
		return true
	}
	return !slices.ContainsFunc(ops, func(op Operation) bool {
		return !slices.Contains(p.Scope, op)
	})
}

// A Credential says how a principal proved who it is. The zero value is a
// caller inside the program, which has no credential.
type Credential struct {
	// "mtls", "digest", "jwt", "passkey", at the token endpoint and in a session "secret",
	// with an invitation "invitation"
	Method string
	SHA256 string // of mtls: base64 of the SHA-256 of the certificate's DER bytes
	Serial string // of mtls: hex serial number of the certificate

	// Life is how long a certificate of this server's own authority is good in all; zero
	// for any other credential. It is not in the log.
	Life time.Duration

	// Issued is the earliest that a certificate or a token can have been issued, by all
	// clocks that it is good by; zero for a credential that says nothing of that. What
	// was revoked of its subject since then revokes it. Revocation is the name of its
	// own revocation, and Verifier the SHA-256 of what a password is checked by: it is
	// good as long as that is so. They are not in the log.
	Issued     time.Time
	Revocation string
	Verifier   string

	// Expires is when a token or a certificate ends; zero for a credential that does
	// not. It is not in the log.
	Expires time.Time

	User   string // of digest: the user name; of a secret: the subject; of an invitation: its id
	Issuer string // of jwt
	ID     string // of jwt: its jti; of a passkey: its id
	Key    string // of jwt: its kid
}

// A Caller is the principal of one request, its credential, and where the
// request came from.
type Caller struct {
	Principal
	Credential
	IP string // without port; empty inside the program

	// Session is the id of the session that the request came in; empty for none. It began
	// with the credential.
	Session string
}

// Derived reports whether the caller signed in by a token. A token stands for less
// than its subject: for a scope, and for a while.
func (c *Caller) Derived() bool { return c.Method == "jwt" }

// Left is the life, in whole seconds, of a credential that the caller asks for and
// that is not to outlive the caller's own: at most life. ok is false when nothing is
// left.
func (c *Caller) Left(life time.Duration, now time.Time) (left time.Duration, ok bool) {
	if !c.Expires.IsZero() {
		life = min(life, c.Expires.Sub(now).Truncate(time.Second))
	}
	return life, life >= time.Second
}

// A Kind is the type an argument had on the wire. It decides how a number is
// read: "5" dollars as an Int, "5.00" as a String, 5.0 as a Double. A Struct
// holds named arguments.
type Kind uint8

// The kinds an argument can have.
const (
	Missing Kind = iota // not given, or nil
	Int
	Double
	String
	Struct
)

// An Arg is one argument as the caller wrote it.
type Arg struct {
	Kind    Kind
	Text    string
	Members []Member // of a Struct
}

// A Member is one named argument of a Struct.
type Member struct {
	Name string
	Arg  Arg
}

// Given reports whether the caller sent a value: an optional parameter is
// skipped by nothing at all, by nil, or by an empty string.
func (a Arg) Given() bool {
	return a.Kind != Missing && (a.Kind != String || a.Text != "")
}
