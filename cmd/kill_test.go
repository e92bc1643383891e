package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
)

// TestKillUnderLoad kills the server while 8 clients deposit. Whoever got an
// answer keeps it, whoever is in doubt asks again with the same request id and
// is told the truth, and the log verifies.
func TestKillUnderLoad(t *testing.T) {
	const rounds, clients, before = 3, 8, 40
	dir := t.TempDir()
	env := os.Environ()
	if err := setUp(func(key, value string) { env = append(env, key+"="+value) }, os.Getenv); err != nil {
		t.Fatal(err)
	}
	var server *exec.Cmd
	var ended chan struct{}
	start := func() {
		t.Helper()
		server = exec.Command(filepath.Join(bin, "atmserver"))
		server.Dir, server.Env = dir, env
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		gone := make(chan struct{})
		ended = gone
		go func(cmd *exec.Cmd) { cmd.Wait(); close(gone) }(server)
		if err := waitReady("http://localhost:"+lookUp(env, "ADMIN")+"/readyz", ended); err != nil {
			t.Fatal(err)
		}
	}
	connect := func(tries int) *client.Client {
		t.Helper()
		tls, err := client.InFolder(filepath.Join(dir, "atm-data", "clients", "demo")).TLS()
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(client.Config{Server: lookUp(env, "ATM_SERVER"), TLS: tls, Tries: tries})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	start()
	t.Cleanup(func() { server.Process.Kill(); <-ended })

	answers := make(map[atm.RequestID]client.Answer) // as they were acknowledged
	var doubtful []atm.RequestID
	var mu sync.Mutex
	for round := range rounds {
		enough := make(chan struct{}, clients*before)
		var wg sync.WaitGroup
		for n := range clients {
			c := connect(1)
			wg.Go(func() {
				for i := 0; ; i++ {
					id := atm.RequestID(fmt.Sprintf("%d-%d-%d", round, n, i))
					a, err := c.Deposit(t.Context(), 100, 1, id)
					var unknown *client.OutcomeUnknownError
					mu.Lock()
					switch {
					case err == nil:
						answers[id] = *a
					case errors.As(err, &unknown):
						doubtful = append(doubtful, id)
					}
					mu.Unlock()
					if err != nil {
						return
					}
					select {
					case enough <- struct{}{}:
					default:
					}
				}
			})
		}
		for range before {
			<-enough
		}
		if err := server.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		<-ended
		start()
	}
	c := connect(4)
	for id, first := range answers {
		again, err := c.Deposit(t.Context(), 100, 1, id)
		if err != nil || *again != first {
			t.Errorf("%s was answered %+v, and is now %+v, %v", id, first, again, err)
		}
	}
	for _, id := range doubtful { // done before the kill or now, but once
		if a, err := c.Deposit(t.Context(), 100, 1, id); err != nil || !a.OK() {
			t.Errorf("%s: %+v, %v", id, a, err)
		}
	}
	want := atm.Amount(100000 + len(answers) + len(doubtful)).String()
	if a, err := c.Inquiry(t.Context(), 100); err != nil || a.Text() != want {
		t.Errorf("balance %+v, %v, want %s", a, err, want)
	}
	t.Logf("%d kills, %d acknowledged, %d in doubt", rounds, len(answers), len(doubtful))
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-ended
	verify := exec.Command(filepath.Join(bin, "atmctl"), "audit", "verify")
	verify.Dir, verify.Env = dir, env
	if out, err := verify.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
