//go:build unix

package cmd_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/internal/needs"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest/linear"
)

// startReplicas starts servers on one database. The first one creates the credentials of all.
func startReplicas(t testing.TB, n int, url string, env ...string) []*server {
	t.Helper()
	dirs := make([]string, n)
	for i := range dirs {
		dirs[i] = t.TempDir()
	}
	return startReplicasIn(t, dirs, url, env...)
}

// startReplicasIn is startReplicas in folders.
func startReplicasIn(t testing.TB, dirs []string, url string, env ...string) []*server {
	t.Helper()
	env = append(env, "ATM_STORE="+url)
	all := []*server{startServerIn(t, dirs[0], env...)}
	key, err := os.ReadFile(filepath.Join(dirs[0], "atm-data", "keys", "vault.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs[1:] {
		keys := filepath.Join(dir, "atm-data", "keys")
		if err := os.MkdirAll(keys, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(keys, "vault.key"), key, 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, startServerIn(t, dir, env...))
	}
	return all
}

// clientOf is a client of one replica with the credentials that the first one created. It does
// not retry.
func clientOf(t testing.TB, first *server, url string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Server: url, TLS: credentials(t, first), Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func credentials(t testing.TB, s *server) *tls.Config {
	t.Helper()
	cfg, err := clientFiles(s, "demo")
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func clientFiles(s *server, user string) (*tls.Config, error) {
	return client.InFolder(filepath.Join(s.dir, "atm-data", "clients", user)).TLS()
}

// TestHistoriesOnReplicasAreLinearizable is TestHistoriesAreLinearizable on two replicas, one
// of which is killed now and then. A client without an answer asks the other one.
func TestHistoriesOnReplicasAreLinearizable(t *testing.T) {
	t.Parallel()
	linearizable(t, func() string { return pgtest.Start(t).Database(t) })
}

// TestHistoriesOnDynamoDBAreLinearizable is the same with a table in the place of a database.
func TestHistoriesOnDynamoDBAreLinearizable(t *testing.T) {
	t.Parallel()
	linearizable(t, func() string { return dyntest.Shared(t).Table() })
}

func linearizable(t *testing.T, empty func() string) {
	const clients, each, kills, opening = 8, 150, 3, 1000
	for history := range soak(1, 10) {
		all := startReplicas(t, 2, empty())
		openAccounts(t, all[0], opening)
		r := linear.NewRecorder()
		var wg sync.WaitGroup
		var again atomic.Int64
		for n := range clients {
			two := []*client.Client{
				clientOf(t, all[0], all[n%2].url),
				clientOf(t, all[0], all[1-n%2].url),
			}
			wg.Go(func() {
				for range each {
					in := linear.Random()
					r.Begin(n, in)(ask(t, two, in, func() {}, &again))
				}
			})
		}
		for i := range kills {
			// anywhere among the operations
			time.Sleep(time.Duration(100+rand.IntN(200)) * time.Millisecond)
			all[i%2].kill(t)
			all[i%2].start(t)
		}
		wg.Wait()
		t.Logf("history %d: %d operations, %d asked again", history+1, clients*each, again.Load())
		if !r.Linearizable(t, opening) {
			t.Fatal("what the clients were told cannot have happened")
		}
		for _, s := range []*server{all[1], all[0]} {
			s.stop(t)
			s.verify(t)
		}
		all[0].fsck(t)
	}
}

// TestKilledPrimaryLosesNothing kills the database while 8 clients deposit on two replicas,
// and promotes its standby. The replicas find the standby by themselves; no acknowledged
// operation is lost, and none happens twice.
func TestKilledPrimaryLosesNothing(t *testing.T) {
	t.Parallel()
	for round := range soak(1, 10) {
		primary := pgtest.Start(t)
		primary.Database(t)
		standby := primary.Standby(t, "s1")
		// From now on every acknowledged operation is on both. The standby does not have this
		// setting, because it would wait for a standby of its own.
		primary.SQL(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 's1'")
		primary.SQL(t, "postgres", "SELECT pg_reload_conf()")
		url := fmt.Sprintf(
			"postgres://atm@127.0.0.1:%d,127.0.0.1:%d/atm1?sslmode=disable&target_session_attrs=read-write", primary.Port, standby.Port)
		all := startReplicas(t, 2, url)
		c := crashReplicas(all)
		var begun time.Time
		c.round(t, round, func() {
			begun = time.Now()
			primary.Kill(t)
			standby.Promote(t)
		}, func() {
			for _, s := range all {
				s.backAgain(t)
			}
		})
		t.Logf("round %d: %d acknowledged, %d in doubt, away for %v at most", round+1,
			c.acknowledged, c.doubtful, time.Since(begun).Round(time.Millisecond))
		for _, s := range []*server{all[1], all[0]} {
			s.stop(t)
			s.verify(t)
		}
		all[0].fsck(t)
	}
}

// crashReplicas is a crasher whose clients use several servers.
func crashReplicas(all []*server) *crasher {
	next := 0
	return &crasher{server: all[0], want: openingBalance, connect: func(t testing.TB,
		tries int,
	) *client.Client {
		next++
		c, err := client.New(client.Config{
			Server: all[next%len(all)].url,
			TLS:    credentials(t, all[0]), Tries: tries,
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}}
}

// backAgain waits until a server is ready, and restarts it if it has ended, as a supervisor
// does.
func (s *server) backAgain(t testing.TB) {
	t.Helper()
	select {
	case <-s.ended:
		s.start(t)
	default:
		if err := waitReady("http://localhost:"+lookUp(s.env, "ADMIN")+"/readyz",
			s.ended); err != nil {
			s.start(t)
		}
	}
}

// haproxy starts HAProxy with deploy/haproxy.cfg in front of three servers, and returns the
// URL.
func haproxy(t testing.TB, all []*server) string {
	t.Helper()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	return haproxyAt(t, port, all)
}

// haproxyAt is haproxy on a port of this machine.
func haproxyAt(t testing.TB, port string, all []*server) string {
	t.Helper()
	config, err := filepath.Abs("../deploy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needs.Program(t, "haproxy"), "-f", config)
	cmd.Env = append(os.Environ(), "ATM_BIND=127.0.0.1:"+port, "ATM_INTER=100ms",
		"ATM_CA="+filepath.Join(all[0].dir, "atm-data", "ca", "ca.crt"))
	for i, s := range all {
		cmd.Env = append(cmd.Env, fmt.Sprintf("ATM_%d=%s", i+1, lookUp(s.env, "ATM_LISTEN")))
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	return "https://localhost:" + port
}

// depositCent deposits a cent without retries: net/http does not retry either, because the
// header has no request id.
func depositCent(c *http.Client, url string) error {
	resp, err := c.Post(url, "text/xml",
		strings.NewReader(
			"<methodCall><methodName>deposit</methodName><params><param><value>100</value></param><param><value>0.01</value></param></params></methodCall>"))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && !bytes.Contains(text, []byte("<string>OK</string>")) {
		err = fmt.Errorf("%s %.300s", resp.Status, text)
	}
	return err
}

// TestRollingRestartFailsNoCall restarts three replicas behind HAProxy, one after the other,
// while clients call through it without retries. No call fails.
func TestRollingRestartFailsNoCall(t *testing.T) {
	t.Parallel()
	const clients, restarts, between = 8, 6, 200 // calls between two restarts
	all := startReplicas(t, 3, pgtest.Start(t).Database(t), "ATM_PROXY_FROM=127.0.0.0/8",
		"ATM_DRAIN_DELAY=1s")
	url := haproxy(t, all)
	var calls, failed atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	for range clients {
		transport := &http.Transport{TLSClientConfig: credentials(t, all[0])}
		defer transport.CloseIdleConnections()
		c := &http.Client{Transport: transport}
		wg.Go(func() {
			for !done.Load() {
				err := depositCent(c, url+"/RPC2")
				if err != nil && calls.Load() == 0 { // HAProxy has not found a server yet
					time.Sleep(50 * time.Millisecond)
					continue
				}
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	for end := time.Now().Add(patience); calls.Load() < 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			done.Store(true)
			t.Fatal("nobody gets through")
		}
	}
	for n := range restarts {
		enough := calls.Load() + between
		eventually(t, "clients get through", func() bool {
			return calls.Load() >= enough || failed.Load() > 0
		})
		s := all[n%len(all)]
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-s.ended
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("a replica ended with %d", code)
		}
		s.start(t)
		time.Sleep(time.Second) // HAProxy checks again
	}
	done.Store(true)
	wg.Wait()
	t.Logf("%d restarts, %d calls, %d failed", restarts, calls.Load(), failed.Load())
	var sum atm.Amount = openingBalance + atm.Amount(calls.Load()-failed.Load())
	direct := &http.Client{Transport: &http.Transport{TLSClientConfig: credentials(t, all[0])}}
	resp, err := direct.Post(url+"/RPC2", "text/xml",
		strings.NewReader(
			"<methodCall><methodName>inquiry</methodName><params><param><value>100</value></param></params></methodCall>"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text),
		sum.String()) {
		t.Errorf("%v, want %s: %.300s", err, sum, text)
	}
	direct.CloseIdleConnections()
	for _, s := range []*server{all[2], all[1], all[0]} {
		s.stop(t)
		s.verify(t)
	}
}
