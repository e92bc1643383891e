//go:build unix

package cmd_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/feed/webhook"
	"example.com/atm/internal/needs"
)

// A recording is what a server sent to one receiver.
type recording struct {
	secret string
	sent   []*sent
}

// record has a server send events of many kinds to three receivers: of everything with proofs, of
// deposits, and of an account, with proofs, to its owner, who may not see all of each entry.
func record(t *testing.T, s *server) map[string]*recording {
	t.Helper()
	all := make(map[string]*recording)
	followers := make(map[string]*follower)
	k := newSink(t, s, func(path string, w *sent) mood {
		followers[path].check(w, true)
		r := all[path]
		for _, earlier := range r.sent {
			if earlier.id == w.id {
				return accepts
			}
		}
		r.sent = append(r.sent, w)
		return accepts
	})
	for name, options := range map[string]map[string]any{
		"all":      {"proofs": "1", "from": "0"},
		"deposits": {"operation": "deposit"},
		"account":  {"proofs": "1", "account": "100"},
	} {
		as := "operator"
		if name == "account" {
			as = "demo"
		}
		all[name], followers[name] = &recording{}, newFollower()
		_, all[name].secret = s.subscribe(t, as, name, k.url(name), options)
	}
	k.on(t)
	for n := range 4 {
		move(t, s, n)
		for name, f := range followers {
			eventually(t, name+" has a checkpoint", func() bool {
				f.mu.Lock()
				defer f.mu.Unlock()
				return len(f.checkpoints) > n
			})
		}
		s.stop(t)
		s.start(t) // and another checkpoint
	}
	s.stop(t)
	k.off()
	for name, f := range followers {
		for _, err := range f.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
	return all
}

// move does a little of much.
func move(t *testing.T, s *server, n int) {
	t.Helper()
	ctx, demo, operator := t.Context(), s.demo(t, 4), s.as(t, "operator", 4)
	if n == 0 {
		operator.Call(ctx, "admin.account.open", "200", "user:eva", "5.00", `Zoë <&> "\u2028`)
		operator.Call(ctx, "admin.user.add", "user:eva", "customer", "correct horse battery staple")
	}
	for range 3 {
		demo.Deposit(ctx, 100, 1250, "")
	}
	demo.Withdraw(ctx, 100, 999_999_00, "")
	demo.Withdraw(ctx, 100, 250, "")
	demo.Transfer(ctx, 100, 200, 5, "")
	demo.Deposit(ctx, 100, 1, atm.RequestID("again"))
	demo.Deposit(ctx, 100, 1, atm.RequestID("again"))
	demo.Note(ctx, 100, "Grüße, „<b>&amp;</b>“ \u2028 "+strings.Repeat("long ", 20), "")
	demo.Deposit(ctx, 4711, 1, "")
	demo.Statement(ctx, 100, client.Range{})
	operator.Deposit(ctx, 100, 7, "")
}

// An example is one of the example receivers.
type example struct {
	name    string
	command func(port, secret, state string) *exec.Cmd

	out, err transcript // which events it takes, and what is wrong with others
}

// A transcript is what a program says. It may be read while the program runs.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *transcript) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *transcript) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *transcript) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.Reset()
}

// receivers are the examples, as somebody runs them beside a server.
func receivers(t *testing.T, s *server) []*example {
	t.Helper()
	folder, err := filepath.Abs("../examples/feed")
	if err != nil {
		t.Fatal(err)
	}
	built := filepath.Join(t.TempDir(), "receiver")
	compile(t, exec.Command("go", "build", "-o", built, folder+"/receiver"))
	python := needs.Program(t, "python3")
	tls := filepath.Join(s.dir, "atm-data", "tls")
	cert, key := filepath.Join(tls, "server.crt"), filepath.Join(tls, "server.key")
	return []*example{
		{name: "Python", command: func(port, secret, state string) *exec.Cmd {
			return exec.Command(python, folder+"/receiver.py", port, cert, key, secret,
				state)
		}},
		{name: "Go", command: func(port, secret, state string) *exec.Cmd {
			return exec.Command(built, "-listen", "localhost:"+port, "-cert", cert, "-key", key,
				"-secret", secret, "-vkey", filepath.Join(s.dir, "atm-data", "audit", "log.vkey"), "-state", state)
		}},
	}
}

// run starts the program, and returns what kills it.
func (r *example) run(t *testing.T, port, secret, state string) (kill func()) {
	t.Helper()
	cmd := r.command(port, secret, state)
	cmd.Stdout, cmd.Stderr = &r.out, &r.err
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	kill = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	eventually(t, r.name+" listens", func() bool {
		conn, err := net.Dial("tcp", "localhost:"+port)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return kill
}

// post sends a message, and returns what the receiver answers.
func (m *message) post(t *testing.T, c *http.Client, url string) int {
	t.Helper()
	h := make(http.Header)
	if err := webhook.Sign(h, m.id, m.at, m.body, m.key); err != nil {
		t.Fatal(err)
	}
	m.headers = make(map[string]string)
	for name := range h {
		m.headers[name] = h.Get(name)
	}
	if m.onTheWay != nil {
		m.onTheWay(m)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url,
		bytes.NewReader(m.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range m.headers {
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// TestReceiversNoticeEachFault plays what a server sent to the example receivers, with a fault
// before each event. Both refuse every fault, say what is wrong, and take the events, each once,
// although some are sent again and the receiver is killed now and then. Faults that the server
// itself would make are signed as it signs.
func TestReceiversNoticeEachFault(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := startFeedServer(t)
	all := record(t, s)
	log := logSigner(t, s)
	for _, r := range receivers(t, s) {
		t.Run(r.name, func(t *testing.T) {
			total, made := 0, make(map[string]bool)
			for _, names := range [][2]string{
				{"all", "deposits"}, {"deposits", "account"}, {"account", "all"},
			} {
				one, other := all[names[0]], all[names[1]]
				f := &forger{
					Rand: rand.New(rand.NewPCG(seed, 1)), stream: one.sent, other: other.sent,
					key: keyOf(t, one.secret), others: keyOf(t, other.secret), log: log,
					python: r.name == "Python",
				}
				n := r.noticesFaults(t, f, one.secret, s, made)
				t.Logf("%s: %d of %d faults were noticed between %d events", names[0], n, n,
					len(f.stream))
				total += n
			}
			for name := range faults {
				if !made[name] && (r.name != "Python" || !strings.HasSuffix(name, "signed by nobody")) {
					t.Errorf("this fault was never made: %s", name)
				}
			}
			t.Logf("%d faults of %d kinds", total, len(made))
		})
	}
}

// noticesFaults plays one stream, and returns how many faults there were. Their names are added to
// those that were made.
func (r *example) noticesFaults(t *testing.T, f *forger, secret string, s *server,
	made map[string]bool,
) (n int) {
	t.Helper()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	roots := s.demo(t, 1).HTTP().Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	c, url := &http.Client{Transport: transport}, "https://localhost:"+port+"/"
	folder := t.TempDir()
	state, file := filepath.Join(folder, "state"), filepath.Join(folder, "secret")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.out.reset()
	r.err.reset()
	kill := r.run(t, port, file, state)
	plan := f.plan()
	for i := range f.stream {
		for _, name := range plan[i] {
			if code := faults[name](f, i).post(t, c, url); code < 400 {
				t.Fatalf("before %s: %s, and the answer is %d", f.stream[i].id, name, code)
			}
			n++
			made[name] = true
		}
		if code := f.honest(i).post(t, c, url); code >= 300 {
			t.Fatalf("event %d, %s, was answered %d:\n%s%s\n%s", i, f.stream[i].id, code,
				r.out.String(), r.err.String(), f.stream[i].body)
		}
		if again := f.IntN(i + 1); f.stream[again].isEntry() {
			if code := f.honest(again).post(t, c, url); code >= 300 {
				t.Fatalf("event %d was answered %d the second time:\n%s", again, code,
					r.err.String())
			}
		}
		if i%20 == 19 {
			kill()
			transport.CloseIdleConnections()
			kill = r.run(t, port, file, state)
		}
	}
	kill()
	if said := strings.Count(r.err.String(), "refused"); said != n {
		t.Errorf("the receiver said %d times what was wrong, not %d", said, n)
	}
	for _, w := range f.stream {
		if taken := strings.Count(r.out.String(), w.id+" "+w.Type+"\n"); taken != 1 {
			t.Errorf("%s was taken %d times", w.id, taken)
		}
	}
	return n
}

// plan says which faults come before each event: all of them where they can be made, in up to
// three places each.
func (f *forger) plan() map[int][]string {
	const places = 3
	plan := make(map[int][]string)
	for _, name := range f.names() {
		made := 0
		for _, i := range f.Perm(len(f.stream)) {
			if made < places && faults[name](f, i) != nil {
				plan[i] = append(plan[i], name)
				made++
			}
		}
	}
	return plan
}
