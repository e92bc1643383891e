package daemon

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/atm"
	"example.com/atm/feed"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// hooks identifies who sends webhooks. Its zero value has no sources.
type hooks struct {
	keys  *feed.Keys
	store vault.FeedStore
	roles func(subject string) ([]atm.Role, bool)

	changes atomic.Uint64 // of sources, perhaps

	mu   sync.Mutex
	at   time.Time    // guarded by mu: when seen was read
	read uint64       // guarded by mu: changes when it was
	seen []feeds.Book // guarded by mu: those with sources
}

// hooksFor is how long sources are remembered: until then another server may have changed them.
const hooksFor = time.Second

// forget is called when sources may have changed. It waits for nothing, because a commit calls it.
func (h *hooks) forget() { h.changes.Add(1) }

func (h *hooks) books(ctx context.Context) ([]feeds.Book, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	changes := h.changes.Load()
	if h.read == changes && time.Since(h.at) < hooksFor {
		return h.seen, nil
	}
	books, err := h.store.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	h.at, h.read = time.Now(), changes
	h.seen = slices.DeleteFunc(books, func(b feeds.Book) bool { return len(b.Sources) == 0 })
	return h.seen, nil
}

var errNoSource = errors.New("webhook of no source")

// Identify returns the sender of a webhook to the path of a source, and its id. An error of the
// store is vault.ErrUnavailable; after any other one it is of nobody.
func (h *hooks) Identify(ctx context.Context, service, name string, header http.Header,
	body []byte,
) (caller *atm.Caller, id string, err error) {
	books, err := h.books(ctx)
	if err != nil {
		return nil, "", errors.Join(vault.ErrUnavailable, err)
	}
	subject := "service:" + service
	i := slices.IndexFunc(books, func(b feeds.Book) bool { return b.Owner == subject })
	if i < 0 {
		return nil, "", errNoSource
	}
	source := books[i].Source(name)
	roles, known := h.roles(subject)
	if source == nil || !known {
		return nil, "", errNoSource
	}
	if id, err = h.keys.Open(subject, source, header, body, time.Now()); err != nil {
		return nil, "", err
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: subject, Roles: roles},
		Credential: atm.Credential{Method: "webhook", ID: source.ID.String()},
	}, id, nil
}
