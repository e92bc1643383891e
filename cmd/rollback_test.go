//go:build unix

package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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
	"example.com/atm/vault/pgstore/pgtest"
)

// TestStandbyThatLagsIsRefused promotes a standby that has not received the last acknowledged
// operations. One replica carried them out, the other has only seen them. Both end, and
// neither starts on that database again.
func TestStandbyThatLagsIsRefused(t *testing.T) {
	t.Parallel()
	lags := []int{1, 6, 300}
	if soak(0, 1) == 1 {
		lags = []int{
			1, 2, 3, 5, 6, 10, 20, 50, 100, 200, 254, 255, 256, 257, 300, 512, 700, 1000,
			1500, 2000,
		}
	}
	for _, lag := range lags {
		t.Run(fmt.Sprint(lag), func(t *testing.T) {
			primary := pgtest.Start(t)
			primary.Database(t)
			standby := primary.Standby(t, "s1")
			url := fmt.Sprintf(
				"postgres://atm@127.0.0.1:%d,127.0.0.1:%d/atm1?sslmode=disable&target_session_attrs=read-write", primary.Port, standby.Port)
			all := startReplicas(t, 2, url)
			deposits(t, all[0], 3)
			eventually(t, "the standby has what came before", func() bool {
				return standby.SQL(t, "atm1", "SELECT size FROM log") == primary.SQL(t, "atm1",
					"SELECT size FROM log")
			})
			standby.SQL(t, "postgres", "ALTER SYSTEM SET primary_conninfo = ''")
			standby.SQL(t, "postgres", "SELECT pg_reload_conf()")
			eventually(t, "the standby receives nothing any more", func() bool {
				return standby.SQL(t, "postgres",
					"SELECT count(*) FROM pg_stat_wal_receiver") == "0"
			})
			deposits(t, all[0], lag)
			acknowledged := primary.SQL(t, "atm1", "SELECT size FROM log")
			for i, s := range all {
				eventually(t, fmt.Sprintf("replica %d has published all", i), func() bool {
					return metric(t, s, "atm_audit_published_entries") == acknowledged
				})
			}

			primary.Kill(t)
			standby.Promote(t)
			begun := time.Now()
			for i, s := range all {
				select {
				case <-s.ended:
				case <-time.After(patience):
					t.Fatalf("replica %d goes on", i)
				}
				if code := s.cmd.ProcessState.ExitCode(); code != 1 {
					t.Errorf("replica %d ended with %d, not 1", i, code)
				}
			}
			t.Logf("both had ended %v after the promotion",
				time.Since(begun).Round(time.Millisecond))
			for i, s := range all {
				var said bytes.Buffer
				again := s.command("atmserver")
				again.Stderr = &said
				var exit *exec.ExitError
				if err := again.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
					t.Errorf("replica %d starts again: %v\n%s", i, err, &said)
				}
				if text := said.String(); !strings.Contains(text, "ahead of the vault") &&
					!strings.Contains(text, "has seen more of it") {
					t.Errorf("replica %d does not say why:\n%s", i, &said)
				}
				verify := s.command("atmctl", "audit", "verify", filepath.Join("atm-data", "audit"))
				if out, err := verify.CombinedOutput(); err != nil {
					t.Errorf("what replica %d published: %v\n%s", i, err, out)
				}
			}
			recoverLongest(t, all, acknowledged, lag)
		})
	}
}

// recoverLongest recovers the log on one replica, which has lost its published log. The log
// that the other one published counts, and both continue with the new log.
func recoverLongest(t *testing.T, all []*server, acknowledged string, lag int) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(all[1].dir, "atm-data", "audit")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(all[1].dir, "atm-data", "seen.toml")); err != nil {
		t.Errorf("what the replica saw is not noted: %v", err)
	}
	recovering := all[1].command("atmctl", "audit", "recover", "-o", "json", "--log",
		filepath.Join(all[0].dir, "atm-data", "audit"))
	out, err := recovering.Output()
	var said struct {
		OldSize int64 `json:"old_size"`
		Behind  int64 `json:"behind"`
	}
	if err := errors.Join(err, json.Unmarshal(out, &said)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if fmt.Sprint(said.OldSize) != acknowledged || said.Behind < int64(lag) {
		t.Errorf("recovered: %s; %s entries were acknowledged, and the last %d are gone", out,
			acknowledged, lag)
	}
	for _, s := range []*server{all[1], all[0]} {
		s.start(t)
	}
	for _, s := range all {
		s.stop(t)
		s.verify(t)
	}
}

// deposits makes n deposits of a cent as the demo customer.
func deposits(t *testing.T, s *server, n int) {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: credentials(t, s)}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport}
	for range n {
		if err := depositCent(c, s.url+"/RPC2"); err != nil {
			t.Fatal(err)
		}
	}
}

// metric is the value of a metric of a server.
func metric(t *testing.T, s *server, name string) string {
	t.Helper()
	values, err := metrics(lookUp(s.env, "ADMIN"))
	if err != nil || values[name] == "" {
		t.Fatalf("there is no metric %s: %v", name, err)
	}
	return values[name]
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("this does not come to be: %s", what)
		}
	}
}

// TestLaggingStandbyUnderLoadLosesNothingInSilence promotes an asynchronous standby, five
// times with ATM_SOAK, while eight clients deposit on two replicas. Either the database has
// every acknowledged operation, or no replica serves and none starts.
func TestLaggingStandbyUnderLoadLosesNothingInSilence(t *testing.T) {
	t.Parallel()
	const clients = 8
	for round := range soak(1, 5) {
		primary := pgtest.Start(t)
		primary.Database(t)
		standby := primary.Standby(t, "s1")
		url := fmt.Sprintf(
			"postgres://atm@127.0.0.1:%d,127.0.0.1:%d/atm1?sslmode=disable&target_session_attrs=read-write", primary.Port, standby.Port)
		all := startReplicas(t, 2, url)
		var mu sync.Mutex
		answers := make(map[atm.RequestID]client.Answer) // as acknowledged
		var wg sync.WaitGroup
		enough := make(chan struct{}, clients)
		for n := range clients {
			c := clientOf(t, all[0], all[n%2].url)
			wg.Go(func() {
				for i := 0; ; i++ {
					id := atm.RequestID(fmt.Sprintf("%d-%d-%d", round, n, i))
					a, err := c.Deposit(t.Context(), 100, 1, id)
					if err != nil || !a.OK() {
						return
					}
					mu.Lock()
					answers[id] = *a
					mu.Unlock()
					if i == 100 {
						enough <- struct{}{}
					}
				}
			})
		}
		for range clients {
			<-enough
		}
		if round%2 == 0 { // it lags by the next deposits; otherwise by those in transit
			standby.SQL(t, "postgres", "ALTER SYSTEM SET primary_conninfo = ''")
			standby.SQL(t, "postgres", "SELECT pg_reload_conf()")
			eventually(t, "the standby receives nothing any more", func() bool {
				return standby.SQL(t, "postgres",
					"SELECT count(*) FROM pg_stat_wal_receiver") == "0"
			})
		}
		mu.Lock()
		behind := len(answers) + 50*clients
		mu.Unlock()
		eventually(t, "clients go on", func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(answers) >= behind
		})
		primary.Kill(t)
		standby.Promote(t)
		wg.Wait() // each ends with the first call that is not answered OK
		serving := 0
		for _, s := range all {
			if !s.recovered(t, all[0]) {
				continue
			}
			serving++
			c := clientOf(t, all[0], s.url)
			for id, first := range answers {
				if again, err := c.Deposit(t.Context(), 100, 1, id); err != nil || *again != first {
					t.Fatalf("%s was answered %+v, and is now %+v, %v", id, first, again, err)
				}
			}
		}
		t.Logf("round %d: %d acknowledged, %d of 2 replicas serve", round, len(answers), serving)
		if serving > 0 {
			continue
		}
		for i, s := range all {
			if err := s.command("atmserver").Run(); err == nil {
				t.Errorf("replica %d starts on what lost something", i)
			}
		}
	}
}

// recovered waits until a server answers again, or has ended.
func (s *server) recovered(t *testing.T, first *server) bool {
	t.Helper()
	c := clientOf(t, first, s.url)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		select {
		case <-s.ended:
			return false
		default:
		}
		if a, err := c.Inquiry(t.Context(), 100); err == nil && a.OK() {
			select { // it may have noticed just now
			case <-s.ended:
				return false
			case <-time.After(2 * time.Second):
				return true
			}
		}
	}
	t.Fatal("the server neither answers nor ends")
	return false
}
