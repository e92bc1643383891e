package offline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"example.com/atm"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/teller/events"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
)

// stopFeeds stops the subscriptions that were delivered further than the journal went when its
// log was given up. A server would take the next entries, which have the indexes of those that
// were lost, for delivered, as soon as there are enough. The owner says where to go on. One who
// resumes without a replay is delivered everything again: the cursors are forgotten.
func stopFeeds(ctx context.Context, dir *datadir.Dir, store vault.Backend, log *slog.Logger,
) error {
	logs, err := store.Logs(ctx)
	if err != nil {
		return err
	}
	cursors, err := store.Cursors(ctx)
	if err != nil {
		return err
	}
	begin := logs[len(logs)-1] // of the new log; nothing was delivered of it yet
	ahead := make(map[feeds.ID]feeds.Cursor)
	for _, c := range cursors {
		if vault.JournalIndex(c.Next) > begin {
			ahead[c.ID] = c
		}
	}
	if len(ahead) == 0 {
		return nil
	}
	books, err := store.Feeds(ctx)
	if err != nil {
		return err
	}
	signer, err := signerOf(dir)
	if err != nil {
		return err
	}
	l := ledger.New(ledger.Config{Store: store, Signer: signer, Log: log})
	for _, book := range books {
		for _, s := range book.Subscriptions {
			c, is := ahead[s.ID]
			if !is || c.Chain != s.Chain || s.State == feeds.Stopped {
				continue
			}
			reason := fmt.Sprintf("The journal lost entries: it has %d, and %d were looked at "+
				"before; use feed replay", begin, c.Next)
			status := events.FeedStopped(ctx, l, book.Owner, s.ID, s.Name, reason)
			if status.Code != atm.OK {
				return errors.Join(fmt.Errorf("stop subscription %s: %s", s.ID, status.Reason),
					l.Close())
			}
		}
	}
	if err := l.Close(); err != nil {
		return err
	}
	return store.ForgetCursors(ctx, slices.Sorted(maps.Keys(ahead)))
}
