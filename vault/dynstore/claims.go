package dynstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"sync"
	"time"

	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/feeds"
)

// claims are how far subscriptions have been delivered, and which replica delivers each: the item
// of a cursor is its holder's until a time by the clocks of the machines. If they differ, an event
// is delivered twice at the worst, with the same id. Cursors are written beside the commits, each
// by itself, and only as the version after the one that was read.
type claims struct{ table *table.Table }

func cursorOf(i *table.Item) (feeds.Cursor, error) { return cursors.record(nil, i, i.Data) }

// Cursors implements vault.FeedStore.
func (c *claims) Cursors(ctx context.Context) (list []feeds.Cursor, err error) {
	err = c.table.Each(ctx, cursors.in, table.Range{}, func(i *table.Item) error {
		cursor, err := cursorOf(i)
		list = append(list, cursor)
		return err
	})
	return list, err
}

// atOnce is how many cursors are written at once.
const atOnce = 16

// each calls do for each of the ids at once, and returns the errors.
func (c *claims) each(ids []feeds.ID, do func(feeds.ID) error) error {
	var wg sync.WaitGroup
	free := make(chan struct{}, atOnce)
	errs := make([]error, len(ids))
	for i, id := range ids {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			errs[i] = do(id)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ClaimCursors implements vault.FeedStore.
func (c *claims) ClaimCursors(ctx context.Context, holder string, life time.Duration,
	of []feeds.ID,
) (claimed []feeds.Cursor, err error) {
	var mu sync.Mutex
	of = slices.Compact(slices.Sorted(slices.Values(of)))
	err = c.each(of, func(id feeds.ID) error {
		cursor, err := c.claim(ctx, holder, life, id)
		if cursor != nil {
			mu.Lock()
			defer mu.Unlock()
			claimed = append(claimed, *cursor)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(claimed, func(a, b feeds.Cursor) int {
		return bytes.Compare(codec.CursorKey(a.ID), codec.CursorKey(b.ID))
	})
	return claimed, nil
}

// claim claims a cursor; nil when it is another one's.
func (c *claims) claim(ctx context.Context, holder string, life time.Duration, id feeds.ID) (
	claimed *feeds.Cursor, err error,
) {
	err = c.change(ctx, id, func(item *table.Item) (next *table.Item, err error) {
		claimed = nil
		now := time.Now()
		if item == nil {
			fresh := cursors.item(nil, feeds.NewCursor(id))
			item = &fresh
		} else if item.Holder != "" && item.Holder != holder && item.Until > now.UnixMicro() {
			return nil, nil
		}
		cursor, err := cursorOf(item)
		if err != nil {
			return nil, err
		}
		claimed, next = &cursor, new(*item)
		next.Holder, next.Until = holder, now.Add(life).UnixMicro()
		return next, nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// change writes what decide makes of the item of a cursor, which is nil when there is none; nil to
// leave it. decide is called again when somebody else has written it meanwhile.
func (c *claims) change(ctx context.Context, id feeds.ID,
	decide func(*table.Item) (*table.Item, error),
) error {
	return table.Patiently(ctx, func() error {
		for {
			item, err := c.table.Get(ctx, cursors.keyOf(id))
			if err != nil {
				return err
			}
			next, err := decide(item)
			if err != nil || next == nil {
				return err
			}
			before := uint64(0)
			if item != nil {
				before = item.Version
			}
			next.Version = before + 1
			err = c.table.Do(ctx, table.Write{Item: *next, If: table.Same(before)})
			if !errors.Is(err, table.ErrCondition) {
				return err
			}
		}
	})
}

// SaveCursors implements vault.FeedStore.
func (c *claims) SaveCursors(ctx context.Context, holder string, list []feeds.Cursor,
	release bool,
) (kept []feeds.ID, err error) {
	of := make(map[feeds.ID]*feeds.Cursor, len(list))
	ids := make([]feeds.ID, len(list))
	for i := range list {
		ids[i] = list[i].ID
		of[ids[i]] = &list[i]
	}
	var mu sync.Mutex
	err = c.each(ids, func(id feeds.ID) error {
		saved, err := c.save(ctx, holder, of[id], release)
		if saved {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, id)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(kept)
	return kept, nil
}

// save keeps a cursor if it is the holder's.
func (c *claims) save(ctx context.Context, holder string, cursor *feeds.Cursor, release bool) (
	saved bool, err error,
) {
	var mark [8]byte // recognizes the save when the answer to a try was lost
	rand.Read(mark[:])
	err = c.change(ctx, cursor.ID, func(item *table.Item) (*table.Item, error) {
		saved = false
		next := cursors.item(nil, *cursor)
		next.Mark = hex.EncodeToString(mark[:])
		switch {
		case item == nil:
			return nil, nil
		case item.Mark == next.Mark:
			saved = true
			return nil, nil
		case item.Holder != holder || item.Until <= time.Now().UnixMicro():
			return nil, nil
		}
		saved = true
		if !release {
			next.Holder, next.Until = item.Holder, item.Until
		}
		return &next, nil
	})
	return saved && err == nil, err
}

// ForgetCursors implements vault.FeedStore.
func (c *claims) ForgetCursors(ctx context.Context, of []feeds.ID) error {
	writes := make([]table.Write, len(of))
	for i, id := range of {
		writes[i] = table.Write{Item: table.Item{Key: cursors.keyOf(id)}, Remove: true}
	}
	return c.table.DoAll(ctx, writes)
}
