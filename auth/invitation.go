package auth

import (
	"encoding/json"
	"time"

	"example.com/atm"
	"github.com/golang-jwt/jwt/v5"
)

// An Invitation lets a subject that cannot sign in yet get one certificate. Its
// code is a JWT of a type of its own, signed as tokens are. The vault sees to it
// that each code is used once.
type Invitation struct {
	Subject string
	// that the subject gets with it, separated by spaces; empty for those it has
	Roles   string
	Life    time.Duration // of the certificate
	ID      string
	Issued  time.Time
	Expires time.Time
	Until   time.Time // when the certificate ends at the latest; zero for no bound

	// Known is whether the subject was known when it was invited. By is the subject that
	// invited, and Via the name of the revocation of By's credential, "" for none: the
	// invitation is good as long as By may invite.
	Known   bool
	By, Via string
}

// MaxInvitation is the longest an invitation can wait: that is how long the vault
// remembers the invitations that were used.
const MaxInvitation = 6 * 24 * time.Hour

const invitationType = "atm-invitation+jwt"

// Invite returns the code of an invitation.
func (t *Tokens) Invite(i Invitation) (code string, err error) {
	all := jwt.MapClaims{
		"iss": t.issuer, "aud": t.issuer + "/enroll", "sub": i.Subject, "jti": i.ID,
		"iat": i.Issued.Unix(), "exp": i.Expires.Unix(), "roles": i.Roles,
		"life": int64(i.Life / time.Second),
	}
	all["known"], all["by"], all["via"] = i.Known, i.By, i.Via
	if !i.Until.IsZero() {
		all["until"] = i.Until.Unix()
	}
	return t.sign(invitationType, all)
}

// Invited returns the invitation of a code that is good now; an *Error
// otherwise. One from before everything of its subject was revoked is not.
func (a *Authenticator) Invited(code string) (Invitation, error) {
	bad := &Error{"invitation that is none, or is over"}
	t := a.cfg.Tokens
	if t == nil || len(code) > maxToken {
		return Invitation{}, bad
	}
	_, payload, err := t.signed(code, invitationType)
	if err != nil {
		return Invitation{}, bad
	}
	i := Invitation{Subject: word(payload["sub"]), ID: word(payload["jti"])}
	roles, okRoles := text(payload["roles"])
	var life int64
	okLife := json.Unmarshal(payload["life"], &life) == nil && life > 0
	i.Roles, i.Life = roles, time.Duration(life)*time.Second
	var okIssued, okExpires bool
	i.Issued, okIssued = seconds(payload["iat"])
	i.Expires, okExpires = seconds(payload["exp"])
	i.By, i.Via = word(payload["by"]), word(payload["via"])
	okUntil, okKnown := true, true
	if known := payload["known"]; known != nil { // those of older servers do not say it
		okKnown = json.Unmarshal(known, &i.Known) == nil
	}
	if until := payload["until"]; until != nil {
		i.Until, okUntil = seconds(until)
	}
	_, _, okSubject := atm.ParseSubject(i.Subject)
	now := t.now()
	switch {
	case word(payload["iss"]) != t.issuer, word(payload["aud"]) != t.issuer+"/enroll", !okSubject,
		i.ID == "", !okIssued, !okExpires, !okRoles, !okLife, !okUntil, !okKnown:
		return Invitation{}, bad
	case !now.Before(i.Expires), i.Issued.After(now.Add(ownSlack)),
		i.Expires.Sub(i.Issued) > MaxInvitation:
		return Invitation{}, bad
	}
	i.Issued = i.Issued.Add(-ownSlack)
	if a.cfg.Directory.isRevoked("jti:"+i.ID, i.Subject, i.Issued) {
		return Invitation{}, &Error{"invitation revoked"}
	}
	return i, nil
}
