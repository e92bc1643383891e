package feed_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/feed"
	"example.com/atm/feed/webhook"
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

func TestEventsSayWhatTheirEntriesAreAndWhatCameBefore(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url(), Proofs: true}) // from entry 0
	for range 100 {
		b.deposit(1)
	}
	for want := range int64(102) { // the account, the subscription, the deposits
		e := r.next()
		leaf := []byte(e.Data.Entry)
		entry, err := audit.ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if e.Data.Index != want || e.ID != number(want) || e.webhook != id.String()+"-"+e.ID {
			t.Fatalf("event %s (%s) has index %d, want %d", e.ID, e.webhook, e.Data.Index, want)
		}
		if e.Data.Leaf != merkle.LeafHash(leaf).String() {
			t.Errorf("event %s: the hash is not that of the entry", e.ID)
		}
		before := e.Data.Previous
		if want == 0 && (before != nil || e.Data.From == nil || *e.Data.From != 0) ||
			want > 0 && (before == nil || *before != want-1 || e.Data.From != nil) {
			t.Errorf("event %s: previous %v, from %v", e.ID, before, e.Data.From)
		}
		if e.SpecVersion != "1.0" || e.Source != "bank.example" || e.Data.Proof != "a proof" ||
			e.Type != "atm."+string(entry.Operation) ||
			e.Time != entry.Time.Format(audit.TimeFormat) {
			t.Errorf("event %s: %s", e.ID, e.body)
		}
		if want > 1 && e.Subject != "100" {
			t.Errorf("event %s is about %q", e.ID, e.Subject)
		}
	}
}

func TestCheckpointSaysHowFarTheJournalWasLookedAt(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{
		Name: "none", URL: r.url(), Filter: feeds.Filter{Operation: "no.such"},
	})
	first := r.any()
	b.deposit(1)
	for {
		e := r.any()
		if e.Type != "atm.checkpoint" || e.Data.Previous != nil || e.Data.From == nil ||
			e.Data.Next != e.Data.Size || e.Data.Size < first.Data.Size ||
			!strings.HasPrefix(e.Data.Checkpoint, "bank.example") &&
				!strings.Contains(e.Data.Checkpoint, number(e.Data.Size)) {
			t.Fatalf("%s", e.body)
		}
		if e.Data.Size > first.Data.Size {
			return
		}
	}
}

func TestBalanceThatFallsBelowALineIsToldOnceUntilItRises(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{
		Name: "low", URL: r.url(), Filter: feeds.Filter{Account: "100", Below: 50_000},
	})
	b.withdraw(50_000) // to the line, not below it
	b.withdraw(1)      // below
	b.withdraw(1)
	b.deposit(1)
	b.withdraw(1)
	b.deposit(10_000) // above it again
	b.withdraw(30_000)
	first, second := r.next(), r.next()
	if first.Type != "atm.balance.below" || first.Data.Index != 3 ||
		second.Type != "atm.balance.below" || second.Data.Index != 8 {
		t.Errorf("%s\n%s", first.body, second.body)
	}
	if p := second.Data.Previous; p == nil || *p != 3 {
		t.Errorf("before the second one came %v", p)
	}
}

func TestFiltersSelectWhatTheyName(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.deposit(100)                           // 1
	b.deposit(20_000)                        // 2
	b.withdraw(100)                          // 3
	b.do("whoami", vault.Report{Result: ""}) // 4
	filters := map[string]struct {
		filter feeds.Filter
		want   []int64
	}{
		"operation": {feeds.Filter{Operation: "deposit"}, []int64{1, 2}},
		"above":     {feeds.Filter{Above: 100}, []int64{2}},
		"account":   {feeds.Filter{Account: "100", Operation: "withdraw"}, []int64{3}},
		"owner":     {feeds.Filter{Owner: "user:ada", Above: 99}, []int64{1, 2, 3}},
		"no owner":  {feeds.Filter{Owner: "user:bob", Above: 99}, nil},
		"subject":   {feeds.Filter{Subject: "user:ada", Operation: "whoami"}, []int64{4}},
		"error":     {feeds.Filter{Status: "ERROR"}, nil},
		"ok":        {feeds.Filter{Status: "OK", Operation: "withdraw"}, []int64{3}},
	}
	names := make(map[string]string) // of subscriptions, by id
	got := make(map[string][]int64)
	for name, f := range filters {
		id := b.subscribe(feeds.Subscription{
			Name: strings.ReplaceAll(name, " ", "-"), URL: r.url(), Filter: f.filter,
		})
		names[id.String()] = name
	}
	// A checkpoint says that everything before it was looked at.
	for done := make(map[string]bool); len(done) < len(filters); {
		e := r.any()
		id, _, _ := strings.Cut(e.webhook, "-")
		if e.Type == "atm.checkpoint" {
			done[id] = true
			continue
		}
		if e.Data.Index <= 4 {
			got[names[id]] = append(got[names[id]], e.Data.Index)
		}
	}
	for name, f := range filters {
		if !slices.Equal(got[name], f.want) {
			t.Errorf("%s selects %v, want %v", name, got[name], f.want)
		}
	}
}

func TestReceiverThatHangsHoldsUpNobodyElse(t *testing.T) {
	hangs, takes := newReceiver(t), newReceiver(t)
	hangs.answers(func(*event) int { return 0 })
	roots := takes.roots()
	roots.AddCert(hangs.server.Certificate())
	b := newBank(t, roots, nil)
	stuck := b.subscribe(feeds.Subscription{Name: "stuck", URL: hangs.url()})
	b.subscribe(feeds.Subscription{Name: "good", URL: takes.url()})
	for range 200 {
		b.deposit(1)
	}
	for takes.next().Data.Index < 200 {
	}
	b.stop()
	if events, size := b.feed.Queued(stuck); events != feed.MaxQueue || size > feed.MaxQueueBytes {
		t.Errorf("%d events with %d bytes wait in memory", events, size)
	}
	hangs.server.CloseClientConnections()
}

func TestEventIsSentUntilItArrivesAndWithTheSameID(t *testing.T) {
	r := newReceiver(t)
	var tries []event
	r.answers(func(e *event) int {
		if e.isEntry() && e.Data.Index == 1 {
			if tries = append(tries, *e); len(tries) < 5 {
				return http.StatusInternalServerError
			}
		}
		return http.StatusOK
	})
	b := newBank(t, r.roots(), nil)
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	b.deposit(1)
	for want := range int64(3) {
		if e := r.next(); e.Data.Index != want {
			t.Fatalf("event %d comes before %d", e.Data.Index, want)
		}
	}
	for _, e := range tries[1:] {
		if e.webhook != tries[0].webhook || !bytes.Equal(e.body, tries[0].body) {
			t.Errorf("another try is another event: %s %s", e.webhook, e.body)
		}
	}
	eventually(t, "the cursor stays behind", func() bool {
		c := b.cursor(id)
		return c.Last == 2 && c.Tries == 0 && c.Error == "" && c.Failing.IsZero()
	})
}

func TestFeedGoesOnFromItsCursorsWhenItBeginsAgain(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	for r.next().Data.Index < 1 {
	}
	b.stop()
	b.deposit(1)
	b.again()
	if e := r.next(); e.Data.Index != 2 || e.Data.Previous == nil || *e.Data.Previous != 1 {
		t.Errorf("it goes on with %s", e.body)
	}
}

func TestPausedSubscriptionIsDeliveredWithoutAGapWhenItIsResumed(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	for r.next().Data.Index < 1 {
	}
	b.change("all", feeds.Pause) // 2
	eventually(t, "it is not paused", func() bool { return b.feed.Stats().Active == 0 })
	for range 50 {
		b.deposit(1)
	}
	b.change("all", feeds.Resume)
	for want := int64(2); want <= 53; want++ { // 2 may have arrived before the pause
		if e := r.next(); e.Data.Index != want {
			t.Fatalf("event %d comes in place of %d", e.Data.Index, want)
		}
	}
}

func TestReplayDeliversTheSameEventsAgain(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	b.deposit(1)
	var first []event
	for len(first) < 3 {
		first = append(first, r.next())
	}
	b.change("all", feeds.Replay(1))
	for {
		e := r.next()
		if e.Data.Index > 1 { // of the entry of the replay itself, by the first chain
			continue
		}
		if e.webhook != first[1].webhook || e.Data.Entry != first[1].Data.Entry ||
			e.Data.Previous != nil || e.Data.From == nil || *e.Data.From != 1 {
			t.Errorf("%s", e.body)
		}
		break
	}
	if e := r.next(); !bytes.Equal(e.body, first[2].body) {
		t.Errorf("%s\nwas %s", e.body, first[2].body)
	}
}

func TestSubscriptionIsStopped(t *testing.T) {
	for name, test := range map[string]struct {
		answer int
		see    error
		cause  feed.Cause
		want   string
	}{
		"when its receiver is gone":     {http.StatusGone, nil, feed.Gone, "410"},
		"when nothing arrives for long": {http.StatusBadGateway, nil, feed.Unreachable, "502"},
		"when its owner may not have it": {
			http.StatusOK, feed.ErrNotAllowed, feed.Denied, "may not see",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReceiver(t)
			r.answers(func(*event) int { return test.answer })
			b := newBank(t, r.roots(), func(f *feed.Feed) { f.GiveUpAfter(time.Millisecond) })
			b.see = func(string, []byte) (*feed.View, error) {
				return &feed.View{Whole: true}, test.see
			}
			id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url(), Everything: true})
			select {
			case s := <-b.stopped:
				if s.ID != id || s.Name != "all" || s.Cause != test.cause ||
					!strings.Contains(s.Reason, test.want) {
					t.Errorf("%+v", s)
				}
			case <-time.After(patience):
				t.Fatal("it is not stopped")
			}
			eventually(t, "it goes on", func() bool { return b.feed.Stats().Stopped == 1 })
		})
	}
}

func TestCursorAheadOfTheJournalStopsTheSubscription(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	for r.next().Data.Index < 1 {
	}
	b.stop()
	ahead := b.cursor(id)
	ahead.Next, ahead.Last = 1000, 999
	if _, err := b.store.SaveCursors(t.Context(), "test", []feeds.Cursor{ahead},
		true); err != nil {
		t.Fatal(err)
	}
	b.again()
	select {
	case s := <-b.stopped:
		if !strings.Contains(s.Reason, "older journal") {
			t.Error(s.Reason)
		}
	case <-time.After(patience):
		t.Fatal("it is not stopped")
	}
	b.change("all", feeds.Replay(0))
	b.change("all", feeds.Resume)
	if e := r.next(); e.Data.Index != 0 {
		t.Errorf("the replay begins with %s", e.body)
	}
}

func TestBothSecretsSignForADay(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	keys := feed.NewKeys(b.secrets, nil)
	verifies := func(e *event, s *feeds.Subscription,
		text func(secret, public string) string,
	) bool {
		v, err := webhook.ParseVerifier(text(keys.Secret("user:ada", s)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = webhook.Verify(e.header, e.body, time.Now(), v)
		return err == nil
	}
	secretOf := func(secret, _ string) string { return secret }
	publicOf := func(_, public string) string { return public }
	books, err := b.store.Feeds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	old := books[0].Subscriptions[0]
	e := r.next()
	if !verifies(&e, &old, secretOf) || !verifies(&e, &old, publicOf) {
		t.Error("the first secret does not sign")
	}
	b.change("all", feeds.Rotate)
	b.deposit(1)
	newer := old
	newer.Generation++
	if verifies(&e, &newer, secretOf) {
		t.Error("the second secret signs before it is made")
	}
	for e.Data.Index < 3 {
		e = r.next()
	}
	for _, s := range []*feeds.Subscription{&old, &newer} {
		if !verifies(&e, s, secretOf) || !verifies(&e, s, publicOf) {
			t.Errorf("generation %d does not sign", s.Generation)
		}
	}
}

func TestOwnerIsToldWhatTheyMaySeeAlone(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	b.see = func(_ string, leaf []byte) (*feed.View, error) {
		entry, err := audit.ParseEntry(leaf)
		if err != nil || entry.Operation == "withdraw" {
			return nil, err // nothing
		}
		if len(entry.State) == 0 {
			return nil, nil
		}
		known := &audit.Entry{
			Time: entry.Time, Event: entry.Event, Operation: entry.Operation, ReplayOf: -1,
			State: entry.State[len(entry.State)-1:],
		}
		return &feed.View{Known: known}, nil
	}
	b.subscribe(feeds.Subscription{
		Name: "mine", URL: r.url(), Filter: feeds.Filter{Account: "100"},
	})
	b.deposit(1)
	b.withdraw(1)
	b.deposit(2)
	for i, want := range []int64{0, 2, 4} {
		e := r.next()
		if e.Data.Index != want || e.Data.Entry != "" || e.Data.Known["op"] == nil ||
			e.Data.Leaf == "" || strings.Contains(string(e.body), "cash:") {
			t.Errorf("want %d: %s", want, e.body)
		}
		if i == 2 && (e.Data.Previous == nil || *e.Data.Previous != 2) {
			t.Errorf("what may not be seen counts: %s", e.body)
		}
	}
}

func TestStoreThatFailsHoldsEventsUpAndLosesNone(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	fails := true
	b.see = func(string, []byte) (*feed.View, error) {
		if fails {
			fails = false
			return nil, errors.New("the store does not answer")
		}
		return &feed.View{Whole: true}, nil
	}
	b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	if e := r.next(); e.Data.Index != 0 {
		t.Errorf("%s", e.body)
	}
}

func TestCursorThatAnotherServerMovedIsTakenOver(t *testing.T) {
	r := newReceiver(t)
	b := newBank(t, r.roots(), nil)
	id := b.subscribe(feeds.Subscription{Name: "all", URL: r.url()})
	for r.next().Data.Index < 1 {
	}
	b.change("all", feeds.Pause)
	eventually(t, "it is not paused", func() bool { return b.feed.Stats().Active == 0 })
	for range 20 {
		b.deposit(1)
	}
	// In a shared store the claim can end and begin again between two looks at it.
	eventually(t, "the cursor does not stay where it was moved to", func() bool {
		moved := b.cursor(id) // which the feed may be about to keep once more
		moved.Next, moved.Last, moved.Sent = 15, 14, moved.Sent+12
		_, err := b.store.SaveCursors(t.Context(), "another", []feeds.Cursor{moved}, false)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		return b.cursor(id).Next == 15
	})
	b.change("all", feeds.Resume)
	e := r.next()
	for e.Data.Index < 3 { // what was under way
		e = r.next()
	}
	if e.Data.Index != 15 || e.Data.Previous == nil || *e.Data.Previous != 14 {
		t.Errorf("it goes on with %s", e.body)
	}
}
