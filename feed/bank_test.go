package feed_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/feed"
	"example.com/atm/feed/webhook"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/vaulttest"
)

var secret = []byte("the secret of a vault, in a test")

// patience is how long something that is going to happen may take on a busy machine.
const patience = time.Minute

// A bank has a feed that runs, and everybody sees everything unless see says otherwise.
type bank struct {
	t       *testing.T
	store   *boltstore.Store
	ledger  *ledger.Ledger
	secrets *feeds.Secrets
	cfg     feed.Config
	feed    *feed.Feed
	see     func(owner string, leaf []byte) (*feed.View, error)
	denied  atomic.Bool
	stop    func() // ends the feed
	stopped chan feed.Stopped
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// newBank returns a bank whose feed trusts receivers of these authorities. adapt changes the feed
// before it runs; nil for nothing.
func newBank(t *testing.T, roots *x509.CertPool, adapt func(*feed.Feed)) *bank {
	t.Helper()
	store, err := boltstore.Create(filepath.Join(t.TempDir(), "vault.db"), secret)
	if err != nil {
		t.Fatal(err)
	}
	secrets, err := feeds.NewSecrets(secret)
	if err != nil {
		t.Fatal(err)
	}
	b := &bank{t: t, store: store, secrets: secrets, stopped: make(chan feed.Stopped, 16)}
	b.ledger = vaulttest.NewLedger(t, ledger.Config{
		Store: store, Signer: vaulttest.NewSigner(t),
		Committed: func(c ledger.Commit) { b.feed.Committed(c) },
	})
	sender := webhook.NewSender(webhook.Config{Roots: roots, Allow: loopback})
	b.cfg = feed.Config{
		Store: store, Sender: sender, Holder: "test", Rate: 1e6,
		Keys:   feed.NewKeys(secrets, func(string) error { return nil }),
		Origin: func(int) string { return "bank.example" },
		May: func(context.Context, string, *feeds.Subscription) error {
			if b.denied.Load() {
				return feed.ErrNotAllowed
			}
			return nil
		},
		See: func(_ context.Context, owner string, _ *feeds.Subscription, leaf []byte) (
			*feed.View, error,
		) {
			if b.see != nil {
				return b.see(owner, leaf)
			}
			return &feed.View{Whole: true}, nil
		},
		Prove: func(context.Context, int64) ([]byte, error) { return []byte("a proof"), nil },
		Stop: func(ctx context.Context, s feed.Stopped) error {
			b.must(audit.EventFeedStopped, "", vault.FeedRule{Rule: feeds.Change{
				Owner: s.Owner, Name: s.ID.String(), Do: feeds.Stop(s.Reason),
			}})
			b.stopped <- s
			return nil
		},
	}
	b.feed = feed.New(b.cfg)
	b.feed.Hasten()
	if adapt != nil {
		adapt(b.feed)
	}
	b.run()
	t.Cleanup(func() {
		b.stop()
		sender.Close()
		if err := b.ledger.Close(); err != nil {
			t.Error(err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	b.do("admin.account.open", vault.OpenAccount{Account: "100", Owner: "user:ada", Opening: 1e5},
		audit.Arg{Name: "account", Value: "100"})
	return b
}

// run runs the feed, until stop is called.
func (b *bank) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { b.feed.Run(ctx) })
	b.stop = func() {
		cancel()
		wg.Wait()
	}
}

// again runs a feed that knows nothing but what the store has.
func (b *bank) again() {
	b.feed = feed.New(b.cfg)
	b.feed.Hasten()
	b.run()
}

func (b *bank) must(event audit.Event, op atm.Operation, rule vault.Rule,
	args ...audit.Arg,
) string {
	b.t.Helper()
	s := b.ledger.Do(context.Background(), vault.Command{
		Event: event, Operation: op, Rule: rule, Args: args,
		Caller: &atm.Caller{Principal: atm.Principal{Subject: "user:ada"}},
	})
	if s.Code != atm.OK {
		b.t.Fatalf("%s: %s %s", op, s.Code, s.Reason)
	}
	result, _ := s.Result.(string)
	return result
}

// do carries out an operation, and returns its result.
func (b *bank) do(op atm.Operation, rule vault.Rule, args ...audit.Arg) string {
	b.t.Helper()
	return b.must(audit.EventOp, op, rule, args...)
}

func (b *bank) deposit(amount atm.Amount) {
	b.t.Helper()
	b.do(atm.Deposit, vault.Deposit{Account: "100", Cash: vault.Cash("user:ada"), Amount: amount},
		audit.Arg{Name: "account", Value: "100"},
		audit.Arg{Name: "amount", Value: amount.String()})
}

func (b *bank) withdraw(amount atm.Amount) {
	b.t.Helper()
	b.do(atm.Withdraw, vault.Withdraw{Account: "100", Cash: vault.Cash("user:ada"), Amount: amount},
		audit.Arg{Name: "account", Value: "100"},
		audit.Arg{Name: "amount", Value: amount.String()})
}

// subscribe adds a subscription of user:ada.
func (b *bank) subscribe(s feeds.Subscription) feeds.ID {
	b.t.Helper()
	id, ok := feeds.ParseID(b.do(atm.FeedAdd, vault.FeedRule{Rule: feeds.Add{
		Owner: "user:ada", Subscription: s,
	}}))
	if !ok {
		b.t.Fatal("no id")
	}
	return id
}

func (b *bank) change(name string, do feeds.Act) {
	b.t.Helper()
	b.do("feed.change", vault.FeedRule{Rule: feeds.Change{
		Owner: "user:ada", Name: name, Do: do,
	}})
}

func (b *bank) cursor(id feeds.ID) feeds.Cursor {
	b.t.Helper()
	all, err := b.store.Cursors(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range all {
		if c.ID == id {
			return c
		}
	}
	return feeds.Cursor{ID: id, Last: -1}
}

// An event is what a receiver reads of one.
type event struct {
	ID, Type, Source, Subject, Time string
	SpecVersion                     string
	Data                            struct {
		Entry, Leaf, Checkpoint, Proof string
		Known                          map[string]any
		Index, Size, Next              int64
		Previous, From                 *int64
	}

	webhook string      // its webhook-id
	header  http.Header // with the signature
	body    []byte
}

func (e *event) isEntry() bool { return e.Type != "atm.checkpoint" && e.Type != "atm.test" }

// A receiver is an HTTPS server, which answers as answer says.
type receiver struct {
	t      *testing.T
	server *httptest.Server
	events chan event

	mu     sync.Mutex
	answer func(*event) int // guarded by mu: a status; 0 for no answer until the sender hangs up
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{
		t: t, events: make(chan event, 10_000),
		answer: func(*event) int { return http.StatusNoContent },
	}
	r.server = httptest.NewUnstartedServer(r)
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

func (r *receiver) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.server.Certificate())
	return pool
}

func (r *receiver) answers(answer func(*event) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// ServeHTTP implements http.Handler.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var e event
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		r.t.Errorf("event: %v", err)
	}
	e.webhook, e.header, e.body = q.Header.Get(webhook.HeaderID), q.Header, body
	r.mu.Lock()
	answer := r.answer
	r.mu.Unlock()
	status := answer(&e)
	if status == 0 {
		<-q.Context().Done()
		return
	}
	if status < 300 {
		r.events <- e
	}
	w.WriteHeader(status)
}

// next returns the next event that was taken and is no checkpoint.
func (r *receiver) next() event {
	r.t.Helper()
	for {
		if e := r.any(); e.Type != "atm.checkpoint" {
			return e
		}
	}
}

func (r *receiver) any() event {
	r.t.Helper()
	select {
	case e := <-r.events:
		return e
	case <-time.After(patience):
		r.t.Fatal("no event arrives")
		return event{}
	}
}

// url is where the receiver is, by an address of its certificate.
func (r *receiver) url() string { return r.server.URL }

// eventually waits until is says so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}
