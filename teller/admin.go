package teller

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// Issued is a certificate that was signed.
type Issued struct {
	Certificate string // PEM
	Authority   string // PEM: what the holder trusts the server by
	Serial      string // hex
	SHA256      string // hex, of the DER bytes
	NotAfter    time.Time
}

const (
	listDefault = 50
	listMost    = 500
)

var (
	paramOwner = Param{
		Name: "owner", Kinds: []atm.Kind{atm.String}, Optional: true,
		Help:    "Whose account it is: user:NAME or service:NAME.",
		Example: text("user:alice"),
	}
	paramOpening = Param{
		Name: "opening", Kinds: paramAmount.Kinds, Optional: true,
		Help: "Opening balance in dollars, posted from equity:opening; none when left out.",
	}
)

var administration = []Operation{
	{
		Name:       atm.AccountOpen,
		Help:       "Opens an account.",
		Params:     []Param{paramAccount, paramOwner, paramOpening, paramHolder},
		Structured: true,
		rule:       openAccount,
	},
	{
		Name:       atm.AccountShow,
		Help:       "Shows the record of an account.",
		Params:     []Param{paramAccount},
		Structured: true,
		rule:       showAccount,
	},
	{
		Name: atm.AccountList,
		Help: "Lists accounts in order of number; next is the cursor of the page after it, empty " +
			"at the end. With a filter a page " +
			"may be short, or empty, and not the last.",
		Params:     []Param{paramCursor, paramLimit, paramAccountFilter},
		Structured: true,
		rule:       listAccounts,
		answer:     rows(recordBytes, 1),
	},
	{
		Name:       atm.AccountFreeze,
		Help:       "Freezes an account: no money moves until it is unfrozen.",
		Params:     []Param{paramAccount},
		Structured: true,
		rule:       standing(vault.Frozen),
	},
	{
		Name:       atm.AccountUnfreeze,
		Help:       "Lets a frozen account be used again.",
		Params:     []Param{paramAccount},
		Structured: true,
		rule:       standing(vault.Open),
	},
	{
		Name:       atm.AccountClose,
		Help:       "Closes an empty account for good. Its number is not used again.",
		Params:     []Param{paramAccount},
		Structured: true,
		rule:       standing(vault.Closed),
	},
	{
		Name: atm.AccountLimit,
		Help: "Limits what may leave an account by withdrawal, transfer and authorization. What " +
			"is left out is not limited, or, when only changes are made, as before.",
		Params: []Param{
			paramAccount,
			{
				Name: "per_operation", Kinds: paramAmount.Kinds, Optional: true,
				Help:    "Dollars that may leave at once, or none for no limit.",
				Example: text("500.00"),
			},
			{
				Name: "daily_amount", Kinds: paramAmount.Kinds, Optional: true,
				Help:    "Dollars that may leave in a day, or none for no limit.",
				Example: text("2000.00"),
			},
			{
				Name: "daily_count", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help:    "How often money may leave in a day: 0 for never, or none for no limit.",
				Example: atm.Arg{Kind: atm.Int, Text: "20"},
			},
			{
				Name: "zone", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "Time zone in which a day begins; UTC when left out, or none.",
				Example: text("America/New_York"),
			},
			{
				Name: "mode", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "change for the limits that are given alone, set for all of them; set when " +
					"left out.", Example: text("change"),
			},
		},
		Structured: true,
		rule:       limitAccount,
	},
	{
		Name: atm.CertIssue,
		Help: "Signs a client certificate for a subject over the key of a PKCS #10 request.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("service:billing"),
			},
			{
				Name: "request", Kinds: []atm.Kind{atm.String}, Help: "The certificate request, " +
					"PEM. Only its public key is used.",
				Example: text("-----BEGIN CERTIFICATE REQUEST-----…"),
			},
			{
				Name: "roles", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "Roles of the subject from now on, separated by spaces.",
				Example: text("teller"),
			},
			{
				Name: "life", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Life of the certificate in days, or with a unit, such as 36h or 15m: 5 " +
					"minutes to 825 days; 365 days when left out.",
			},
		},
		Structured: true,
		rule:       issueCertificate,
		answer:     atMost(issueBytes),
	},
	{
		Name: atm.UserAdd,
		Help: "Makes a user known and gives them roles, and a password for HTTP Digest.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("user:alice"),
			},
			{
				Name: "roles", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Roles from now on, separated by spaces; for somebody new, customer or " +
					"service when left out.", Example: text("customer"),
			},
			{
				Name: "password", Kinds: []atm.Kind{atm.String}, Optional: true, Secret: true,
				Help:    "At least 15 characters. Left out, a password that there is stays.",
				Example: text("…"),
			},
			{
				Name: "use", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "What the password is for: digest, or token for one that is stored with " +
					"argon2id and is good at the token endpoint alone. digest when left out.",
				Example: text("token"),
			},
			{
				Name: "expect", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "new to refuse a subject that is known, known to refuse one that is not.",
				Example: text("new"),
			},
		},
		Structured: true,
		rule:       addUser,
	},
	{
		Name: atm.UserList,
		Help: "Lists everybody who is known, in order of subject; next is the cursor of the page " +
			"after it, empty at the end.",
		Params: []Param{
			{
				Name: "cursor", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Where the page begins: next of the page before.",
			},
		},
		Structured: true,
		rule:       listUsers,
		answer:     atMost(listMost * rowBytes),
	},
	{
		Name: atm.UserDisable,
		Help: "Keeps somebody from signing in, in whatever way.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		Structured: true,
		rule:       disable(true),
	},
	{
		Name: atm.UserEnable,
		Help: "Lets somebody sign in again.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		Structured: true,
		rule:       disable(false),
	},
	{
		Name: atm.UserShow,
		Help: "Shows what is known of somebody.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		Structured: true,
		rule: func(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
			return vault.ShowUser{Subject: in.args[0].Text}, checkSubject(in.args[0].Text)
		},
	},
	{
		Name: atm.UserRevoke,
		Help: "Makes every certificate and token of somebody from before now count no longer, " +
			"on open connections too.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		rule: revokeSubject,
	},
	{
		Name: atm.CertInvite,
		Help: "Makes a code by which somebody gets one certificate at /enroll, over a key of " +
			"their own.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("service:billing"),
			},
			{
				Name: "roles", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "Roles of the subject from then on, separated by spaces.",
				Example: text("teller"),
			},
			{
				Name: "wait", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "How long the code can be used, such as 30m; 24h when left out, 144h at most.", Example: text("24h"),
			},
			{
				Name: "life", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Life of the certificate, as for admin.cert.issue.",
			},
		},
		Structured: true,
		rule:       inviteClient,
	},
	{
		Name: atm.CertRenew,
		Help: "Signs another certificate for who signed in by one of this server, over the key " +
			"of a PKCS #10 request, as long as the one before.",
		Params: []Param{
			{
				Name: "request", Kinds: []atm.Kind{atm.String}, Help: "The certificate request, " +
					"PEM. Only its public key is used.",
				Example: text("-----BEGIN CERTIFICATE REQUEST-----…"),
			},
		},
		Structured: true,
		rule:       renewCertificate,
	},
	{
		Name: atm.CertRevoke,
		Help: "Makes a certificate count no longer, on open connections too.",
		Params: []Param{
			{Name: "serial", Kinds: []atm.Kind{atm.String}, Help: "Its serial number in " +
				"hexadecimal.", Example: text("5f3a9c0e")},
			{
				Name: "foreign", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "foreign for a certificate that this server did not issue.",
				Example: text("foreign"),
			},
		},
		rule: revokeCertificate,
	},
	{
		Name: atm.GrantCreate,
		Help: "Lets somebody else act on accounts of the caller, up to a total and for a time. " +
			"The grant is a token.",
		Params: []Param{
			paramAccount,
			{
				Name: "operations", Kinds: []atm.Kind{atm.String},
				Help: "inquiry, deposit, withdraw, transfer or authorize; several separated by " +
					"spaces.", Example: text("withdraw"),
			},
			{Name: "cap", Kinds: paramAmount.Kinds, Help: "Dollars that may be moved under it in " +
				"all.", Example: text("50.00")},
			{Name: "to", Kinds: []atm.Kind{atm.String}, Help: "Who may act: user:NAME or " +
				"service:NAME.", Example: text("service:billing")},
			{
				Name: "seconds", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Its life, 1 to 3600; 300 when left out.", Example: atm.Arg{
					Kind: atm.Int,
					Text: "300",
				},
			},
			{
				Name: "more", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "More accounts that it is for, separated by spaces.",
			},
		},
		Structured: true,
		rule:       createGrant,
	},
	{
		Name: atm.TokenIssue,
		Help: "Makes a token for somebody.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("service:billing"),
			},
			{
				Name: "scope", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Methods that it is for, separated by spaces; * for all, also when left " +
					"out.",
				Example: text("inquiry deposit"),
			},
			{
				Name: "seconds", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Its life, 1 to 3600; 900 when left out.", Example: atm.Arg{
					Kind: atm.Int,
					Text: "900",
				},
			},
			{
				Name: "certificate", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "SHA-256 in base64url of the certificate that the token is bound to.",
			},
		},
		Structured: true,
		rule:       issueToken,
	},
	{
		Name: atm.TokenRevoke,
		Help: "Makes a token count no longer.",
		Params: []Param{
			{
				Name: "jti", Kinds: []atm.Kind{atm.String}, Help: "Its id.",
				Example: text("R3GZ5X7TQ2"),
			},
			{
				Name: "issuer", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Who issued it; this server when left out.",
			},
		},
		rule: revokeToken,
	},
	{
		Name: atm.CertList,
		Help: "Lists the client certificates that were issued, and which of them are revoked, in " +
			"order of serial number; " +
			"next is the cursor of the page after it, empty at the end. Those that ended long " +
			"ago are not in it; " +
			"last_use is empty for those that the newest 10,000 entries of the log do not name.",
		Params: []Param{
			{
				Name: "cursor", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Where the page begins: next of the page before.",
			},
		},
		Structured: true,
		rule:       listCertificates,
		answer:     atMost(listMost * rowBytes),
	},
	{
		Name:       atm.CertCRL,
		Help:       "Gives the certificate revocation list of the authority of clients, in PEM.",
		Structured: true,
		rule:       revocationList,
		answer:     atMost(crlBytes),
	},
	{
		Name: atm.AuditList,
		Help: "Lists entries of the audit log, newest first; next is the cursor of the page " +
			"after it, empty at the end.",
		Params: []Param{{
			Name: "filter", Kinds: []atm.Kind{atm.Struct}, Optional: true,
			Help: "account, who, operation, event, status, code: what they must be; since and " +
				"until: times in RFC 3339; " +
				"before: an index; limit: 1 to 500, 50 when left out; cursor: next of the page " +
				"before.",
			Example: atm.Arg{
				Kind:    atm.Struct,
				Members: []atm.Member{{Name: "account", Arg: text("100")}},
			},
		}},
		Structured: true,
		read:       listEntries,
		answer:     atMost(entryBytes + listMost*256),
	},
	{
		Name: atm.AuditBalances,
		Help: "Tells a hash of all balances and the size of the audit log that they follow " +
			"from, in one snapshot.",
		Structured: true,
		read:       hashBalances,
	},
	{
		Name: atm.AuditRotate,
		Help: "Replaces the key of the audit log. The old key also signs until the next rotation.",
		rule: rotateAudit,
	},
	{
		Name: atm.TokenRotate,
		Help: "Makes another key sign tokens, and returns what it is called. Tokens of the key " +
			"before are good until they end.",
		Params: []Param{
			{
				Name: "force", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "force, to rotate although tokens of the key before stop working.",
				Example: text("force"),
			},
		},
		rule: rotateTokens,
	},
	{
		Name: atm.VaultRotate,
		Help: "Replaces the keys that the vault is sealed with. What is there is sealed again in " +
			"the background.",
		rule: rotateVault,
	},
	{
		Name: atm.ServerStatus,
		Help: "Tells how the server is: what it runs, what it has published, when its " +
			"certificates end, " +
			"and when a backup was taken.",
		Structured: true,
		rule:       showStatus,
		answer:     atMost(statusBytes),
	},
}

func openAccount(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.NotFound)
	if refusal != nil {
		return refusal, nil
	}
	r := vault.OpenAccount{Account: account}
	if owner := in.args[1]; owner.Given() {
		if err := checkSubject(owner.Text); err != nil {
			return nil, err
		}
		r.Owner = owner.Text
	}
	if in.args[2].Given() {
		if r.Opening, refusal = in.amount(2); refusal != nil {
			return refusal, nil
		}
	}
	var err error
	r.Holder, err = in.holder(3)
	return r, err
}

func showAccount(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.NotFound)
	if refusal != nil {
		return refusal, nil
	}
	return vault.ShowAccount{Account: account}, nil
}

func standing(s vault.Standing) func(context.Context, *Teller, *input) (vault.Rule, error) {
	return func(_ context.Context, _ *Teller, in *input) (vault.Rule, error) {
		account, refusal := in.account(0, vault.NotFound)
		if refusal != nil {
			return refusal, nil
		}
		return vault.SetStanding{Account: account, Standing: s}, nil
	}
}

const (
	certificateLifeMin = 5 * time.Minute
	certificateDays    = 365
	certificateDaysMax = 825
)

func issueCertificate(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	subject := in.args[0].Text
	if err := checkSubject(subject); err != nil {
		return nil, err
	}
	roles, err := parseRoles(in.args[2].Text)
	if err != nil {
		return nil, err
	}
	life := certificateDays * 24 * time.Hour
	if arg := in.args[3]; arg.Given() {
		if life, err = certificateLife(arg.Text); err != nil {
			return nil, err
		}
	}
	if in.caller.Derived() {
		var ok bool
		if life, ok = in.whole(life); !ok {
			return tooMuch, nil
		}
	}
	// A certificate says in whole seconds when it was issued.
	in.about = append(in.about, vault.Warrant{
		Subject: subject,
		Issued:  time.Now().Truncate(time.Second), Named: true, Stranger: true,
	})
	return t.certificate(in.args[1].Text, subject, roles, life)
}

// whole bounds the life of a certificate that is asked for by a token. A certificate
// has no scope, so a token that is for some operations alone makes none.
func (in *input) whole(life time.Duration) (time.Duration, bool) {
	left, ok := in.caller.Left(life, time.Now())
	return left, ok && in.caller.InScope("*")
}

// certificateLife reads the life of a certificate, in days or with a unit.
func certificateLife(text string) (time.Duration, error) {
	life, err := time.ParseDuration(text)
	if days, notDays := strconv.Atoi(text); notDays == nil && days <= certificateDaysMax {
		life, err = time.Duration(days)*24*time.Hour, nil
	}
	if err != nil || life < certificateLifeMin || life > certificateDaysMax*24*time.Hour {
		return 0, malformed("the life of a certificate is %v to %d days", certificateLifeMin,
			certificateDaysMax)
	}
	return life, nil
}

// renewCertificate gives a caller who came by a certificate of this server's
// own authority another one, over another key and as long as the one it has.
func renewCertificate(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	if in.caller.Life <= 0 || in.caller.Actor != "" {
		return vault.Refuse(atm.PermissionDenied, "Only who signs in by a certificate of this "+
			"server renews it"), nil
	}
	enrol, err := t.certificate(in.args[0].Text, in.caller.Subject, nil, in.caller.Life)
	return vault.Renewed{Enrol: enrol, Serial: in.caller.Serial, Issued: in.caller.Issued}, err
}

// certificate signs a certificate for subject over the key of a request.
func (t *Teller) certificate(request, subject string, roles []atm.Role,
	life time.Duration,
) (vault.Enrol, error) {
	issued, err := t.cfg.IssueClient([]byte(request), subject, life)
	if err != nil {
		return vault.Enrol{}, malformed("the certificate request: %w", err)
	}
	record := &vault.Certificate{
		Serial: issued.Serial, Subject: subject,
		NotAfter: issued.NotAfter.UTC(),
	}
	return vault.Enrol{
		Subject: subject, Roles: roles, Default: newcomer(subject),
		Certificate: record, Result: atm.Record{
			{Name: "certificate", Value: issued.Certificate},
			{Name: "authority", Value: issued.Authority},
			{Name: "serial", Value: issued.Serial},
			{Name: "sha256", Value: issued.SHA256},
			{Name: "not_after", Value: issued.NotAfter.UTC().Format(time.RFC3339)},
		},
	}, nil
}

func rotateAudit(ctx context.Context, t *Teller, _ *input) (vault.Rule, error) {
	r, err := t.cfg.RotateAudit(ctx)
	if errors.Is(err, ErrNotPublished) {
		return nil, malformed("%w", err)
	}
	if err != nil {
		return nil, err
	}
	return vault.Report{Result: r.New}, nil
}

// ErrNotPublished reports a rotation of the key of the log before a checkpoint is
// published that the last key signed.
var ErrNotPublished = errors.New("the log is not published with the key of the last rotation " +
	"yet: try again")

// ErrKeyElsewhere reports a rotation of a key that the server cannot make.
var ErrKeyElsewhere = errors.New("the key of tokens is in a module: put another one there, and " +
	"start the server with its URI")

func rotateTokens(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	force := in.args[0].Given()
	if force && in.args[0].Text != "force" {
		return nil, malformed("what can be said is force")
	}
	old, kid, wait, err := t.cfg.RotateTokens(force)
	if errors.Is(err, ErrKeyElsewhere) {
		return nil, malformed("%w", err)
	}
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return nil, malformed("tokens of the key before the last one are good for another %v; "+
			"force makes them die", wait.Round(time.Second))
	}
	t.KeyRotated(ctx, old, kid)
	return vault.Report{Result: kid}, nil
}

// ErrSharedVault reports a rotation of keys that other servers have as well.
var ErrSharedVault = errors.New("several servers share this key: rotate it while they are " +
	"stopped, with atmctl vault rekey")

func rotateVault(_ context.Context, t *Teller, _ *input) (vault.Rule, error) {
	err := t.cfg.RotateVault()
	if errors.Is(err, ErrSharedVault) {
		return nil, malformed("%w", err)
	}
	if err != nil {
		return nil, err
	}
	return vault.Report{Result: ""}, nil
}

var errSubject = malformed("a subject is user:NAME or service:NAME, NAME of 1 to 64 letters, " +
	"digits and . _ -")

func checkSubject(s string) error {
	if _, _, ok := atm.ParseSubject(s); !ok {
		return errSubject
	}
	return nil
}

func parseRoles(s string) ([]atm.Role, error) {
	var roles []atm.Role
	for word := range strings.FieldsSeq(s) {
		role, known := atm.ParseRole(word)
		if !known {
			return nil, malformed("there is no role %q", shorten(word))
		}
		roles = append(roles, role)
	}
	return roles, nil
}
