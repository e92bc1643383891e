// Package atm is the vocabulary of the whole program: money, account numbers, callers, and the
// status dict that answers every operation.
//
// A value of these types has been checked once, at the boundary, and is not checked again
// inside. Money is an integer number of cents and never passes through a float. The package
// knows no protocol, store or file.
package atm

import (
	"slices"
	"strings"
	"time"
)

// An Operation is the name of a method as clients call it, such as "deposit" or
// "admin.account.open".
type Operation string

// The operations of customers.
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
	ShowEntry Operation = "entry"

	Certificate   Operation = "certificate"
	Reverse       Operation = "reverse"
	MandateCreate Operation = "mandate.create"
	MandateList   Operation = "mandate.list"
	MandateRevoke Operation = "mandate.revoke"
	Collect       Operation = "collect"
	OrderCreate   Operation = "order.create"
	OrderList     Operation = "order.list"
	OrderShow     Operation = "order.show"
	OrderCancel   Operation = "order.cancel"
	Notify        Operation = "note"
	Notices       Operation = "notices"

	// OrderPay is the server making the payment of a standing order. It is no method.
	OrderPay Operation = "order.pay"
)

// The operations of administration. They move no customer's money, except for the opening
// posting of an account.
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

// The operations on subscriptions to the event feed.
const (
	FeedAdd    Operation = "feed.add"
	FeedList   Operation = "feed.list"
	FeedShow   Operation = "feed.show"
	FeedSecret Operation = "feed.secret"
	FeedPause  Operation = "feed.pause"
	FeedResume Operation = "feed.resume"
	FeedReplay Operation = "feed.replay"
	FeedTest   Operation = "feed.test"
	FeedRotate Operation = "feed.rotate"
	FeedRemove Operation = "feed.remove"

	FeedSourceAdd    Operation = "feed.source.add"
	FeedSourceList   Operation = "feed.source.list"
	FeedSourceSecret Operation = "feed.source.secret"
	FeedSourceRotate Operation = "feed.source.rotate"
	FeedSourceRemove Operation = "feed.source.remove"
)

// TokenSelf issues a token to the caller itself, at /token. TokenGiveUp revokes a token, at
// /token/revoke.
const (
	TokenSelf   Operation = "token"
	TokenGiveUp Operation = "token.revoke"

	// CertEnroll issues a certificate for an invitation, at /enroll.
	CertEnroll Operation = "enroll"
)

// Backup reads everything, including keys. It is a download and not a method.
const Backup Operation = "admin.backup"

// AuditRead reads the audit log, in any way.
const AuditRead Operation = "audit.read"

// Administrative reports whether op is an act of administration, that of a user's own passkeys,
// sessions and subscriptions among it.
func (op Operation) Administrative() bool {
	area, _, _ := strings.Cut(string(op), ".")
	return area == "admin" || area == "passkey" || area == "session" || area == "feed"
}

// A Code is the machine-readable outcome of an operation. Codes are stable: codes may be added,
// but none changes its meaning.
type Code string

// The codes that this server answers.
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
	MemoInvalid           Code = "MEMO_INVALID"
	EntryNotFound         Code = "ENTRY_NOT_FOUND"
	NotReversible         Code = "NOT_REVERSIBLE"
	ReversalExceeded      Code = "REVERSAL_EXCEEDED"
	MandateNotFound       Code = "MANDATE_NOT_FOUND"
	MandateExceeded       Code = "MANDATE_EXCEEDED"
	MandateEnded          Code = "MANDATE_ENDED"
	OrderNotFound         Code = "ORDER_NOT_FOUND"
	FeedNotFound          Code = "FEED_NOT_FOUND"
	FeedExists            Code = "FEED_EXISTS"
	FeedInvalid           Code = "FEED_INVALID"
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
	NotConfirmed          Code = "NOT_CONFIRMED"
	CursorInvalid         Code = "CURSOR_INVALID"
	AnswerTooLarge        Code = "ANSWER_TOO_LARGE"
	Unavailable           Code = "UNAVAILABLE"
	OutcomeUnknown        Code = "OUTCOME_UNKNOWN"
	Internal              Code = "INTERNAL"
)

// Remembered reports whether an answer with this code is stored for its request id, so that a
// retry gets the same answer. After other codes, a retry is carried out again.
func (c Code) Remembered() bool {
	switch c {
	case Unavailable, OutcomeUnknown, Internal, PermissionDenied, NotConfirmed, IdempotencyConflict,
		Fault:
		return false
	}
	return true
}

// A Status is the answer to an operation, the status dict of the protocol.
type Status struct {
	// Reason is a sentence that says why the operation was refused; empty when OK.
	Reason string

	// Result is the result of the operation: a string for the operations of 2013, and for others
	// also a Record or a []Record. Nil means the empty string.
	Result any

	// Code is OK or the machine-readable form of Reason.
	Code Code

	// Receipt is the audit index and the leaf hash, "INDEX LEAFHASH". It is empty if the answer
	// could not be stored.
	Receipt string
}

// Word is the member "status" of the dict: OK or ERROR.
func (s Status) Word() string {
	if s.Code == OK {
		return "OK"
	}
	return "ERROR"
}

// A Record is a structured result: named fields in the order of their declaration. A value is a
// string, a Private, an int64, a bool, a Record, a []Record or a []string.
type Record []Field

// Private is text that an answer has and the audit log has not: the hash of the answer in the log
// is that of an answer without it, so nobody can try texts against it.
type Private string

// A Field is a named value of a Record.
type Field struct {
	Name  string
	Value any
}

// Get returns the value of the field with this name, or nil if there is none.
func (r Record) Get(name string) any {
	for _, field := range r {
		if field.Name == name {
			return field.Value
		}
	}
	return nil
}

// A Role determines what a principal may do. The table of permissions is in auth.
type Role string

// The roles.
const (
	Customer Role = "customer"
	Teller   Role = "teller"
	Auditor  Role = "auditor"
	Operator Role = "operator"
	Service  Role = "service"
)

// ParseRole parses the name of a role.
func ParseRole(s string) (Role, bool) {
	switch r := Role(s); r {
	case Customer, Teller, Auditor, Operator, Service:
		return r, true
	}
	return "", false
}

// A Reach is the set of accounts on which a principal may do an operation.
type Reach uint8

// The reaches, from none to all.
const (
	Nowhere    Reach = iota // not at all
	Owned                   // on accounts that the caller owns
	Everywhere              // on every account
)

// A Principal is an authenticated caller.
type Principal struct {
	// Subject is "user:NAME" or "service:NAME", or "system:init" for the
	// program itself.
	Subject string

	// Roles are the current roles of the subject, sorted.
	Roles []Role

	// Scope has the operations that a token allows; nil for all that the roles allow.
	Scope []Operation

	// Actor is the subject that acts under a grant, and Grant is the grant's id. Both are empty
	// without a grant.
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

// InScope reports whether the scope of p's credential includes all of these operations. Whether
// p's roles allow them is another question.
func (p Principal) InScope(ops ...Operation) bool {
	if p.Scope == nil || slices.Contains(p.Scope, "*") {
		return true
	}
	return !slices.ContainsFunc(ops, func(op Operation) bool {
		return !slices.Contains(p.Scope, op)
	})
}

// A Credential says how a principal was authenticated. The zero value is that of a caller
// inside the program, which has no credential.
type Credential struct {
	// "mtls", "digest", "jwt", "passkey", "oidc", "webhook", at the token endpoint and in a
	// session "secret", with an invitation "invitation"
	Method string
	SHA256 string // of mtls: base64 of the SHA-256 of the certificate's DER bytes
	Serial string // of mtls: hex serial number of the certificate

	// Life is the whole life of a certificate of this server's own authority; zero for any other
	// credential. It is not in the log.
	Life time.Duration

	// Issued is the earliest possible issue time of a certificate or a token by any clock that
	// accepts it; zero for other credentials. Revoking everything of its subject at or after Issued
	// revokes the credential. Revocation is the name under which the credential itself is revoked.
	// Verifier is the SHA-256 of the stored form of a password, and the credential is good only
	// while that is unchanged. None of them is in the log.
	Issued     time.Time
	Revocation string
	Verifier   string

	// Expires is when a token or a certificate expires; zero for a credential that does not. It is
	// not in the log.
	Expires time.Time

	User   string // of digest: the user name; of a secret: the subject; of an invitation: its id
	Issuer string // of jwt and oidc
	ID     string // of jwt: its jti; of a passkey, of a webhook's source: its id; of oidc: the sub
	Key    string // of jwt: its kid; of oidc: what names the person to us, which is not in the log
}

// A Caller is the principal of one request, its credential, and where the
// request came from.
type Caller struct {
	Principal
	Credential
	IP string // without port; empty inside the program

	// Session is the id of the session of the request; empty for none. The session began with the
	// credential.
	Session string

	// Signature names what proves that the caller signed the request (RFC 9421); empty if it was
	// not signed.
	Signature string
}

// Derived reports whether the caller signed in with a token, which has a scope and a short life
// of its own.
func (c *Caller) Derived() bool { return c.Method == "jwt" }

// Left is the life, in whole seconds, of a new credential for the caller, which must not
// outlive the caller's own: at most life. ok is false if nothing is left.
func (c *Caller) Left(life time.Duration, now time.Time) (left time.Duration, ok bool) {
	if !c.Expires.IsZero() {
		life = min(life, c.Expires.Sub(now).Truncate(time.Second))
	}
	return life, life >= time.Second
}

// A Kind is the type of an argument on the wire. It decides how a number is read: "5" dollars
// as an Int, "5.00" as a String, 5.0 as a Double. A Struct has named arguments.
type Kind uint8

// The kinds of arguments.
const (
	Missing Kind = iota // absent, or nil
	Int
	Double
	String
	Struct
)

// An Arg is an argument as the caller wrote it.
type Arg struct {
	Kind    Kind
	Text    string
	Members []Member // of a Struct
}

// A Member is a named argument of a Struct.
type Member struct {
	Name string
	Arg  Arg
}

// Given reports whether the caller sent a value. An optional parameter is omitted by sending
// nothing, nil, or an empty string.
func (a Arg) Given() bool {
	return a.Kind != Missing && (a.Kind != String || a.Text != "")
}
