package codec

import (
	"testing"
	"time"

	"example.com/atm/vault/feeds"
	"github.com/google/go-cmp/cmp"
)

// toldRecords are the subscriptions of an owner and a cursor with every field set.
func toldRecords() (feeds.Book, feeds.Cursor) {
	at := time.UnixMicro(1_800_000_000_000_001).UTC()
	b := feeds.Book{Owner: "user:demo", Subscriptions: []feeds.Subscription{
		{
			ID: 9, Name: "shop", URL: "https://shop.example/events?from=bank",
			Filter: feeds.Filter{
				Operation: "transfer", Status: "OK", Account: "7", Owner: "user:eva",
				Subject: "service:shop", Above: 100, Below: 2500,
			},
			Proofs: true, From: 12, Chain: 3, Generation: 2, Rotated: at, Tests: 4,
			State: feeds.Stopped, Reason: "gone, „für immer“", Resumed: 6,
		},
		{ID: 2956, Name: "all", URL: "https://10.0.0.7/", Everything: true, From: 2957},
	}, Sources: []feeds.Source{{ID: 12, Name: "bills", Generation: 3, Rotated: at}, {ID: 13}}}
	return b, feeds.Cursor{
		ID: 9, Chain: 3, Next: 5000, Last: 4999, Sent: 77, Test: 4,
		TestError: "the receiver answered 500", Delivered: at, Failing: at.Add(time.Second),
		Tries: 5, Error: "no route to host", Again: at.Add(time.Hour),
	}
}

func TestRecordsOfTheFeedKeepEveryField(t *testing.T) {
	book, cursor := toldRecords()
	again, err := DecodeBook(book.Owner, EncodeBook(&book))
	if diff := cmp.Diff(book, again); err != nil || diff != "" {
		t.Errorf("subscriptions: %v\n%s", err, diff)
	}
	for _, c := range []feeds.Cursor{cursor, feeds.NewCursor(9)} {
		again, err := DecodeCursor(c.ID, EncodeCursor(&c))
		if err != nil || again != c {
			t.Errorf("%+v is read as %+v, %v", c, again, err)
		}
	}
}

// FuzzFeeds takes records of subscriptions and cursors apart that nobody wrote. What can be read
// is read the same again when it was written.
func FuzzFeeds(f *testing.F) {
	book, cursor := toldRecords()
	f.Add(EncodeBook(&book))
	f.Add(EncodeBook(&feeds.Book{}))
	f.Add(EncodeCursor(&cursor))
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := DecodeBook("user:demo", data); err == nil {
			again, err := DecodeBook("user:demo", EncodeBook(&b))
			if diff := cmp.Diff(b, again); err != nil || diff != "" {
				t.Errorf("%+v is read as %+v, %v", b, again, err)
			}
		}
		if c, err := DecodeCursor(9, data); err == nil {
			if again, err := DecodeCursor(9, EncodeCursor(&c)); err != nil || again != c {
				t.Errorf("%+v is read as %+v, %v", c, again, err)
			}
		}
	})
}
