package teller

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
)

// An Invitation lets somebody get one certificate.
type Invitation struct {
	Subject string
	Roles   string        // separated by spaces; empty for those it has
	Life    time.Duration // of the certificate
	ID      string
	Issued  time.Time
	Expires time.Time

	// Until bounds the certificate, however long its life would be; zero for no bound.
	Until time.Time
}

const (
	invitationWait     = 24 * time.Hour
	invitationWaitMin  = time.Minute
	invitationWaitMost = 6 * 24 * time.Hour
)

func inviteClient(_ context.Context, t *Teller, in *input) (vault.Rule, error) {
	i := Invitation{Subject: in.args[0].Text, Roles: in.args[1].Text, Life: certificateDays * 24 * time.Hour, ID: rand.Text(), Issued: time.Now().Truncate(time.Second)}
	if err := checkSubject(i.Subject); err != nil {
		return nil, err
	}
	if _, err := parseRoles(i.Roles); err != nil {
		return nil, err
	}
	wait := invitationWait
	if arg := in.args[2]; arg.Given() {
		var err error
		if wait, err = time.ParseDuration(arg.Text); err != nil || wait < invitationWaitMin || wait > invitationWaitMost {
			return nil, malformed("an invitation waits for %v to %v", invitationWaitMin, invitationWaitMost)
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
	i.Expires = i.Issued.Add(wait)
	code, err := t.cfg.Invite(i)
	if err != nil {
		return nil, err
	}
	return vault.Report{Result: atm.Record{ // the log keeps its hash
		{Name: "code", Value: code},
		{Name: "jti", Value: i.ID},
		{Name: "expires", Value: i.Expires.UTC().Format(time.RFC3339)},
	}}, nil
}

// ErrUsed reports an invitation that was used before, or whose subject may not
// sign in.
var ErrUsed = errors.New("the invitation was used before, or counts no longer")

// Enroll follows an invitation: it signs a certificate over the key of request,
// once. The id of the invitation is a request id, so that its use, the
// certificate and the entry are one transaction. A *MalformedError is about
// request, and leaves the invitation good.
func (t *Teller) Enroll(ctx context.Context, i Invitation, request, ip string) (atm.Record, error) {
	roles, err := parseRoles(i.Roles)
	if err != nil {
		return nil, err
	}
	life := i.Life
	if !i.Until.IsZero() {
		life = min(life, time.Until(i.Until))
	}
	enrol, err := t.certificate(request, i.Subject, roles, life)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(request))
	caller := &atm.Caller{Principal: atm.Principal{Subject: i.Subject}, Credential: atm.Credential{Method: "invitation", User: i.ID}, IP: ip}
	status := t.cfg.Ledger.Do(ctx, vault.Command{
		Event: audit.EventAdmin, Operation: atm.CertEnroll, Rule: vault.Invited{Enrol: enrol, Issued: i.Issued},
		Caller:  caller,
		Args:    []audit.Arg{{Name: "request", Value: base64.StdEncoding.EncodeToString(sum[:])}},
		Request: t.cfg.Requests.Request(caller, atm.RequestID(i.ID)),
	})
	record, first := status.Result.(atm.Record)
	switch {
	case status.Code == atm.PermissionDenied:
		return nil, ErrUsed
	case status.Receipt == "":
		return nil, ErrUnavailable
	case status.Code != atm.OK || !first:
		return nil, ErrUsed
	}
	return record, nil
}
