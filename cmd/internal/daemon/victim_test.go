//go:build unix

package daemon_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
)

// The environment by which this test binary is told to be a server that will be killed.
const (
	victimData    = "ATM_TEST_VICTIM"         // its data folder
	victimArchive = "ATM_TEST_VICTIM_ARCHIVE" // its archive
	victimAddress = "ATM_TEST_VICTIM_ADDRESS"
	victimKeys    = "ATM_TEST_VICTIM_AUDIT_KEYS" // URIs of keys of its log in modules
)

// victimKeep is the window of a victim. A client that was cut off asks again within it.
const victimKeep, victimEvery = 1500 * time.Millisecond, 250 * time.Millisecond

// runVictim archives and trims at a pace for tests, until it is killed or told to end.
func runVictim(data string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listen, err := daemon.Addresses(os.Getenv(victimAddress), "")
	if err != nil {
		return err
	}
	open, err := daemon.Open(ctx, daemon.Options{
		Data: data, Version: "test", Grace: 10 * time.Second,
		Log:       slog.New(slog.NewTextHandler(os.Stderr, nil)),
		AuditKeys: strings.Fields(os.Getenv(victimKeys)),
		Retention: daemon.Retention{
			Archive: os.Getenv(victimArchive), Keep: victimKeep, Every: victimEvery,
		},
	})
	if err != nil {
		listen.Close()
		return err
	}
	return open.Serve(ctx, listen)
}

// A victim is a server in a process of its own, whose folder and archive outlive it.
type victim struct {
	data, away, address string

	cmd   *exec.Cmd
	ended chan struct{} // closed when cmd has ended
	said  *bytes.Buffer // by cmd, to read when it has ended
}

// newVictim makes the folders of a server, and starts it.
func newVictim(t *testing.T, data, away string) *victim {
	t.Helper()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(away, 0o700); err != nil {
		t.Fatal(err)
	}
	v := &victim{data: data, away: away, address: "localhost:" + port}
	t.Cleanup(func() { v.kill() })
	v.start(t)
	return v
}

// start starts the server and waits until it answers.
func (v *victim) start(t *testing.T) {
	t.Helper()
	v.begin(t)
	if !v.answers() {
		t.Fatalf("the server does not start:\n%s", v.said)
	}
}

// begin starts the process, under a program if one is named.
func (v *victim) begin(t *testing.T, under ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := append(under, self, "-test.run=^$")
	v.cmd, v.ended, v.said = exec.Command(command[0], command[1:]...), make(chan struct{}),
		&bytes.Buffer{}
	v.cmd.Env = append(os.Environ(), victimData+"="+v.data, victimArchive+"="+v.away,
		victimAddress+"="+v.address)
	v.cmd.Stdout, v.cmd.Stderr = v.said, v.said
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func(cmd *exec.Cmd, ended chan struct{}) {
		cmd.Wait() // how it ended is in cmd.ProcessState
		close(ended)
	}(v.cmd, v.ended)
}

// answers waits until the server answers. It reports false if its process ended before.
func (v *victim) answers() bool {
	for {
		conn, err := tls.Dial("tcp", v.address, &tls.Config{InsecureSkipVerify: true})
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-v.ended:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// kill ends the process, and what it runs under, with SIGKILL.
func (v *victim) kill() {
	if v.cmd != nil {
		syscall.Kill(-v.cmd.Process.Pid, syscall.SIGKILL) // fails if it has ended
		<-v.ended
	}
}

// stop ends the server cleanly.
func (v *victim) stop(t *testing.T) {
	t.Helper()
	if err := v.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-v.ended
	if code := v.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("the stop ends with %d:\n%s", code, v.said)
	}
}

// killAt kills the server at the nth system call of this name from now on.
func (v *victim) killAt(t *testing.T, call string, n int) {
	t.Helper()
	v.inject(t, call, fmt.Sprintf("signal=SIGKILL:when=%d", n))
}

// slow delays each system call of this name.
func (v *victim) slow(t *testing.T, call string) {
	t.Helper()
	v.inject(t, call, "delay_enter=200000")
}

// inject does something at system calls of the server, until it ends.
func (v *victim) inject(t *testing.T, call, what string) {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-qqq", "-o", os.DevNull, "-e", "trace="+call, "-e",
		"inject="+call+":"+what, "-p", fmt.Sprint(v.cmd.Process.Pid))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait() // it ends with the server
}

// client makes a client that tries this often.
func (v *victim) client(t *testing.T, tries int) *client.Client {
	t.Helper()
	h := &daemontest.Server{Data: v.data}
	c, err := client.New(client.Config{
		Server: "https://" + v.address, TLS: h.TLS(t, "demo"), Tries: tries,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// unfinished counts what a killed process left of a chapter or a trimming.
func (v *victim) unfinished(t *testing.T) (left map[string]int) {
	t.Helper()
	left = make(map[string]int)
	count := func(what, pattern string) {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left[what] += len(found)
	}
	count("objects being written", filepath.Join(v.away, ".tmp", "*"))
	count("snapshots being taken", filepath.Join(v.data, "snapshots", ".tmp-taking-*"))
	count("snapshots being fetched", filepath.Join(v.data, "snapshots", ".tmp-fetching-*"))
	chapters, err := filepath.Glob(filepath.Join(v.away, "chapter", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, chapter := range chapters {
		if _, err := os.Stat(filepath.Join(chapter, "checkpoint")); errors.Is(err, os.ErrNotExist) {
			left["chapters without a checkpoint"]++
		}
	}
	return left
}
