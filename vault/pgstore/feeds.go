package pgstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/pgstore/database"
	"example.com/atm/vault/pgstore/shared"
	"example.com/atm/vault/record"
	"example.com/atm/vault/secrets"
	"github.com/jackc/pgx/v5"
)

var (
	feedsKind = &records[string, feeds.Book]{
		table: "feeds", columns: bookColumns, key: "owner",
		list:   func(r *vault.Records) *[]feeds.Book { return &r.Feeds },
		keyOf:  func(b *feeds.Book) string { return b.Owner },
		asked:  func(k *vault.Keys) (any, int) { return k.Feeds, len(k.Feeds) },
		loaded: func(l *vault.Loaded) *record.Loaded[string, feeds.Book] { return &l.Feeds },
		scan:   func(_ *secrets.Keys, row pgx.Row) (feeds.Book, error) { return scanBook(row) },
		put:    putBook,
	}
	// No rule asks for a cursor, and no commit writes one.
	cursorsKind = &records[feeds.ID, feeds.Cursor]{
		table: "feed_cursors", columns: shared.CursorColumns, key: "id",
		list: func(r *vault.Records) *[]feeds.Cursor { return &r.Cursors },
		scan: func(_ *secrets.Keys, row pgx.Row) (feeds.Cursor, error) {
			return shared.ScanCursor(row)
		},
		put: func(_ *secrets.Keys, b *pgx.Batch, c *feeds.Cursor, _ vault.JournalIndex) {
			shared.PutCursor(b, c)
		},
	}
)

const (
	bookColumns = "owner, subscriptions, sources"
	allBooks    = "SELECT " + bookColumns + " FROM feeds"

	putBookSQL = database.Written + `INSERT INTO feeds (` + bookColumns + `) VALUES ($1, $2, $3)
		ON CONFLICT (owner) DO UPDATE SET subscriptions = excluded.subscriptions,
		sources = excluded.sources` + database.One
)

func scanBook(row pgx.Row) (feeds.Book, error) {
	var b feeds.Book
	var list, sources []byte
	if err := row.Scan(&b.Owner, &list, &sources); err != nil {
		return b, err
	}
	err := errors.Join(json.Unmarshal(list, &b.Subscriptions),
		json.Unmarshal(sources, &b.Sources))
	if err != nil {
		return b, fmt.Errorf("subscriptions of %s: %w: %w", b.Owner, errRecord, err)
	}
	for _, s := range b.Subscriptions {
		if s.State > feeds.Stopped {
			return b, fmt.Errorf("subscription %s: %w", s.ID, errRecord)
		}
	}
	if len(b.Subscriptions) == 0 {
		b.Subscriptions = nil
	}
	if len(b.Sources) == 0 {
		b.Sources = nil
	}
	return b, nil
}

func putBook(_ *secrets.Keys, b *pgx.Batch, book *feeds.Book, _ vault.JournalIndex) {
	b.Queue(putBookSQL, book.Owner, listText(book.Subscriptions), listText(book.Sources))
}

// listText is a list as the database has it.
func listText[T any](list []T) string {
	if list == nil {
		list = []T{}
	}
	text, err := json.Marshal(list)
	if err != nil { // of no type that it consists of
		panic(err)
	}
	return string(text)
}

// Feeds implements vault.FeedStore.
func (r *reader) Feeds(ctx context.Context) ([]feeds.Book, error) {
	return database.Listed(ctx, r.db, scanBook, allBooks+" ORDER BY owner")
}
