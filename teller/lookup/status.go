package lookup

import (
	"context"
	"errors"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/search"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

// countWithin bounds how long pending holds are counted. In a vault so large that it takes
// longer, they are not counted.
const countWithin = 2 * time.Second

// PendingHolds counts the holds that are pending now.
func PendingHolds(ctx context.Context, store vault.Store) (atm.Record, error) {
	bounded, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	pending, now := int64(0), time.Now()
	_, err := store.Balances(bounded, func(a vault.Account) {
		for _, h := range a.Pending {
			if h.Expires.After(now) {
				pending++
			}
		}
	})
	counted := true
	if errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		counted, pending, err = false, 0, nil
	}
	return atm.Record{{Name: "counted", Value: counted}, {Name: "pending", Value: pending}}, err
}

// WaitingOrders counts the standing orders whose payment is due and has no outcome yet, and says
// since when the first one is.
func WaitingOrders(ctx context.Context, store vault.Store) (atm.Record, error) {
	bounded, cancel := context.WithTimeout(ctx, countWithin)
	defer cancel()
	waiting, oldest := int64(0), time.Time{}
	err := store.Orders(bounded, time.Now(), func(o *vault.Order) error {
		if waiting++; oldest.IsZero() || o.Next.Before(oldest) {
			oldest = o.Next
		}
		return nil
	})
	counted := true
	if errors.Is(bounded.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		counted, waiting, oldest, err = false, 0, time.Time{}, nil
	}
	since := ""
	if !oldest.IsZero() {
		since = oldest.UTC().Format(time.RFC3339)
	}
	return atm.Record{
		{Name: "counted", Value: counted},
		{Name: "waiting", Value: waiting},
		{Name: "since", Value: since},
	}, err
}

// Subscriptions counts the subscriptions to the event feed, and those that are not delivered.
func Subscriptions(ctx context.Context, store vault.Store) (atm.Record, error) {
	books, err := store.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	cursors, err := store.Cursors(ctx)
	if err != nil {
		return nil, err
	}
	n := feeds.Summarize(books, cursors)
	return atm.Record{
		{Name: "subscriptions", Value: n.All},
		{Name: "failing", Value: n.Failing},
		{Name: "paused", Value: n.Paused},
		{Name: "stopped", Value: n.Stopped},
	}, nil
}

// LastBackup is the newest entry of a backup. It says that a backup was sent; whether the
// backup arrived whole, only its receiver knows.
func LastBackup(ctx context.Context, store vault.Store, index *search.Index) (atm.Record, error) {
	page, err := newest(ctx, store, index,
		&search.Filter{Operation: atm.Backup, Code: atm.OK}, 1)
	if err != nil {
		return nil, err
	}
	if len(page.Found) == 0 {
		// Next is where the search gave up, in a log that is long.
		return atm.Record{{Name: "known", Value: false}, {Name: "searched_from", Value: page.Next}},
			nil
	}
	entry, err := audit.ParseEntry(page.Found[0].Leaf)
	if err != nil {
		return nil, err
	}
	return atm.Record{
		{Name: "known", Value: true},
		{Name: "index", Value: page.Found[0].Index},
		{Name: "time", Value: entry.Time.UTC().Format(time.RFC3339)},
		{Name: "subject", Value: entry.Caller.Subject},
	}, nil
}

// newest finds entries of the current log, the newest first.
func newest(ctx context.Context, store vault.Store, index *search.Index, wanted *search.Filter,
	most int,
) (*search.Page, error) {
	log, err := vault.OpenLog(ctx, store)
	if err != nil {
		return nil, err
	}
	_, head, err := log.Signed(ctx)
	if err != nil {
		return nil, err
	}
	first, _, err := log.Base(ctx)
	if err != nil {
		return nil, err
	}
	return search.Find(ctx, log.Entries, index, wanted, search.Range{
		First: first, Before: head.Size,
	}, most)
}
