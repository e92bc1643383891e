package dynstore

import (
	"context"
	"time"

	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// certificateKept is how long a certificate is listed after its end. The table removes it some
// time after that.
const certificateKept = 24 * time.Hour

func all[V any](*V) bool { return true }

// Users implements people.Store.
func (r *reader) Users(ctx context.Context) ([]people.User, error) {
	return those(ctx, r, users, all)
}

// Revocations implements people.Store.
func (r *reader) Revocations(ctx context.Context) ([]people.Revocation, error) {
	return those(ctx, r, revocations, all)
}

// Certificates implements people.Store.
func (r *reader) Certificates(ctx context.Context) (list []people.Certificate, err error) {
	err = r.patiently(ctx, func(now *chain.State) error {
		last := time.UnixMicro(now.At).Add(-certificateKept)
		list, err = those(ctx, r, certificates, func(c *people.Certificate) bool {
			return !c.NotAfter.Before(last)
		})
		return err
	})
	return list, err
}

// Passkeys implements people.Store.
func (r *reader) Passkeys(ctx context.Context, subject string) ([]people.Passkey, error) {
	return those(ctx, r, passkeys, func(p *people.Passkey) bool { return p.Subject == subject })
}

// Passkey implements people.Store.
func (r *reader) Passkey(ctx context.Context, id string) (*people.Passkey, error) {
	return one(ctx, r, passkeys, id)
}

// Sessions implements people.Store.
func (r *reader) Sessions(ctx context.Context, subject string) (list []people.Session, err error) {
	err = r.patiently(ctx, func(now *chain.State) error {
		list, err = those(ctx, r, sessions, func(s *people.Session) bool {
			return s.Subject == subject && !over(now, s)
		})
		return err
	})
	return list, err
}

// over reports whether a session counts as removed after the newest entry of a state. The table
// removes it some time after that.
func over(now *chain.State, s *people.Session) bool {
	return s.Ends.Before(time.UnixMicro(now.At).Add(-people.SessionKept))
}

// Session implements people.Store.
func (r *reader) Session(ctx context.Context, id string) (*people.Session, error) {
	found, err := one(ctx, r, sessions, id)
	if err != nil || found == nil {
		return nil, err
	}
	err = r.patiently(ctx, func(now *chain.State) error {
		if over(now, found) {
			found = nil
		}
		return nil
	})
	return found, err
}

// Feeds implements vault.FeedStore.
func (r *reader) Feeds(ctx context.Context) ([]feeds.Book, error) {
	return those(ctx, r, books, all)
}
