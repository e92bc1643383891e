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
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
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
		Subject: in.args[0].Text, Roles: in.args[1].Text,
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
	if arg := in.args[2]; arg.Given() {
		var err error
		if wait, err = time.ParseDuration(arg.Text); err != nil || wait < invitationWaitMin ||
			wait > invitationWaitMost {
			return nil, malformed("an invitation waits for %v to %v", invitationWaitMin,
				invitationWaitMost)
		}
	}
	if arg := in.args[3]; arg.Given() {
		var err error
		if i.Life, err = certificateLife(arg.Text); err != nil {
			return nil, err
		}
	}
	if in.caller.Derived() {
		var ok bool
		if wait, ok = in.whole(wait); !ok {
			return tooMuch, nil
		}
		i.Until = in.caller.Expires
	}
	i.Expires, i.By, i.Via = i.Issued.Add(wait), in.caller.Subject, in.caller.Revocation
	var err error
	if i.Known, err = t.knows(ctx, i.Subject); err != nil {
		return nil, err
	}
	code, err := t.cfg.Credentials.Invite(i)
	if err != nil {
		return nil, err
	}
	in.about = append(in.about, people.Warrant{
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

// knows reports whether a subject is known, disabled or not.
func (t *Teller) knows(ctx context.Context, subject string) (bool, error) {
	all, err := t.cfg.Store.Users(ctx)
	_, found := slices.BinarySearchFunc(all, subject, func(u people.User, s string) int {
		return strings.Compare(u.Subject, s)
	})
	return found, err
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
		Args:    []audit.Arg{{Name: "request", Value: base64.StdEncoding.EncodeToString(sum[:])}},
		Request: t.cfg.Requests.Request(caller, atm.RequestID(i.ID)),
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
	status := t.cfg.Ledger.Do(ctx, cmd)
	switch {
	case status.Code == atm.PermissionDenied:
		return nil, ErrUsed
	case status.Receipt == "":
		return nil, ErrUnavailable
	case status.Code != atm.OK:
		return nil, ErrUsed
	}
	text, _ := status.Result.(string)
	record, err := enrolled(text)
	if err != nil { // an answer of an older server, which the log does not keep whole
		return nil, ErrUsed
	}
	return append(record, atm.Field{Name: "authority", Value: authority}), nil
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
