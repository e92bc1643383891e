package auth

import (
	"context"
	"crypto/fips140"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"example.com/atm"
	"example.com/atm/auth/throttle"
	"golang.org/x/crypto/argon2"
)

// A user who may not sign in by Digest has a secret that is hashed with argon2id (RFC 9106).
// Unlike the HA1 of Digest, the hash does not let its reader sign in. The secret works at the
// token endpoint alone, and only a few are checked at a time, because each check takes memory
// and time.
const (
	argonKiB    = 19 << 10 // 19 MiB, 2 passes, 1 thread: what OWASP advises
	argonPasses = 2
	argonLanes  = 1
	argonSalt   = 16 // bytes
	argonHash   = 32 // bytes
)

// errNotFIPS reports a secret where only FIPS 140 algorithms are allowed.
var errNotFIPS = errors.New("a secret for tokens alone is hashed with argon2id, which is not " +
	"allowed where nothing but FIPS 140 is")

// HashSecret returns the hash of a secret in the PHC string format.
func HashSecret(secret string) ([]byte, error) {
	if fips140.Enforced() {
		return nil, errNotFIPS
	}
	salt := make([]byte, argonSalt)
	rand.Read(salt) // never fails
	return []byte(phc(salt, slowHash(secret, salt))), nil
}

func slowHash(secret string, salt []byte) []byte {
	return argon2.IDKey([]byte(secret), salt, argonPasses, argonKiB, argonLanes, argonHash)
}

func phc(salt, hash []byte) string {
	return fmt.Sprintf("%s%s$%s", phcHead, base64.RawStdEncoding.EncodeToString(salt),
		base64.RawStdEncoding.EncodeToString(hash))
}

var phcHead = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonKiB, argonPasses,
	argonLanes)

// parsePHC parses the result of HashSecret.
func parsePHC(text string) (salt, hash []byte, ok bool) {
	rest, ok := strings.CutPrefix(text, phcHead)
	if !ok {
		return nil, nil, false
	}
	first, second, _ := strings.Cut(rest, "$")
	salt, err := base64.RawStdEncoding.Strict().DecodeString(first)
	if err != nil || len(salt) != argonSalt {
		return nil, nil, false
	}
	hash, err = base64.RawStdEncoding.Strict().DecodeString(second)
	return salt, hash, err == nil && len(hash) == argonHash
}

// secrets checks secrets, a few at a time.
type secrets struct {
	slots *slots
	dummy string // hash for unknown users
}

func newSecrets() *secrets {
	var random [argonSalt + argonHash]byte
	rand.Read(random[:]) // never fails
	return &secrets{slots: newSlots(), dummy: phc(random[:argonSalt], random[argonSalt:])}
}

// check reports whether secret has this hash. For an empty hash it reports false after the same
// time. A check waits for its turn among those from the same address and for the same user.
func (s *secrets) check(ctx context.Context, hashed, secret, address, user string) (bool, error) {
	if fips140.Enforced() {
		return false, nil
	}
	known := hashed != ""
	if !known {
		hashed = s.dummy
	}
	salt, want, ok := parsePHC(hashed)
	if !ok {
		return false, errors.New("a stored secret has an unknown form")
	}
	if err := s.slots.enter(ctx, address, user); err != nil {
		return false, err
	}
	defer s.slots.leave()
	return subtle.ConstantTimeCompare(slowHash(secret, salt), want) == 1 && known, nil
}

// maxSecret bounds a secret, in bytes.
const maxSecret = 256

// Secret authenticates r by a secret, its only credential. It returns an *Error, ErrBusy, or
// the error of a cancelled request. id is a subject or the name of a user.
func (a *Authenticator) Secret(r *http.Request, id, secret string) (*atm.Caller, error) {
	subject := Claimant(id)
	if _, _, ok := atm.ParseSubject(subject); !ok || len(secret) > maxSecret {
		subject, secret = "", ""
	}
	address := throttle.Network(Address(r.RemoteAddr))
	member, _ := a.cfg.Directory.Member(subject)
	good, err := a.secrets.check(r.Context(), member.Slow, secret, address, subject)
	if err == nil && !good {
		err = &Error{"wrong user or secret"}
	}
	if a.refreshed(r.Context(), err) {
		member, _ = a.cfg.Directory.Member(subject)
		if good, err = a.secrets.check(r.Context(), member.Slow, secret, address,
			subject); err == nil && !good {
			err = &Error{"wrong user or secret"}
		}
	}
	if err != nil {
		return nil, err
	}
	return &atm.Caller{
		Principal: atm.Principal{Subject: subject, Roles: member.Roles},
		Credential: atm.Credential{
			Method: "secret", User: subject,
			Verifier: verifierOf(member.Slow),
		},
		IP: Address(r.RemoteAddr).String(),
	}, nil
}

// Claimant is the subject that the client_id of a form claims. client_id is a subject or the
// name of a user.
func Claimant(id string) string {
	if strings.Contains(id, ":") {
		return id
	}
	return "user:" + id
}
