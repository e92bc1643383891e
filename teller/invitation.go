package teller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/sessions"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// An Invitation lets a subject get one certificate.
type Invitation struct {
	Subject string
	Roles   string        // separated by spaces; empty for those it has
	Life    time.Duration // of the certificate
	ID      string
	Issued  time.Time // of one that was followed: by the clock that is furthest behind
	Expires time.Time

	// Until bounds the certificate, however long its life would be; zero for no bound.
	Until time.Time

	// Known is whether the subject was known when it was invited. By is the subject that
	// invited, and Via the name of the revocation of By's credential, "" for none: the
	// invitation is good as long as By may invite.
	Known   bool
	By, Via string
}

// InvitationWait is how long an invitation can be followed when nothing else is asked for.
const InvitationWait = 24 * time.Hour

const (
	invitationWaitMin  = time.Minute
	invitationWaitMost = 6 * 24 * time.Hour
)

func inviteClient(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	i := Invitation{
		Subject: in.Args[0].Text, Roles: in.Args[1].Text,
		Life: certificateDays * 24 * time.Hour, ID: rand.Text(),
		Issued: time.Now().Truncate(time.Second),
	}
	if err := checkSubject(i.Subject); err != nil {
		return nil, err
	}
	if _, err := words.Roles(i.Roles); err != nil {
		return nil, malformed("%w", err)
	}
	wait := InvitationWait
	if arg := in.Args[2]; arg.Given() {
		var err error
		if wait, err = time.ParseDuration(arg.Text); err != nil || wait < invitationWaitMin ||
			wait > invitationWaitMost {
			return nil, malformed("an invitation waits for %v to %v", invitationWaitMin,
				invitationWaitMost)
		}
	}
	if arg := in.Args[3]; arg.Given() {
		var err error
		if i.Life, err = certificateLife(arg.Text); err != nil {
			return nil, err
		}
	}
	if in.Caller.Derived() {
		var ok bool
		if wait, ok = in.whole(wait); !ok {
			return tooMuch, nil
		}
		i.Until = in.Caller.Expires
	}
	i.Expires, i.By, i.Via = i.Issued.Add(wait), in.Caller.Subject, in.Caller.Revocation
	var err error
	if i.Known, err = lookup.Knows(ctx, t.cfg.Store, i.Subject); err != nil {
		return nil, err
	}
	code, err := t.cfg.Credentials.Invite(i)
	if err != nil {
		return nil, err
	}
	in.About = append(in.About, people.Warrant{
		Subject: i.Subject,
		Issued:  i.Issued.Add(-t.cfg.Credentials.Slack()), Named: true, Stranger: true,
	})
	// the log keeps its hash
	return vault.People(people.IssueToken{
		For: i.Subject, ID: i.ID, Scope: string(atm.CertEnroll),
		Ends: i.Expires, Result: atm.Record{
			{Name: "code", Value: code},
			{Name: "jti", Value: i.ID},
			{Name: "expires", Value: i.Expires.UTC().Format(time.RFC3339)},
		},
	}), nil
}

// ErrUsed reports an invitation that was used before, or whose subject may not
// sign in.
var ErrUsed = errors.New("the invitation was used before, or counts no longer")

// Enroll follows an invitation: it signs a certificate over the key of request,
// once. The id of the invitation is a request id, so that its use, the
// certificate and the entry are one transaction; the same request again, whose answer may
// have been lost, gets the same certificate. A *MalformedError is about
// request, and leaves the invitation good.
func (t *Teller) Enroll(ctx context.Context, i Invitation, request, ip string) (atm.Record, error) {
	roles, err := words.Roles(i.Roles)
	if err != nil {
		return nil, malformed("%w", err)
	}
	life := i.Life
	if !i.Until.IsZero() {
		life = min(life, time.Until(i.Until))
	}
	enrol, err := t.certificate(request, i.Subject, roles, life)
	if err != nil {
		return nil, err
	}
	authority := enrol.Result.(atm.Record).Get("authority")
	enrol.Result = enrol.Result.(atm.Record).Get("certificate") // a text, which the log keeps whole
	sum := sha256.Sum256([]byte(request))
	status, err := t.follow(ctx, i, enrol, ip,
		audit.Arg{Name: "request", Value: base64.StdEncoding.EncodeToString(sum[:])})
	if err != nil {
		return nil, err
	}
	text, _ := status.Result.(string)
	record, err := enrolled(text)
	if err != nil { // an answer of an older server, which the log does not keep whole
		return nil, ErrUsed
	}
	return append(record, atm.Field{Name: "authority", Value: authority}), nil
}

// EnrollPasskey follows an invitation, once: it adds a passkey to those of its subject. A
// sessions.MalformedError is about the name of the passkey, and leaves the invitation good.
func (t *Teller) EnrollPasskey(ctx context.Context, i Invitation, p people.Passkey,
	ip string,
) error {
	roles, err := words.Roles(i.Roles)
	if err != nil {
		return malformed("%w", err)
	}
	if err := sessions.CheckName(p.Name); err != nil {
		return err
	}
	if !i.Until.IsZero() { // a passkey has no end
		return ErrUsed
	}
	p.Subject = i.Subject
	_, err = t.follow(ctx, i, people.Enrol{
		Subject: i.Subject, Roles: roles, Default: words.Newcomer(i.Subject), Passkey: &p,
		Result: "",
	}, ip, sessions.PasskeyArgs(&p)...)
	return err
}

// follow carries out what an invitation is followed for.
func (t *Teller) follow(ctx context.Context, i Invitation, enrol people.Enrol, ip string,
	args ...audit.Arg,
) (atm.Status, error) {
	caller := &atm.Caller{
		Principal:  atm.Principal{Subject: i.Subject},
		Credential: atm.Credential{Method: "invitation", User: i.ID}, IP: ip,
	}
	cmd := vault.Command{
		Event: audit.EventAdmin, Operation: atm.CertEnroll, Caller: caller,
		Rule: t.keepOperator(vault.People(people.Invited{
			Enrol: enrol, ID: i.ID, Issued: i.Issued,
			Known: i.Known,
		})),
		Args:    args,
		Request: t.cfg.Requests.Hash(caller, atm.RequestID(i.ID)),
	}
	if i.By != "" && i.By != systemInit {
		cmd.Warrants = []people.Warrant{{
			Subject: i.By, Revocation: i.Via, Issued: i.Issued,
			Permits: func(roles []atm.Role) bool {
				return t.cfg.Permissions.Permit(atm.Principal{Subject: i.By, Roles: roles},
					atm.CertInvite) != atm.Nowhere
			},
		}}
	}
	switch status := t.cfg.Ledger.Do(ctx, cmd); {
	case status.Code == atm.PermissionDenied:
		return status, ErrUsed
	case status.Receipt == "":
		return status, ErrUnavailable
	case status.Code != atm.OK:
		return status, ErrUsed
	default:
		return status, nil
	}
}

// systemInit is the program itself.
const systemInit = "system:init"

// enrolled is the record of a certificate in PEM. It is that of the first time when the
// request came twice.
func enrolled(text string) (atm.Record, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(cert.Raw)
	return atm.Record{
		{Name: "certificate", Value: text},
		{Name: "serial", Value: cert.SerialNumber.Text(16)},
		{Name: "sha256", Value: hex.EncodeToString(sum[:])},
		{Name: "not_after", Value: cert.NotAfter.UTC().Format(time.RFC3339)},
	}, nil
}
