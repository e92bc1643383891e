//go:build unix

package cmd_test

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestSocketOutlivesRestarts restarts a server ten times that inherits its socket from a
// supervisor, as from systemd with atmserver.socket, while clients call without retries on
// kept and on new connections. No call fails.
func TestSocketOutlivesRestarts(t *testing.T) {
	t.Parallel()
	const restarts, clients, between = 10, 8, 100 // calls between two restarts
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	inherited, err := socket.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer inherited.Close()
	s := &server{dir: t.TempDir(), env: os.Environ()}
	if err := setUp(func(key, value string) {
		s.env = append(s.env, key+"="+value)
	}, os.Getenv); err != nil {
		t.Fatal(err)
	}
	start := func() {
		t.Helper()
		s.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0"`, filepath.Join(bin, "atmserver"))
		s.cmd.Dir, s.cmd.ExtraFiles = s.dir, []*os.File{inherited}
		s.cmd.Env = append(s.env, "LISTEN_FDS=1", "LISTEN_FDNAMES=atmserver")
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.ended = make(chan struct{})
		go func(cmd *exec.Cmd, ended chan struct{}) { cmd.Wait(); close(ended) }(s.cmd, s.ended)
		if err := waitReady("http://localhost:"+lookUp(s.env, "ADMIN")+"/readyz",
			s.ended); err != nil {
			t.Fatal(err)
		}
	}
	start()
	t.Cleanup(func() { s.cmd.Process.Kill(); <-s.ended })
	_, port, _ := net.SplitHostPort(socket.Addr().String())
	url := "https://localhost:" + port + "/RPC2"
	var calls, failed atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	for n := range clients {
		transport := &http.Transport{
			TLSClientConfig:   credentials(t, s),
			DisableKeepAlives: n%2 == 0,
		}
		defer transport.CloseIdleConnections()
		c := &http.Client{Transport: transport}
		wg.Go(func() {
			for !done.Load() {
				err := depositCent(c, url)
				calls.Add(1)
				if err != nil {
					failed.Add(1)
					t.Error(err)
				}
			}
		})
	}
	for range restarts {
		enough := calls.Load() + between
		eventually(t, "clients call", func() bool {
			return calls.Load() >= enough || failed.Load() > 0
		})
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		<-s.ended
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the server ended with %d", code)
		}
		start()
	}
	done.Store(true)
	wg.Wait()
	t.Logf("%d restarts, %d calls, %d failed", restarts, calls.Load(), failed.Load())
	s.stop(t)
	s.verify(t)
}
