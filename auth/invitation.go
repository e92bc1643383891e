package auth

import (
	"encoding/json"
	"time"

	"example.com/atm"
	"github.com/golang-jwt/jwt/v5"
)

// An Invitation lets a subject that cannot sign in yet get one certificate. Its code is a JWT
// of a type of its own, signed as tokens are. The vault makes sure that each code is used once.
type Invitation struct {
	Subject string
	// Roles are given to the subject, separated by spaces. Empty keeps the roles that it has.
	Roles   string
	Life    time.Duration // life of the certificate
	ID      string
	Issued  time.Time
	Expires time.Time
	Until   time.Time // latest end of the certificate; zero for no bound

	// Known says whether the subject was known at the time of the invitation. By is the inviting
	// subject, and Via the revocation name of By's credential, or "" if there is none. The
	// invitation is good as long as By may invite.
	Known   bool
	By, Via string
}

// MaxInvitation is the longest life of an invitation. The vault remembers used invitations for
// as long.
const MaxInvitation = 6 * 24 * time.Hour

const invitationType = "atm-invitation+jwt"

// Invite returns the code for an invitation.
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

// Invited verifies the code of an invitation, and returns an *Error if it is not good now.
// Revoking everything of its subject also revokes an earlier invitation.
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
	if known := payload["known"]; known != nil { // older servers do not write it
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
