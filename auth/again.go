package auth

import (
	"crypto/sha256"
	"net/http"

	"example.com/atm"
)

// Again returns the sender of r as of now. caller is the result of Authenticate or Secret
// before the body of r arrived. Since then the credential may have expired or been revoked, and
// the roles may have changed. The errors are those of Authenticate.
func (a *Authenticator) Again(r *http.Request, caller *atm.Caller) (*atm.Caller, error) {
	again, err := a.again(r, caller)
	if err != nil && a.refreshed(r.Context(), err) {
		return a.again(r, caller)
	}
	return again, err
}

func (a *Authenticator) again(r *http.Request, caller *atm.Caller) (*atm.Caller, error) {
	if caller.Session != "" {
		return a.session(r)
	}
	if caller.Verifier == "" {
		now, _, err := a.authenticate(r)
		return now, err
	}
	// A response to a challenge works only once, and a secret is expensive to check, so neither is
	// checked again. They stay good as long as the password is unchanged and the certificate that
	// came with them is good.
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		if _, err := a.certificate(r.TLS.PeerCertificates, r.RemoteAddr); err != nil {
			return nil, err
		}
	}
	member, known := a.cfg.Directory.Member(caller.Subject)
	if !known || caller.Verifier != verifierOf(member.HA1) &&
		caller.Verifier != verifierOf(member.Slow) {
		return nil, &Error{"password that was taken back"}
	}
	now := *caller
	now.Roles = member.Roles
	return &now, nil
}

// verifierOf is the atm.Credential.Verifier for a stored password.
func verifierOf(stored string) string {
	if stored == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(stored))
	return string(sum[:])
}
