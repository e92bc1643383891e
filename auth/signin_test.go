package auth_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"testing"

	"example.com/atm"
	"example.com/atm/auth"
)

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestDigestSignsInWhomTheDirectoryKnows answers a challenge. The tests of package digest cover
// the rest.
func TestDigestSignsInWhomTheDirectoryKnows(t *testing.T) {
	const password = "correct horse battery"
	d := directory()
	d.Update(map[string]auth.Member{"user:alice": {
		Roles: []atm.Role{atm.Customer}, HA1: hash("alice:" + domain + ":" + password),
	}})
	a := auth.New(auth.Config{TrustDomain: domain, Realm: domain, Directory: d})
	answer := func(user, password string) string {
		nonce := regexp.MustCompile(`nonce="([^"]+)"`).FindStringSubmatch(a.Challenges(false)[0])[1]
		return fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri="https://localhost/RPC2", `+
			`algorithm=SHA-256, qop=auth, nc=00000001, cnonce="c", response=%q`, user,
			domain, nonce,
			hash(hash(user+":"+domain+":"+password)+":"+nonce+":00000001:c:auth:"+
				hash("POST:https://localhost/RPC2")))
	}
	good := answer("alice", password)
	caller, _, err := a.Authenticate(request(nil, good))
	if err != nil || caller.Subject != "user:alice" || caller.Method != "digest" ||
		caller.User != "alice" || len(caller.Roles) != 1 || caller.IP != "192.0.2.7" {
		t.Fatalf("%+v, %v", caller, err)
	}
	for name, header := range map[string]string{
		"again": good, "a wrong password": answer("alice", "wrong"),
		"somebody without one": answer("demo", ""),
	} {
		var failure *auth.Error
		if _, _, err := a.Authenticate(request(nil, header)); !errors.As(err, &failure) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
