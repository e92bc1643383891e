//go:build unix

package bench_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// feedDeposits is how many deposits a case of BenchmarkFeed counts.
var feedDeposits = 60_000

// A feedBench is a server with six subscriptions: three to a receiver that takes what it gets, and
// three to receivers that take nothing.
type feedBench struct {
	server   *ourServer
	receiver *exec.Cmd
	events   string // URL of the receiver
	client   *http.Client
}

// Subscriptions by what becomes of them. That to nothing considers each entry and selects none.
var (
	alive = []string{"everything", "busy", "nothing"}
	dead  = []string{"refused", "hangs", "error"}
)

func newFeedBench(b testing.TB) *feedBench {
	b.Helper()
	env := newEnvironment(b)
	s := env.small
	receiver, refused := freeAddress(b), freeAddress(b)
	f := &feedBench{
		server: s, events: "https://" + receiver,
		receiver: background(b, env.program("receiver"), "-listen", receiver,
			"-cert", s.data+"/tls/server.crt", "-key", s.data+"/tls/server.key"),
		client: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it tells a number
		}},
	}
	f.restart(b, "")
	for name, args := range map[string][]string{
		"everything": {f.events + "/good"},
		"busy":       {f.events + "/good", "--account", fmt.Sprint(firstAccount)},
		"nothing":    {f.events + "/good", "--operation", "admin.user.disable"},
		"refused":    {"https://" + refused + "/"},
		"hangs":      {f.events + "/hang"},
		"error":      {f.events + "/error"},
	} {
		f.server.ctl(b, append([]string{"feed", "add", name, "--url"}, args...)...)
	}
	f.pause(b, slices.Concat(alive, dead))
	return f
}

// restart starts the server again, with a rate of its feed; that of every server when it is empty.
func (f *feedBench) restart(b testing.TB, rate string) {
	b.Helper()
	f.server.stop(b)
	f.server.flags = []string{
		"--allow-net", "127.0.0.0/8", "--allow-net", "::1/128", "--feed-ca",
		f.server.data + "/ca/ca.crt",
	}
	if rate != "" {
		f.server.flags = append(f.server.flags, "--feed-rate", rate)
	}
	f.server.start(b)
}

func (f *feedBench) pause(b testing.TB, names []string) {
	b.Helper()
	for _, name := range names {
		f.server.ctl(b, "feed", "pause", name)
	}
}

func (f *feedBench) resume(b testing.TB, names []string) {
	b.Helper()
	for _, name := range names {
		f.server.ctl(b, "feed", "resume", name)
	}
}

// taken is how many events the receiver has taken.
func (f *feedBench) taken(b testing.TB) int {
	b.Helper()
	resp, err := f.client.Get(f.events + "/count")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// lag is how many entries a subscription has before it.
func (f *feedBench) lag(b testing.TB, name string) int {
	b.Helper()
	var s struct {
		Lag int `json:"lag"`
	}
	if err := json.Unmarshal([]byte(f.server.ctl(b, "feed", "show", name, "-o", "json")),
		&s); err != nil {
		b.Fatal(err)
	}
	return s.Lag
}

// settle waits until the feed has used up the events that it may send at once, and the subscription
// that nothing fits has come to the end of the journal.
func (f *feedBench) settle(b testing.TB) {
	b.Helper()
	const steady = 300 // events a second at most
	for range 120 {
		before := f.taken(b)
		time.Sleep(time.Second)
		if f.taken(b)-before <= steady && f.lag(b, "nothing") < 1000 {
			return
		}
	}
	b.Fatal("the feed does not settle within minutes")
}

// A feedCost is what deposits cost in a case.
type feedCost struct {
	rate     float64 // a second
	micros   float64 // of the server's processor time, for each
	events   float64 // a second that the receiver took meanwhile
	resident float64 // MB of the server after it, without mapped files
}

// deposits counts a load of deposits.
func (f *feedBench) deposits(b testing.TB) feedCost {
	b.Helper()
	taken, spent, begun := f.taken(b), processor(b, f.server.server), time.Now()
	r := f.server.load(b, "-op", "deposit", "-clients", "64", "-calls", fmt.Sprint(feedDeposits))
	elapsed, spent := time.Since(begun), processor(b, f.server.server)-spent
	cost := feedCost{
		rate:   r.Rate,
		micros: float64(spent.Microseconds()) / float64(feedDeposits),
		events: float64(f.taken(b)-taken) / elapsed.Seconds(),
	}
	cost.resident = f.server.memory(b, "RssAnon:")
	f.server.settle(b)
	return cost
}

// A feedRound has what deposits cost with three subscribers, with three dead ones, and with all
// subscriptions paused: before, between and after. The speed of the machine changes meanwhile, so
// each case is compared with the mean of those beside it.
type feedRound struct{ before, three, between, dead, after feedCost }

func (f *feedBench) round(b testing.TB) (r feedRound) {
	b.Helper()
	r.before = f.deposits(b)
	f.resume(b, alive)
	f.settle(b)
	r.three = f.deposits(b)
	f.pause(b, alive)
	r.between = f.deposits(b)
	f.resume(b, dead)
	r.dead = f.deposits(b)
	f.pause(b, dead)
	r.after = f.deposits(b)
	return r
}

func mean(a, b float64) float64 { return (a + b) / 2 }

// A replayCost is what an event costs when nothing else runs.
type replayCost struct {
	rate     float64 // events a second
	micros   float64 // of the server's processor time, for each
	receiver float64 // the same of the receiver
}

// replayed measures a replay of so many events to one receiver.
func (f *feedBench) replayed(b testing.TB, events int) replayCost {
	b.Helper()
	f.restart(b, "100000")
	f.server.ctl(b, "feed", "replay", "everything", "--from", "0")
	f.server.ctl(b, "feed", "resume", "everything")
	first := f.taken(b)
	for f.taken(b) < first+100 {
		time.Sleep(10 * time.Millisecond)
	}
	taken, begun := f.taken(b), time.Now()
	ours, theirs := processor(b, f.server.server), processor(b, f.receiver)
	n := 0
	for n < events {
		time.Sleep(10 * time.Millisecond)
		n = f.taken(b) - taken
	}
	elapsed := time.Since(begun)
	ours, theirs = processor(b, f.server.server)-ours, processor(b, f.receiver)-theirs
	f.pause(b, []string{"everything"})
	return replayCost{
		rate:     float64(n) / elapsed.Seconds(),
		micros:   float64(ours.Microseconds()) / float64(n),
		receiver: float64(theirs.Microseconds()) / float64(n),
	}
}

// BenchmarkFeed compares deposits at 64 clients with and without subscribers, in rounds as
// BenchmarkAll. The rate is that of the whole machine; the processor time of the server for a
// deposit is the steadier figure.
func BenchmarkFeed(b *testing.B) {
	f := newFeedBench(b)
	f.deposits(b) // the first ones find an empty store
	figures := make(map[string][]float64)
	note := func(name string, value float64) { figures[name] = append(figures[name], value) }
	for b.Loop() {
		r := f.round(b)
		first := mean(r.before.micros, r.between.micros)
		second := mean(r.between.micros, r.after.micros)
		note("three/paused", r.three.rate/mean(r.before.rate, r.between.rate))
		note("three/paused-processor", first/r.three.micros)
		note("dead/paused", r.dead.rate/mean(r.between.rate, r.after.rate))
		note("dead/paused-processor", second/r.dead.micros)
		note("paused/paused-processor", mean(r.before.micros, r.after.micros)/r.between.micros)
		note("paused-µs", r.between.micros)
		note("three-µs", r.three.micros)
		note("dead-µs", r.dead.micros)
		note("paused-a-second", r.between.rate)
		note("three-events-a-second", r.three.events)
		note("paused-MB", mean(r.between.resident, r.after.resident))
		note("dead-MB", r.dead.resident)
	}
	cost := f.replayed(b, 20_000)
	note("replayed-a-second", cost.rate)
	note("event-µs", cost.micros)
	note("receiver-event-µs", cost.receiver)
	for name, of := range figures {
		if testing.Verbose() {
			fmt.Fprintf(os.Stderr, "%s %.3g\n", name, of)
		}
		slices.Sort(of)
		b.ReportMetric(of[len(of)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// TestFeedIsMeasured measures a little of the feed, so that what is broken is noticed before the
// next measurement.
func TestFeedIsMeasured(t *testing.T) {
	defer func(before int) { feedDeposits = before }(feedDeposits)
	feedDeposits = 200
	f := newFeedBench(t)
	r := f.round(t)
	if r.before.events+r.between.events+r.dead.events+r.after.events != 0 || f.taken(t) == 0 {
		t.Errorf("%d events arrived: %+v", f.taken(t), r)
	}
	for _, cost := range []feedCost{r.before, r.three, r.between, r.dead, r.after} {
		if cost.rate <= 0 || cost.resident <= 0 {
			t.Errorf("%+v", cost)
		}
	}
	if cost := f.replayed(t, 100); cost.rate <= 0 {
		t.Errorf("%v events a second", cost.rate)
	}
}

// processor is the time that a process has used of all cores.
func processor(b testing.TB, process *exec.Cmd) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name of the program is before
	fields := strings.Fields(after)
	const user, system, tick = 11, 12, 10 * time.Millisecond // proc(5): utime and stime
	var ticks int64
	for _, field := range []string{fields[user], fields[system]} {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick
}

// ctl runs atmctl as the operator, and returns what it prints.
func (s *ourServer) ctl(b testing.TB, args ...string) string {
	b.Helper()
	cmd := exec.Command(s.env.program("atmctl"),
		append([]string{"--server", "https://" + s.address}, args...)...)
	cmd.Dir = s.dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}
