//go:build containers

package deploy_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/internal/needs"
	"golang.org/x/sys/unix"
)

// An engine is Podman with storage of its own, and podman-compose.
type engine struct {
	podman  string // a script that runs it
	project string
	env     []string // of podman-compose
}

// openingBalance is what account 100 of a new bank has.
const openingBalance atm.Amount = 1000_00

// startEngine finds settings with which Podman can run a container of the image in archive.
func startEngine(t *testing.T, archive string) *engine {
	t.Helper()
	needs.Root(t)
	podman := needs.Program(t, "podman")
	dir, err := os.MkdirTemp("", "atm") // Podman takes no long names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := &engine{podman: filepath.Join(dir, "podman"), project: fmt.Sprintf("atm%d", os.Getpid())}
	// Where the limits of this process may not be raised.
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	limits := filepath.Join(dir, "containers.conf")
	text := fmt.Sprintf("[containers]\ndefault_ulimits = [\"nofile=%d:%[1]d\", "+
		"\"nproc=4096:4096\"]\n", files.Max)
	if err := os.WriteFile(limits, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{"", "--runtime runc --cgroup-manager cgroupfs"} {
		script := fmt.Sprintf("#!/bin/sh\n%sexec %s --root %s/root --runroot %[3]s/run "+
			"--storage-driver vfs %s \"$@\"\n",
			map[bool]string{true: "export CONTAINERS_CONF=" + limits + "\n"}[way != ""],
			podman, dir, way)
		if err := os.WriteFile(e.podman, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		run(t, dir, e.podman, "load", "-q", "-i", archive)
		out, err := exec.Command(e.podman, "run", "--rm", "--read-only", "--entrypoint",
			"/usr/bin/atmctl", "localhost/atm:"+version, "version").CombinedOutput()
		if err == nil {
			t.Logf("podman %s: %s", way, out)
			return e
		}
		t.Logf("podman %s is refused: %s", way, out)
	}
	t.Fatal("Podman can run nothing here")
	return nil
}

// compose runs podman-compose on deploy/compose.yaml.
func (e *engine) compose(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(needs.Program(t, "podman-compose"), append([]string{
		"--podman-path", e.podman, "-p", e.project, "-f", "compose.yaml",
	}, args...)...)
	cmd.Env = e.env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("podman-compose %v: %v\n%s", args, err, out)
	}
}

// container is the name of the container of a service.
func (e *engine) container(service string) string { return e.project + "_" + service + "_1" }

// inside runs a command in the container of a service.
func (e *engine) inside(t *testing.T, service string, args ...string) string {
	t.Helper()
	return run(t, ".", e.podman, append([]string{"exec", e.container(service)}, args...)...)
}

// wait waits until a replica says that it is ready.
func (e *engine) wait(t *testing.T, service string) {
	t.Helper()
	var out []byte
	var err error
	for range 120 {
		out, err = exec.Command(e.podman, "exec", e.container(service), "/usr/bin/atmctl",
			"ready").CombinedOutput()
		if err == nil {
			return
		}
		time.Sleep(500 * time.Millisecond)
	}
	logs, _ := exec.Command(e.podman, "logs", "--tail", "20", e.container(service)).CombinedOutput()
	t.Fatalf("%s: %v: %s\n%s", service, err, out, logs)
}

// up starts what deploy/compose.yaml has, but for Grafana, on images of this machine's programs,
// and returns the address of the balancer. The Compose of Debian 12 knows neither conditions nor
// subnets, so this waits for the first replica, and makes the network.
func (e *engine) up(t *testing.T) (server string) {
	t.Helper()
	run(t, ".", "test/standins.sh", e.podman, "import")
	port, errPort := needs.Port()
	watch, errWatch := needs.Port()
	if err := errors.Join(errPort, errWatch); err != nil {
		t.Fatal(err)
	}
	e.env = append(os.Environ(), "ATM_VERSION="+version, "ATM_PORT="+port,
		"ATM_PROMETHEUS_PORT="+watch, "ATM_FRONT=172.30.91.0/24",
		"ATM_POSTGRES=localhost/postgres:standin", "ATM_HAPROXY=localhost/haproxy:standin",
		"ATM_PROMETHEUS=localhost/prometheus:standin")
	t.Cleanup(func() {
		if t.Failed() {
			for _, service := range []string{"db", "atm1", "atm2", "atm3", "balancer"} {
				logs, _ := exec.Command(e.podman, "logs", "--tail", "30",
					e.container(service)).CombinedOutput()
				t.Logf("%s: %s", service, logs)
			}
		}
		run(t, ".", e.podman, "rm", "--all", "--force", "--time", "1")
		run(t, ".", e.podman, "volume", "prune", "--force")
		for _, name := range []string{"front", "books", "watch"} {
			run(t, ".", e.podman, "network", "rm", "--force", e.project+"_"+name)
		}
	})
	run(t, ".", e.podman, "network", "create", "--subnet", "172.30.91.0/24", e.project+"_front")
	e.compose(t, "up", "-d", "atm1")
	e.wait(t, "atm1")
	e.compose(t, "up", "-d", "--no-deps", "atm2", "atm3", "authority", "balancer", "prometheus")
	e.wait(t, "atm2")
	e.wait(t, "atm3")
	return "https://localhost:" + port
}

// customer is a client with the credentials of the demo, which sends each call once.
func (e *engine) customer(t *testing.T, server, folder string) *client.Client {
	t.Helper()
	settings, err := client.InFolder(folder).TLS()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{Server: server, TLS: settings, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestRollingRestartOfTheComposeFileLosesNothing runs deploy/compose.yaml with the image, and
// restarts each replica twice under deposits that nobody tries again. No call fails, the account
// has what was paid in, and the log of each replica verifies.
func TestRollingRestartOfTheComposeFileLosesNothing(t *testing.T) {
	const clients, restarts, between = 4, 6, 100 // calls between two restarts
	e := startEngine(t, filepath.Join(buildImage(t, ""),
		fmt.Sprintf("atm-%s-image-%s.tar", version, runtime.GOARCH)))
	server := e.up(t)
	folder := t.TempDir()
	run(t, ".", e.podman, "cp", e.container("atm1")+":/data/atm-data/clients/demo/.", folder)

	var calls, failed atomic.Int64
	var done atomic.Bool
	var wg sync.WaitGroup
	probe := e.customer(t, server, folder)
	reached := false
	for range 60 { // HAProxy starts when it has the authority
		if _, err := probe.Inquiry(t.Context(), 100); err == nil {
			reached = true
			break
		}
		time.Sleep(500 * time.Millisecond)
	}
	if !reached {
		t.Fatal("nobody gets through")
	}
	for range clients {
		c := e.customer(t, server, folder)
		wg.Go(func() {
			for !done.Load() {
				answer, err := c.Deposit(t.Context(), 100, 1,
					atm.RequestID(atm.NewUUID(time.Now())))
				if calls.Add(1); err != nil || !answer.OK() {
					failed.Add(1)
					t.Errorf("%+v, %v", answer, err)
				}
			}
		})
	}
	for n := range restarts {
		for enough := calls.Load() + between; calls.Load() < enough && failed.Load() == 0; {
			time.Sleep(10 * time.Millisecond)
		}
		service := fmt.Sprintf("atm%d", n%3+1)
		e.compose(t, "stop", "-t", "30", service)
		e.compose(t, "start", service)
		e.wait(t, service)
		time.Sleep(3 * time.Second) // HAProxy looks up its address, and checks it twice
	}
	done.Store(true)
	wg.Wait()
	t.Logf("%d restarts, %d calls, %d failed", restarts, calls.Load(), failed.Load())

	answer, err := probe.Inquiry(t.Context(), 100)
	if want := openingBalance + atm.Amount(calls.Load()-failed.Load()); err != nil ||
		answer.Text() != want.String() {
		t.Errorf("the account has %+v, %v, want %v", answer, err, want)
	}
	for _, service := range []string{"atm1", "atm2", "atm3"} {
		for _, check := range []string{"verify", "reconcile"} {
			if service == "atm1" || check == "verify" {
				t.Log(strings.TrimSpace(e.inside(t, service, "/usr/bin/atmctl", "audit", check)))
			}
		}
	}
}
