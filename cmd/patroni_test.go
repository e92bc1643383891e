//go:build unix

package cmd_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm/internal/needs"
	"example.com/atm/vault/pgstore/pgtest"
)

// A node is one machine of a database cluster under Patroni.
type node struct {
	name, port, api string
	cmd             *exec.Cmd
	log             bytes.Buffer
}

// TestPatroniFailoverKeepsWhatWasAnswered kills the primary of three nodes under Patroni,
// configured as in deploy/patroni/patroni.yml, while clients deposit on two replicas. It runs
// in make soak: it takes a minute, and needs etcd and Patroni.
func TestPatroniFailoverKeepsWhatWasAnswered(t *testing.T) {
	if os.Getenv("ATM_SOAK") == "" {
		t.Skip("only with ATM_SOAK")
	}
	etcd := startEtcd(t)
	config, err := os.ReadFile("../deploy/patroni/patroni.yml")
	if err != nil {
		t.Fatal(err)
	}
	var nodes []*node
	for i := range 3 {
		nodes = append(nodes, startNode(t, i, etcd, config))
	}
	leader := func() *node { return isLeader(t, nodes, "/primary", 1) }
	isLeader(t, nodes, "/sync", 1) // a standby that has every acknowledged entry
	first := leader()
	for _, sql := range []string{
		"CREATE ROLE atm LOGIN PASSWORD 'secret'",
		"CREATE DATABASE atm OWNER atm",
	} {
		if out, err := first.psql("postgres", sql); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for _, n := range nodes { // a standby has it a moment later
		until(t, func() bool { _, err := n.psql("atm", "SELECT 1"); return err == nil })
	}
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var hosts []string
	for _, n := range nodes {
		hosts = append(hosts, "127.0.0.1:"+n.port)
	}
	all := startReplicas(t, 2, "postgres://atm@"+strings.Join(hosts, ",")+
		"/atm?sslmode=disable&target_session_attrs=read-write", "ATM_STORE_PASSWORD_FILE="+password)
	c := crashReplicas(all)
	const rounds = 3
	for round := range rounds {
		var begun time.Time
		dead := leader()
		c.round(t, round, func() {
			begun = time.Now()
			dead.kill(t)
		}, func() {
			var rest []*node
			for _, n := range nodes {
				if n != dead {
					rest = append(rest, n)
				}
			}
			isLeader(t, rest, "/primary", 1)
			for _, s := range all {
				s.backAgain(t)
			}
		})
		t.Logf("round %d: %d acknowledged, %d in doubt; away for %v", round+1, c.acknowledged,
			c.doubtful, time.Since(begun).Round(time.Millisecond))
		dead.start(t)
		isLeader(t, nodes, "/replica", 2)
		isLeader(t, nodes, "/sync", 1)
	}
	for _, s := range []*server{all[1], all[0]} {
		s.stop(t)
		s.verify(t)
	}
	all[0].fsck(t)
}

func (n *node) psql(database, sql string) ([]byte, error) {
	cmd := exec.Command(pgtest.Program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h",
		"127.0.0.1", "-p", n.port, "-U", "postgres", "-d", database, "-c", sql)
	cmd.Env = append(os.Environ(), "PGPASSWORD=secret")
	return cmd.CombinedOutput()
}

// until waits for an event that happens soon.
func until(t testing.TB, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !happened(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never happened")
		}
	}
}

func startEtcd(t testing.TB) string {
	t.Helper()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	peer, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	dir := pgtest.Dir(t)
	url := "http://127.0.0.1:" + port
	cmd := pgtest.Command(t, dir, "/usr/bin/etcd", "--data-dir", filepath.Join(dir, "etcd"),
		"--listen-client-urls", url, "--advertise-client-urls", url,
		"--listen-peer-urls", "http://127.0.0.1:"+peer, "--initial-advertise-peer-urls",
		"http://127.0.0.1:"+peer, "--initial-cluster", "default=http://127.0.0.1:"+peer)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return "127.0.0.1:" + port
}

func startNode(t testing.TB, i int, etcd string, config []byte) *node {
	t.Helper()
	n := &node{name: "db" + strconv.Itoa(i+1)}
	var err error
	if n.port, err = needs.Port(); err != nil {
		t.Fatal(err)
	}
	if n.api, err = needs.Port(); err != nil {
		t.Fatal(err)
	}
	dir := pgtest.Dir(t)
	file := filepath.Join(dir, "patroni.yml")
	if err := os.WriteFile(file, config, 0o644); err != nil {
		t.Fatal(err)
	}
	n.cmd = pgtest.Command(t, dir, "/usr/bin/patroni", file)
	n.cmd.Env = append(os.Environ(),
		"PATRONI_NAME="+n.name, "PATRONI_ETCD3_HOSTS="+etcd,
		"PATRONI_RESTAPI_LISTEN=127.0.0.1:"+n.api,
		"PATRONI_RESTAPI_CONNECT_ADDRESS=127.0.0.1:"+n.api,
		"PATRONI_POSTGRESQL_LISTEN=127.0.0.1:"+n.port,
		"PATRONI_POSTGRESQL_CONNECT_ADDRESS=127.0.0.1:"+n.port,
		"PATRONI_POSTGRESQL_DATA_DIR="+filepath.Join(dir, "data"), "PATRONI_POSTGRESQL_BIN_DIR="+
			filepath.Dir(pgtest.Program("postgres")),
		"PATRONI_POSTGRESQL_PGPASS="+filepath.Join(dir, "pgpass"),
		"PATRONI_SUPERUSER_PASSWORD=secret", "PATRONI_REPLICATION_PASSWORD=secret")
	n.start(t)
	t.Cleanup(func() {
		n.kill(t)
		if t.Failed() {
			text := n.log.String()
			t.Logf("%s\n%s", n.name, text[max(0, len(text)-4000):])
		}
	})
	return n
}

// start starts a node again.
func (n *node) start(t testing.TB) {
	t.Helper()
	again := *n.cmd
	n.cmd = &exec.Cmd{
		Path: again.Path, Args: again.Args, Dir: again.Dir, Env: again.Env,
		SysProcAttr: again.SysProcAttr, Stdout: &n.log, Stderr: &n.log,
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill kills all processes of a node at once.
func (n *node) kill(t testing.TB) {
	t.Helper()
	syscall.Kill(n.cmd.Process.Pid, syscall.SIGSTOP)
	pgtest.KillAll(n.cmd.Dir)
	n.cmd.Wait()
}

// isLeader waits until n nodes answer 200 at a path of Patroni, and returns one of them.
func isLeader(t testing.TB, nodes []*node, path string, many int) *node {
	t.Helper()
	var last string
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(
		200 * time.Millisecond) {
		var found []*node
		last = ""
		for _, n := range nodes {
			resp, err := http.Get("http://127.0.0.1:" + n.api + path)
			if err != nil {
				last += err.Error() + "\n"
				continue
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			last += fmt.Sprintf("%s: %s\n", n.name, text)
			if resp.StatusCode == http.StatusOK {
				found = append(found, n)
			}
		}
		if len(found) >= many {
			return found[0]
		}
	}
	t.Fatalf("no %d nodes at %s\n%s", many, path, last)
	return nil
}
