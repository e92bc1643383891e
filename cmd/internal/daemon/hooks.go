package daemon

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
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

	mu   sync.Mutex
	at   time.Time    // guarded by mu: when books was read; zero when it is to be read again
	seen []feeds.Book // guarded by mu: those with sources
}

// hooksFor is how long sources are remembered: until then another server may have changed them.
const hooksFor = time.Second

// forget is called when sources may have changed.
func (h *hooks) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = time.Time{}
}

func (h *hooks) books(ctx context.Context) ([]feeds.Book, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if time.Since(h.at) < hooksFor {
		return h.seen, nil
	}
	books, err := h.store.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	h.at = time.Now()
	h.seen = slices.DeleteFunc(books, func(b feeds.Book) bool { return len(b.Sources) == 0 })
	return h.seen, nil
}

var errNoSource = errors.New("webhook of no source")

// Identify returns who sent a webhook to the path of a source, and its id. An error of the store
// is vault.ErrUnavailable; after any other one it is of nobody.
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
	if id, err = h.keys.Open(source, header, body, time.Now()); err != nil {
		return nil, "", err
	}
	return &atm.Caller{
		Principal:  atm.Principal{Subject: subject, Roles: roles},
		Credential: atm.Credential{Method: "webhook", ID: source.ID.String()},
	}, id, nil
}
