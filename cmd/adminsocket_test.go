//go:build unix

package cmd_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestInheritedAdminSocketStaysOnLoopback passes a socket for the operator's endpoints to the
// server, as a supervisor does. A socket on all addresses is refused, one on loopback is
// served, and it is closed if the endpoints are switched off.
func TestInheritedAdminSocketStaysOnLoopback(t *testing.T) {
	t.Parallel()
	// begin starts a server that inherits a socket on an address.
	begin := func(t *testing.T, address string, args ...string) (cmd *exec.Cmd, text *bytes.Buffer,
		port string, ended chan error,
	) {
		t.Helper()
		socket, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		inherited, err := socket.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer inherited.Close()
		env := os.Environ()
		if err := setUp(func(key, value string) {
			env = append(env, key+"="+value)
		}, os.Getenv); err != nil {
			t.Fatal(err)
		}
		text = new(bytes.Buffer)
		args = append([]string{
			"-c", `LISTEN_PID=$$ exec "$0" "$@"`,
			filepath.Join(bin, "atmserver"),
		}, args...)
		cmd = exec.Command("sh", args...)
		cmd.Dir, cmd.Stderr, cmd.ExtraFiles = t.TempDir(), text, []*os.File{inherited}
		cmd.Env = append(env, "LISTEN_FDS=1", "LISTEN_FDNAMES=atmserver-admin")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended = make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() { cmd.Process.Kill() })
		_, port, _ = net.SplitHostPort(socket.Addr().String())
		return cmd, text, port, ended
	}
	for _, address := range []string{"0.0.0.0:0", "[::]:0"} {
		cmd, text, _, ended := begin(t, address)
		select {
		case <-ended:
			if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(text.String(),
				"loopback only") {
				t.Errorf("%s: exit %d, %s", address, code, text)
			}
		case <-time.After(patience):
			t.Errorf("%s is served", address)
		}
	}
	stop := func(t *testing.T, cmd *exec.Cmd, text *bytes.Buffer, ended chan error) {
		t.Helper()
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
	t.Run("on loopback", func(t *testing.T) {
		cmd, text, port, ended := begin(t, "127.0.0.1:0")
		if err := waitReady("http://127.0.0.1:"+port+"/readyz", make(chan struct{})); err != nil {
			t.Error(err)
		}
		stop(t, cmd, text, ended)
	})
	t.Run("switched off", func(t *testing.T) {
		cmd, text, port, ended := begin(t, "127.0.0.1:0", "--admin-listen", "")
		url := "https://localhost:" + lookUp(cmd.Env, "PORT") + "/readyz"
		client := &http.Client{Timeout: patience, Transport: &http.Transport{
			// nothing is sent
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		}}
		serves := func() bool {
			resp, err := client.Get(url)
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		}
		until(t, serves)
		if resp, err := client.Get("http://127.0.0.1:" + port + "/debug/pprof/"); err == nil {
			resp.Body.Close()
			t.Errorf("the endpoints are off and answer %s", resp.Status)
		}
		stop(t, cmd, text, ended)
	})
}
