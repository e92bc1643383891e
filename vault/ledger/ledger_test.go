package ledger_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/vaulttest"
)

// An unwilling store refuses several commands together, and lets its first commit wait for the
// last one.
type unwilling struct {
	vault.Store
	commits int // of those that were made
	last    chan struct{}
}

const commands = 3 // all of the test

// together reports whether a commit has the commands in it that are about b and c.
func together(keys vault.Keys) bool {
	return slices.Contains(keys.Users, "user:b") && slices.Contains(keys.Users, "user:c")
}

// Commit implements vault.Store.
func (s *unwilling) Commit(ctx context.Context, keys vault.Keys,
	decide func(*vault.Books) error,
) (func() error, error) {
	if together(keys) {
		return nil, vault.ErrRefused
	}
	durable, err := s.Store.Commit(ctx, keys, decide)
	switch s.commits++; s.commits {
	case 1:
		return func() error { <-s.last; return durable() }, err
	case commands:
		close(s.last)
	}
	return durable, err
}

// add adds a user.
func add(subject string) vault.Command {
	return vault.Command{
		Operation: atm.UserAdd, Caller: &atm.Caller{},
		Rule: vault.People(people.Enrol{
			Subject: subject, Roles: []atm.Role{atm.Customer}, Result: "",
		}),
	}
}

// TestWhatIsCommittedApartFollowsWhatCameBefore has a store refuse a group while the group before
// is not durable yet. Committed is told of all commits in order.
func TestWhatIsCommittedApartFollowsWhatCameBefore(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	asks, admitted, over := make(chan bool), make(chan bool), make(chan bool)
	var mu sync.Mutex
	var told []string
	l := ledger.New(ledger.Config{
		Store: &unwilling{Store: store, last: make(chan struct{})}, Signer: vaulttest.NewSigner(t),
		Admit: func() error { // the first commit waits for the test
			select {
			case asks <- true:
				<-admitted
			case <-over:
			}
			return nil
		},
		Committed: func(c ledger.Commit) {
			mu.Lock()
			defer mu.Unlock()
			for _, u := range c.Users {
				told = append(told, u.Subject)
			}
		},
	})
	begin := func(subject string) ledger.Reply { return l.Begin(t.Context(), add(subject)) }
	want := []string{"user:a", "user:b", "user:c"}
	replies := []ledger.Reply{begin(want[0])}
	<-asks
	replies = append(replies, begin(want[1]), begin(want[2])) // together
	close(over)
	admitted <- true
	for i, reply := range replies {
		if s := reply(); s.Code != atm.OK {
			t.Errorf("%s: %+v", want[i], s)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(told, want) {
		t.Errorf("told of %q, want %q", told, want)
	}
}

// A breaking store refuses several commands together, and does not know what became of one.
type breaking struct{ vault.Store }

var errOutcome = errors.New("the connection was lost")

// Commit implements vault.Store.
func (s breaking) Commit(ctx context.Context, keys vault.Keys, decide func(*vault.Books) error) (
	func() error, error,
) {
	switch {
	case together(keys):
		return nil, vault.ErrRefused
	case slices.Contains(keys.Users, "user:b"):
		return nil, errOutcome
	}
	return s.Store.Commit(ctx, keys, decide)
}

// TestNothingIsCommittedApartAfterAnUnknownOutcome has a store refuse a group, and lose the first
// of its commands.
func TestNothingIsCommittedApartAfterAnUnknownOutcome(t *testing.T) {
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	asks, admitted := make(chan bool), make(chan bool)
	once := sync.OnceFunc(func() { asks <- true; <-admitted })
	l := ledger.New(ledger.Config{
		Store: breaking{store}, Signer: vaulttest.NewSigner(t),
		Admit: func() error { once(); return nil }, // the first commit waits for the test
	})
	replies := []ledger.Reply{l.Begin(t.Context(), add("user:a"))}
	<-asks
	for _, subject := range []string{"user:b", "user:c"} { // together
		replies = append(replies, l.Begin(t.Context(), add(subject)))
	}
	admitted <- true
	for i, want := range []atm.Code{atm.OK, atm.OutcomeUnknown, atm.Unavailable} {
		if s := replies[i](); s.Code != want {
			t.Errorf("command %d: %+v, want %s", i, s, want)
		}
	}
	if err := l.Close(); !errors.Is(err, errOutcome) {
		t.Errorf("the ledger ended by %v", err)
	}
	if users, err := store.Users(t.Context()); len(users) != 1 || err != nil {
		t.Errorf("%d users, %v", len(users), err)
	}
}
