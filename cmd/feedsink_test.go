//go:build unix

package cmd_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/internal/needs"
)

// startFeedServer starts a server that sends events to this machine.
func startFeedServer(t testing.TB, env ...string) *server {
	t.Helper()
	return startServerIn(t, t.TempDir(), append(env, feedEnv...)...)
}

// feedEnv lets receivers on this machine have the certificate of the server.
var feedEnv = []string{
	"ATM_ALLOW_NET=127.0.0.0/8", "ATM_FEED_CA=" + filepath.Join("atm-data", "ca", "ca.crt"),
}

// subscribe adds a subscription as operator, and returns its id and its secret.
func (s *server) subscribe(t *testing.T, as, name, url string, options map[string]any) (id,
	secret string,
) {
	t.Helper()
	c := s.as(t, as, 4)
	added, err := c.Call(t.Context(), "feed.add", name, url, options)
	if err != nil || !added.OK() {
		t.Fatalf("feed.add %s: %+v, %v", name, added, err)
	}
	told, err := c.Call(t.Context(), "feed.secret", name)
	if err != nil || !told.OK() {
		t.Fatalf("feed.secret %s: %+v, %v", name, told, err)
	}
	record, _ := told.Result.(map[string]any)
	secret, _ = record["secret"].(string)
	return added.Text(), secret
}

// An event has the members of one that the tests look at.
type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data struct {
		Entry      string          `json:"entry"`
		Known      json.RawMessage `json:"known"`
		Index      int64           `json:"index"`
		Leaf       string          `json:"leaf"`
		Previous   *int64          `json:"previous"`
		Size       int64           `json:"size"`
		Next       int64           `json:"next"`
		Checkpoint string          `json:"checkpoint"`
	} `json:"data"`
}

func (e *event) isEntry() bool { return e.Type != "atm.checkpoint" && e.Type != "atm.test" }

// A sent is a webhook as it arrived.
type sent struct {
	id   string
	body []byte
	by   string // name in the certificate of the sender; empty for none
	event
}

// A sink is a receiver that a test can turn off, and whose answers it decides.
type sink struct {
	port string
	cert tls.Certificate

	// take is told of each webhook, one at a time for each path, and says what to do with it.
	take func(path string, w *sent) mood

	mu     sync.Mutex
	server *http.Server // nil while it is off
}

// A mood is what a receiver does with a webhook.
type mood int

const (
	accepts     mood = iota
	failsFirst       // answers 500
	hangsFirst       // lets the sender wait, and then closes the connection
	closesFirst      // closes the connection
	closesAfter      // closes it in the middle of the answer 200
)

// newSink returns a receiver with the certificate of a server. It is off.
func newSink(t testing.TB, s *server, take func(path string, w *sent) mood) *sink {
	t.Helper()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(s.dir, "atm-data", "tls")
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "server.crt"),
		filepath.Join(folder, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	k := &sink{port: port, cert: pair, take: take}
	t.Cleanup(k.off)
	return k
}

func (k *sink) url(path string) string { return "https://localhost:" + k.port + "/" + path }

// on turns the receiver on.
func (k *sink) on(t testing.TB) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server != nil {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:"+k.port)
	if err != nil {
		t.Fatal(err)
	}
	k.server = &http.Server{Handler: k, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{k.cert}, ClientAuth: tls.RequestClientCert,
	}}
	go k.server.ServeTLS(l, "", "")
}

// off turns it off: connections are closed, and no new ones are accepted.
func (k *sink) off() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.server != nil {
		k.server.Close()
		k.server = nil
	}
}

// hang is how long a receiver that hangs takes. The sender waits longer.
const hang = 300 * time.Millisecond

func (k *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	arrived := &sent{id: r.Header.Get("Webhook-Id"), body: body}
	if len(r.TLS.PeerCertificates) > 0 {
		arrived.by = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	if err := json.Unmarshal(body, &arrived.event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch k.take(r.URL.Path[1:], arrived) {
	case failsFirst:
		w.WriteHeader(http.StatusInternalServerError)
	case hangsFirst:
		time.Sleep(hang)
		panic(http.ErrAbortHandler)
	case closesFirst:
		panic(http.ErrAbortHandler)
	case closesAfter:
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		panic(http.ErrAbortHandler)
	}
}

// A follower checks what arrives of one subscription, as a receiver does that has not lost its
// state, and remembers it.
type follower struct {
	mu          sync.Mutex
	entries     map[int64]string // by index; their bytes
	order       []int64
	checkpoints []reached
	again       int // repeats
	wrong       []error
}

// A reached is a checkpoint: every entry before next was sent, the last of them last.
type reached struct{ next, last int64 }

func newFollower() *follower { return &follower{entries: make(map[int64]string)} }

// last is the entry that came last; -1 for none.
func (f *follower) last() int64 {
	if len(f.order) == 0 {
		return -1
	}
	return f.order[len(f.order)-1]
}

// check looks at what arrives. It is remembered when it is taken.
func (f *follower) check(w *sent, taken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	blame := func(format string, args ...any) {
		if len(f.wrong) < 20 {
			f.wrong = append(f.wrong, fmt.Errorf("%s: %s", w.id, fmt.Sprintf(format, args...)))
		}
	}
	previous := int64(-1)
	if w.Data.Previous != nil {
		previous = *w.Data.Previous
	}
	switch {
	case !w.isEntry():
		if w.Data.Next <= f.last() || len(f.checkpoints) > 0 &&
			w.Data.Next < f.checkpoints[len(f.checkpoints)-1].next {
			blame("a checkpoint of entries before %d after entry %d", w.Data.Next, f.last())
		}
		if previous != f.last() {
			blame("a checkpoint after %d, not %d", previous, f.last())
		}
		if taken {
			f.checkpoints = append(f.checkpoints, reached{w.Data.Next, f.last()})
		}
	case f.entries[w.Data.Index] != "":
		f.again++
		if f.entries[w.Data.Index] != w.Data.Entry {
			blame("a repeat with other bytes")
		}
	default:
		if previous != f.last() || w.Data.Index <= previous {
			blame("it says that it follows %d; %d came last", previous, f.last())
		}
		if taken {
			f.order = append(f.order, w.Data.Index)
			f.entries[w.Data.Index] = w.Data.Entry
		}
	}
}

// has reports whether an entry has come.
func (f *follower) has(index int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last() >= index
}

// reached is how many checkpoints came.
func (f *follower) reached() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.checkpoints)
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.order)
}

// compare requires that what came is, byte for byte and up to the last of it, what the log of a
// stopped server has from an entry on that fits, and that checkpoints were true.
func (f *follower) compare(t *testing.T, s *server, from int64, fits func(*audit.Entry) bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := errors.Join(f.wrong...); err != nil {
		t.Error(err)
	}
	leaves, err := s.leaves(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []int64
	for index, leaf := range leaves {
		e, err := audit.ParseEntry(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if int64(index) < from || int64(index) > f.last() || !fits(e) {
			continue
		}
		want = append(want, int64(index))
		if got := f.entries[int64(index)]; got != string(leaf) {
			t.Errorf("entry %d came as %q, and is %q", index, got, leaf)
		}
	}
	if len(want) != len(f.order) {
		t.Errorf("%d entries came, want %d", len(f.order), len(want))
	}
	for _, c := range f.checkpoints {
		last := int64(-1)
		for _, index := range want {
			if index < c.next {
				last = index
			}
		}
		if last != c.last {
			t.Errorf("a checkpoint said that all before %d had come: the last one was %d, not %d",
				c.next, c.last, last)
		}
	}
}

// leaves returns all entries of the log of a stopped server.
func (s *server) leaves(ctx context.Context) (all [][]byte, err error) {
	files := audit.Dir(filepath.Join(s.dir, "atm-data", "audit"))
	vkey, err := audit.ReadKey(ctx, files)
	if err != nil {
		return nil, err
	}
	log, err := audit.OpenLog(ctx, files, vkey)
	if err != nil {
		return nil, err
	}
	err = log.Entries(ctx, 0, log.Size, func(_ int64, leaf []byte, _ merkle.Hash) error {
		all = append(all, append([]byte{}, leaf...))
		return nil
	})
	return all, err
}
