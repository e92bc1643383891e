package replay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/atm/audit"
	"example.com/atm/teller/sessions"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// ErrNoSnapshot reports a journal that was trimmed, and that can be replayed from the snapshot
// alone that it was trimmed behind.
var ErrNoSnapshot = errors.New("the journal was trimmed, and the snapshot that it begins with is " +
	"not at hand")

// begin yields the parts of the snapshot that a journal begins with, and returns the index of
// the first entry that is to be replayed.
func (r *Rules) begin(ctx context.Context, store vault.Store, yield func(*vault.Part)) (
	vault.JournalIndex, error,
) {
	base, err := store.Base(ctx)
	if err != nil || base.Index == 0 {
		return 0, err
	}
	if r.Snapshot == nil {
		return 0, fmt.Errorf("%w: of the records as of entry %d", ErrNoSnapshot, base.State)
	}
	size, err := vault.JournalSize(ctx, r.Snapshot)
	if err == nil && size != base.State {
		err = fmt.Errorf("the snapshot has the records as of entry %d; the journal begins with "+
			"those as of %d", size, base.State)
	}
	if err != nil {
		return 0, err
	}
	_, err = r.Snapshot.Dump(ctx, func(p *vault.Part) error {
		yield(p)
		return nil
	})
	return base.State, err
}

// begin learns what a snapshot has.
func (r *records) begin(p *vault.Part) {
	for i := range p.Users {
		u := &p.Users[i]
		known := r.user(u.Subject)
		known.give(time.Time{}, u.Roles)
		known.disabled = u.Disabled
	}
	for i := range p.Revocations {
		r.revoked.at[p.Revocations[i].Name] = p.Revocations[i].At
	}
	for i := range p.Grants {
		g := p.Grants[i]
		r.grants.made = append(r.grants.made, &given{
			index: -1, grant: g, earliest: g.Expires,
		})
		r.grants.before[g.ID] = g.Spent
	}
	for i := range p.Passkeys {
		key := p.Passkeys[i]
		r.browsers.passkeys[key.ID] = &enrolled{key, audit.Written(sessions.PasskeyArgs(&key))}
	}
	for i := range p.Sessions {
		s := p.Sessions[i]
		r.browsers.sessions[s.ID] = &s
	}
	for i := range p.Feeds {
		r.feeds.begin(&p.Feeds[i])
	}
	for i := range p.Cursors {
		r.feeds.ever[p.Cursors[i].ID] = true
	}
	for i := range p.Requests {
		row := &p.Requests[i]
		r.asked.byTail[row.Key.Tail()] = answered{
			row.Index, row.Day * int64(day/time.Second), row.Key,
		}
	}
}

const day = 24 * time.Hour

// begin learns of the subscriptions and sources of an owner.
func (f *feedBooks) begin(row *feeds.Book) {
	book := f.book(row.Owner)
	for _, s := range row.Subscriptions {
		s.URL, s.Reason = urlArg(s.URL), audit.ArgText(s.Reason)
		book.subscriptions = append(book.subscriptions, subscription{Subscription: s})
		f.ever[s.ID] = true
	}
	for _, s := range row.Sources {
		book.sources = append(book.sources, source{Source: s})
	}
}

// begin learns what was given back before the journal begins.
func (r *reversed) begin(p *vault.Part) {
	for _, v := range p.Reversals {
		r.before[v.Of] = v.Amount
	}
}
