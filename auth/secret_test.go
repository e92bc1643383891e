package auth

import (
	"context"
	"crypto/fips140"
	"errors"
	"sync"
	"testing"
)

func TestSecrets(t *testing.T) {
	hashed, err := HashSecret("my mare ate 7 green apples")
	if fips140.Enforced() {
		if !errors.Is(err, errNotFIPS) {
			t.Errorf("hashed in spite of FIPS 140: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	s := newSecrets()
	for _, tt := range []struct {
		name, hashed, secret string
		want                 bool
	}{
		{"right", string(hashed), "my mare ate 7 green apples", true},
		{"wrong", string(hashed), "my mare ate 8 green apples", false},
		{"empty", string(hashed), "", false},
		{"of nobody", "", "my mare ate 7 green apples", false},
	} {
		if got, err := s.check(t.Context(), tt.hashed, tt.secret); got != tt.want || err != nil {
			t.Errorf("%s: %t, %v", tt.name, got, err)
		}
	}
	for _, bad := range []string{"x", phcHead, phcHead + "AAAA$AAAA", "$argon2id$v=19$m=4194304,t=99,p=1$" + string(hashed[len(phcHead):])} {
		if got, err := s.check(t.Context(), bad, "x"); got || err == nil {
			t.Errorf("a stored secret %q was checked", bad)
		}
	}
}

// TestSecretsKnownAnswer checks a secret by what the reference implementation
// made of it: argon2 somesaltsomesalt -id -k 19456 -t 2 -p 1 -l 32 -e.
func TestSecretsKnownAnswer(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("there are no slow secrets where nothing but FIPS 140 is allowed")
	}
	const reference = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$873GGCuSeW5Qb4pZ0KpID1wgN2au+C0cog/5FJmjELc"
	if good, err := newSecrets().check(t.Context(), reference, "my mare ate 7 green apples"); !good || err != nil {
		t.Errorf("%t, %v", good, err)
	}
}

// TestSecretsBounded has many more checks at once than are allowed: some are
// turned away, and the others are right.
func TestSecretsBounded(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("there are no slow secrets where nothing but FIPS 140 is allowed")
	}
	hashed, err := HashSecret("my mare ate 7 green apples")
	if err != nil {
		t.Fatal(err)
	}
	s := newSecrets()
	for range maxChecks { // nobody is done before all have come
		s.running <- struct{}{}
	}
	var all sync.WaitGroup
	answers := make(chan error, 2*maxQueued)
	for range 2 * maxQueued {
		all.Go(func() {
			good, err := s.check(t.Context(), string(hashed), "my mare ate 7 green apples")
			if err == nil && !good {
				err = errors.New("the right secret is wrong")
			}
			answers <- err
		})
	}
	for range 2*maxQueued - (maxQueued + maxChecks) {
		if err := <-answers; !errors.Is(err, ErrBusy) {
			t.Errorf("answered %v while none can be checked", err)
		}
	}
	for range maxChecks {
		<-s.running
	}
	all.Wait()
	close(answers)
	for err := range answers {
		if err != nil {
			t.Error(err)
		}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range maxChecks {
		s.running <- struct{}{}
	}
	if _, err := s.check(over, string(hashed), "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("waited for a request that is over: %v", err)
	}
}
