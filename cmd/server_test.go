//go:build unix

package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"example.com/atm/client"
)

// server is an atmserver process with a data folder of its own.
type server struct {
	dir     string   // working folder of the programs, with atm-data in it
	env     []string // environment of the programs
	url     string
	program string // the server; empty for the one of this tree
	cmd     *exec.Cmd
	ended   chan struct{} // closed when cmd has ended
}

// startServer starts a server and waits until it is ready.
func startServer(t testing.TB) *server {
	t.Helper()
	return startServerIn(t, t.TempDir())
}

// startServerIn is startServer in a folder.
func startServerIn(t testing.TB, dir string, env ...string) *server {
	t.Helper()
	s := &server{dir: dir, env: append(os.Environ(), env...)}
	s.prepare(t)
	return s
}

// prepare starts a server for the first time.
func (s *server) prepare(t testing.TB) {
	t.Helper()
	if err := setUp(func(key, value string) {
		s.env = append(s.env, key+"="+value)
	}, os.Getenv); err != nil {
		t.Fatal(err)
	}
	s.url = lookUp(s.env, "ATM_SERVER")
	s.start(t)
	t.Cleanup(func() { s.cmd.Process.Kill(); <-s.ended })
}

// start restarts the server after it has ended.
func (s *server) start(t testing.TB) {
	t.Helper()
	s.cmd = s.command("atmserver")
	if s.program != "" {
		s.cmd = exec.Command(s.program)
		s.cmd.Dir, s.cmd.Env = s.dir, s.env
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) { cmd.Wait(); close(ended) }(s.cmd, s.ended)
	if err := waitReady("http://localhost:"+lookUp(s.env, "ADMIN")+"/readyz", s.ended); err != nil {
		t.Fatal(err)
	}
}

// command returns a command that runs one of the programs beside this server.
func (s *server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, program), args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

// kill kills the server with SIGKILL.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.ended
}

// stop stops the server as Ctrl-C does.
func (s *server) stop(t testing.TB) {
	t.Helper()
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-s.ended
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server ended with %d", code)
	}
}

// verify runs atmctl audit verify over the log.
func (s *server) verify(t *testing.T) {
	t.Helper()
	if out, err := s.command("atmctl", "audit", "verify").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// demo returns a client that signs in as user:demo.
func (s *server) demo(t testing.TB, tries int) *client.Client {
	t.Helper()
	return s.as(t, "demo", tries)
}

// as is a caller with the certificate in a folder of atm-data/clients.
func (s *server) as(t testing.TB, name string, tries int) *client.Client {
	t.Helper()
	tls, err := client.InFolder(filepath.Join(s.dir, "atm-data", "clients", name)).TLS()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Server: s.url, TLS: tls, Tries: tries})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// atmctl runs a command of atmctl in an environment, and returns what it prints.
func (s *server) atmctl(t *testing.T, env string, args ...string) string {
	t.Helper()
	cmd := s.command("atmctl", args...)
	cmd.Env = append(cmd.Env, env)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}
