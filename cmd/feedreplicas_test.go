//go:build unix

package cmd_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/vault/pgstore/pgtest"
)

// startFeedReplicas starts servers on one database that send events to this machine. Each shows
// receivers a certificate with its number, from 0 on.
func startFeedReplicas(t *testing.T, n int) []*server {
	t.Helper()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
		if err := writeSelfSigned(dirs[i], strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	// All receivers have the certificate of the first one.
	return startReplicasIn(t, dirs, pgtest.Start(t).Database(t), feedEnv[0],
		"ATM_FEED_CA="+filepath.Join(dirs[0], "atm-data", "ca", "ca.crt"),
		"ATM_FEED_CERT=feed.crt", "ATM_FEED_KEY=feed.key", "ATM_FEED_RATE=2000")
}

// writeSelfSigned writes feed.crt with a name, and feed.key.
func writeSelfSigned(dir, name string) error {
	key, err := certs.NewKey()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	text, err := certs.EncodeKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "feed.key"), text, 0o600); err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "feed.crt"), certs.EncodeCertificate(cert), 0o600)
}

// deliverers remembers which replica sends each subscription, and since when.
type deliverers struct {
	mu    sync.Mutex
	now   map[string]string    // number of the replica, by path
	since map[string]time.Time // by path
	count map[string]int       // what each replica has sent, by its number
}

func newDeliverers() *deliverers {
	return &deliverers{
		now: make(map[string]string), since: make(map[string]time.Time),
		count: make(map[string]int),
	}
}

func (d *deliverers) arrived(path string, w *sent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count[w.by]++
	if d.now[path] != w.by {
		d.now[path], d.since[path] = w.by, time.Now()
	}
}

// of is the number of the replica that sends a subscription; -1 for none.
func (d *deliverers) of(path string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := strconv.Atoi(d.now[path])
	if err != nil {
		return -1
	}
	return n
}

func (d *deliverers) sentBy(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count[strconv.Itoa(n)]
}

// takenOver waits until another replica sends what one has sent that went away, and returns how
// long that took.
func (d *deliverers) takenOver(t *testing.T, from int, gone time.Time) (took time.Duration) {
	t.Helper()
	eventually(t, "another replica takes over", func() bool {
		return d.of("all") != from && d.of("deposits") != from
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, since := range d.since {
		took = max(took, since.Sub(gone))
	}
	return took
}

// TestReplicaTakesOverFromTheOneThatDelivers kills, again and again, the replica that delivers,
// while clients deposit on both. The other one takes over; every entry arrives, in order and the
// same each time. A replica that was only stopped, and does not know that another one has taken
// over, sends nothing more when it goes on, but what it was sending.
func TestReplicaTakesOverFromTheOneThatDelivers(t *testing.T) {
	t.Parallel()
	all := startFeedReplicas(t, 2)
	p := subscribePair(t, all[0])
	d := newDeliverers()
	p.seen = d.arrived
	p.sink.on(t)
	const rest = 20 * time.Millisecond
	stop := p.depositing(t, rest, clientOf(t, all[0], all[0].url), clientOf(t, all[0], all[1].url))
	eventually(t, "both are delivered", func() bool { return d.of("all") >= 0 && d.of("deposits") >= 0 })
	operators := make([]*client.Client, len(all))
	for i, s := range all {
		operators[i] = operatorAt(t, all[0], s.url)
	}
	var times []time.Duration
	for range soak(3, 20) {
		n := d.of("deposits")
		checkpoints, ofDeposits := p.checkpoints()
		gone := time.Now()
		all[n].kill(t)
		times = append(times, d.takenOver(t, n, gone))
		p.catchUp(t, operators[1-n], checkpoints, ofDeposits)
		all[n].start(t)
	}
	stop()
	for range soak(1, 5) {
		n := d.of("deposits")
		// What a stopped server has locked stays locked, so nobody deposits on this one.
		stop = p.depositing(t, rest, clientOf(t, all[0], all[1-n].url))
		gone := time.Now()
		all[n].signal(t, syscall.SIGSTOP)
		times = append(times, d.takenOver(t, n, gone))
		before := d.sentBy(n)
		all[n].signal(t, syscall.SIGCONT)
		other := d.sentBy(1 - n)
		eventually(t, "events go on", func() bool { return d.sentBy(1-n) > other+200 })
		if late := d.sentBy(n) - before; late > 2 { // one for each subscription
			t.Errorf("a replica that had lost its claims sent %d events", late)
		}
		stop()
	}
	slices.Sort(times)
	t.Logf("taken over after %v in the median of %d, %v at most",
		times[len(times)/2].Round(time.Millisecond), len(times),
		times[len(times)-1].Round(time.Millisecond))
	p.finish(t, all...)
}

// operatorAt is the operator that the first replica created, as a client of another one.
func operatorAt(t *testing.T, first *server, url string) *client.Client {
	t.Helper()
	tls, err := clientFiles(first, "operator")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Server: url, TLS: tls, Tries: 4})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *server) signal(t *testing.T, what os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(what); err != nil {
		t.Fatal(err)
	}
}
