package boltstore

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// Users implements people.Store.
func (r *reader) Users(context.Context) ([]people.User, error) { return all(r, usersKind) }

// Revocations implements people.Store.
func (r *reader) Revocations(context.Context) ([]people.Revocation, error) {
	return all(r, revocationsKind)
}

// Certificates implements people.Store.
func (r *reader) Certificates(context.Context) ([]people.Certificate, error) {
	return all(r, certificatesKind)
}

// Passkeys implements people.Store.
func (r *reader) Passkeys(ctx context.Context, subject string) ([]people.Passkey, error) {
	return those(ctx, r, passkeysKind, func(p *people.Passkey) bool { return p.Subject == subject })
}

// Passkey implements people.Store.
func (r *reader) Passkey(_ context.Context, id string) (*people.Passkey, error) {
	return one(r, passkeysKind, id)
}

// Sessions implements people.Store.
func (r *reader) Sessions(ctx context.Context, subject string) ([]people.Session, error) {
	return those(ctx, r, sessionsKind, func(s *people.Session) bool { return s.Subject == subject })
}

// Session implements people.Store.
func (r *reader) Session(_ context.Context, id string) (*people.Session, error) {
	return one(r, sessionsKind, id)
}

// Feeds implements vault.FeedStore.
func (r *reader) Feeds(context.Context) ([]feeds.Book, error) { return current(r, feedsKind) }

// all returns every record of a kind.
func all[K comparable, V any](r *reader, kind *records[K, V]) ([]V, error) {
	return those(context.Background(), r, kind, func(*V) bool { return true })
}

// those returns the records of a kind that are wanted. It looks at each, and keeps no other in
// memory: of some kinds, such as standing orders, most records are of what has ended.
func those[K comparable, V any](ctx context.Context, r *reader, kind *records[K, V],
	wanted func(*V) bool,
) ([]V, error) {
	var found vault.Records
	list := kind.List(&found)
	err := r.engine.snapshot(func(v view) error {
		return kind.each(v, &found, func() error {
			if last := len(*list) - 1; !wanted(&(*list)[last]) {
				*list = (*list)[:last]
			}
			return ctx.Err()
		})
	})
	return *list, err
}

// current returns every record of a kind in order of key, and waits for no flush: what delivers
// events asks for all subscriptions every few seconds.
func current[K comparable, V any](r *reader, kind *records[K, V]) (found []V, err error) {
	v, end, err := r.engine.view()
	if err != nil {
		return nil, err
	}
	defer end()
	shelf := v.shelf(kind.bucket)
	newer := v.memtables.Values(shelf.Number)
	err = r.engine.db.Use(func() error {
		return shelf.Each(func(k, sealed []byte) error {
			if _, has := newer[string(k)]; has {
				return nil
			}
			one, err := kind.open(shelf, k, sealed)
			found = append(found, one)
			return err
		})
	})
	for k, value := range newer {
		key, errKey := kind.FromKey([]byte(k))
		one, errOne := kind.Decode(key, value)
		found, err = append(found, one), errors.Join(err, errKey, errOne)
	}
	slices.SortFunc(found, func(a, b V) int {
		return bytes.Compare(kind.ToKey(kind.Key(&a)), kind.ToKey(kind.Key(&b)))
	})
	return found, err
}

// one returns the record of a kind under a key; nil when there is none. It waits for no flush.
func one[V any](r *reader, kind *records[string, V], key string) (found *V, err error) {
	v, end, err := r.engine.view()
	if err != nil {
		return nil, err
	}
	defer end()
	err = r.engine.db.Use(func() error {
		found, err = kind.one(v.shelf(kind.bucket), key)
		return err
	})
	return found, err
}
