//go:build unix

// Package pgtest runs PostgreSQL for tests: clusters of their own, on loopback,
// in temporary folders, and gone with the test.
package pgtest

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"example.com/atm/internal/needs"
)

// A Cluster is a server of PostgreSQL. Everybody on this machine may sign in to
// it as anybody; "atm" owns the databases of the tests.
type Cluster struct {
	Port int

	dir       string
	under     []string // the program that runs the server, and its arguments
	server    *exec.Cmd
	ended     chan struct{} // closed when server has ended
	tidied    bool          // it is stopped at the end of the test
	databases atomic.Int64

	copying sync.Mutex      // held while a database is copied, which nothing may use meanwhile
	filled  map[string]bool // guarded by copying: what Copy copies
}

// shared is the cluster of Shared; its cleanups run at the end of Main.
var shared struct {
	once    sync.Once
	cluster *Cluster
	outliving
}

// outliving is a testing.TB whose cleanups run when all tests are over.
type outliving struct {
	testing.TB
	cleanups []func()
}

func (o *outliving) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

// Shared returns the cluster that the tests of a package share: each has databases of its own
// there, and leaves the server and its settings alone. The package's TestMain calls Main.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	needs.Program(t, "initdb")
	shared.once.Do(func() {
		shared.TB = t
		shared.cluster = Start(&shared)
	})
	if shared.cluster == nil {
		t.Fatal("PostgreSQL did not start for another test")
	}
	return shared.cluster
}

// atOnce is how many parallel tests run at a time, whatever the number of processors: they wait
// for databases, ticks and timeouts more than they compute.
const atOnce = "6"

// Main runs the tests of a package and ends the cluster of Shared.
func Main(m *testing.M) (code int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", atOnce)
	}
	code = m.Run()
	for _, f := range slices.Backward(shared.cleanups) {
		f()
	}
	return code
}

// Start starts a new cluster. Settings are lines of postgresql.conf. By default
// nothing is forced to the disk: what a process loses when it is killed does
// not depend on it, and tests take less time.
func Start(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return StartUnder(t, nil, settings...)
}

// StartUnder starts a new cluster, whose server another program runs: strace, for example.
func StartUnder(t testing.TB, under []string, settings ...string) *Cluster {
	t.Helper()
	needs.Program(t, "initdb")
	c := newCluster(t)
	c.under = under
	c.run(t, "initdb", "-D", c.dir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale", "C",
		"--no-sync")
	c.configure(t, append([]string{"fsync = off"}, settings...))
	c.Start(t)
	c.SQL(t, "postgres", "CREATE ROLE atm LOGIN")
	return c
}

// Standby starts a cluster that follows c by streaming replication. When its
// name is among those that c waits for, a commit of c is on both.
func (c *Cluster) Standby(t testing.TB, name string) *Cluster {
	t.Helper()
	s := newCluster(t)
	s.run(t, "pg_basebackup", "-D", s.dir, "-h", "127.0.0.1", "-p", strconv.Itoa(c.Port), "-U",
		"postgres", "-R", "--checkpoint=fast", "--no-sync")
	s.configure(t, []string{fmt.Sprintf("primary_conninfo = 'host=127.0.0.1 port=%d "+
		"user=postgres application_name=%s'", c.Port, name)})
	s.Start(t)
	return s
}

// Promote makes a standby a server that is written to.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.SQL(t, "postgres", "SELECT pg_promote()")
}

func newCluster(t testing.TB) *Cluster {
	t.Helper()
	return &Cluster{Port: freePort(t), dir: filepath.Join(Dir(t), "data")}
}

// Dir makes a temporary folder that belongs to the user that runs PostgreSQL.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "atm-postgres-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if who := account(t); who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// account is the user that runs PostgreSQL, which refuses root; nil for the user that runs
// the test.
func account(t testing.TB) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		needs.Skip(t, "PostgreSQL does not run as root, and there is no user postgres")
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// debian is where Debian has the programs of each version. Those of the same names in PATH are
// scripts that look for a version first, which takes longer than most of what the tests ask.
const debian = "/usr/lib/postgresql/*/bin"

// Program returns the path of a program of PostgreSQL, of the newest version.
func Program(name string) string {
	if found, _ := filepath.Glob(filepath.Join(debian, name)); len(found) > 0 {
		return found[len(found)-1]
	}
	if path, ok := needs.Find(name); ok {
		return path
	}
	return name
}

func (c *Cluster) command(t testing.TB, program string, args ...string) *exec.Cmd {
	return Command(t, filepath.Dir(c.dir), program, args...)
}

// Command is a program as the user that runs PostgreSQL runs it in a folder.
func Command(t testing.TB, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(Program(program), args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account(t)}
	return cmd
}

func (c *Cluster) run(t testing.TB, program string, args ...string) string {
	t.Helper()
	out, err := c.command(t, program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (c *Cluster) configure(t testing.TB, settings []string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(c.dir, "postgresql.auto.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	settings = append([]string{
		"listen_addresses = '127.0.0.1'", "unix_socket_directories = ''",
		"max_connections = 200", "port = " + strconv.Itoa(c.Port),
	}, settings...)
	_, err = f.WriteString("\n" + strings.Join(settings, "\n") + "\n")
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// Start starts the server again, after it has ended.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	var log bytes.Buffer
	all := append(slices.Clone(c.under), Program("postgres"), "-D", c.dir)
	c.server = c.command(t, all[0], all[1:]...)
	c.server.Stdout, c.server.Stderr = &log, &log
	if err := c.server.Start(); err != nil {
		t.Fatal(err)
	}
	ended, server := make(chan struct{}), c.server
	c.ended = ended
	go func() { server.Wait(); close(ended) }()
	if !c.tidied { // once: what uses the cluster is cleaned up before it
		c.tidied = true
		t.Cleanup(func() { c.server.Process.Signal(syscall.SIGQUIT); <-c.ended })
	}
	for range 600 {
		if c.command(t, "pg_isready", "-q", "-h", "127.0.0.1", "-p",
			strconv.Itoa(c.Port)).Run() == nil {
			return
		}
		select {
		case <-ended:
			t.Fatalf("PostgreSQL ended\n%s", log.String())
		case <-time.After(50 * time.Millisecond):
		}
	}
	t.Fatal("PostgreSQL does not start")
}

// Stop stops the server, in a moment when nobody is signed in any more.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if err := c.server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-c.ended
}

// Kill ends all processes of the server at once, as a machine that dies does.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	parent := c.server.Process.Pid
	if err := syscall.Kill(parent, syscall.SIGSTOP); err != nil { // so that it starts no others
		t.Fatal(err)
	}
	for _, pid := range append(children(parent), parent) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	<-c.ended
}

func children(parent int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		// PID (COMMAND) STATE PARENT …
		_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Pause stops all processes of the server until Resume, as a machine that hangs
// does.
func (c *Cluster) Pause() { c.signal(syscall.SIGSTOP) }

// Resume ends Pause.
func (c *Cluster) Resume() { c.signal(syscall.SIGCONT) }

func (c *Cluster) signal(s syscall.Signal) {
	for _, pid := range append([]int{c.server.Process.Pid}, children(c.server.Process.Pid)...) {
		syscall.Kill(pid, s)
	}
}

// Database makes a database that belongs to the user atm, and returns its URL.
func (c *Cluster) Database(t testing.TB) string {
	t.Helper()
	name := "atm" + strconv.FormatInt(c.databases.Add(1), 10)
	c.SQL(t, "postgres", "CREATE DATABASE "+name+" OWNER atm")
	return c.URL("atm", name)
}

// Copy makes a database that has what fill wrote into the first one of this name. A copy takes
// a fraction of the time of migrations.
func (c *Cluster) Copy(t testing.TB, name string, fill func(url string)) string {
	t.Helper()
	c.copying.Lock()
	defer c.copying.Unlock()
	if !c.filled[name] {
		c.SQL(t, "postgres", "CREATE DATABASE "+name+" OWNER atm")
		fill(c.URL("atm", name))
		if c.filled == nil {
			c.filled = make(map[string]bool)
		}
		c.filled[name] = true
	}
	copied := "atm" + strconv.FormatInt(c.databases.Add(1), 10)
	c.SQL(t, "postgres", "CREATE DATABASE "+copied+" OWNER atm TEMPLATE "+name)
	return c.URL("atm", copied)
}

// URL is how a user finds a database.
func (c *Cluster) URL(user, database string) string {
	return fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", user, c.Port, database)
}

// SQL carries statements out as the superuser, and returns what they print.
func (c *Cluster) SQL(t testing.TB, database, statements string) string {
	t.Helper()
	return c.run(t, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1",
		"-p", strconv.Itoa(c.Port), "-U", "postgres", "-d", database, "-c", statements)
}

// As carries statements out as somebody, and returns what they were refused with.
func (c *Cluster) As(user, database, statements string) error {
	out, err := exec.Command(Program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
		c.URL(user, database), "-c", statements).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// Pool starts pgbouncer before the cluster, which hands every transaction to
// another connection, and returns a function that gives the URL of a database
// behind it.
func (c *Cluster) Pool(t testing.TB) func(url string) string {
	t.Helper()
	port := freePort(t)
	file := filepath.Join(filepath.Dir(c.dir), "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
max_client_conn = 500
server_round_robin = 1
`, c.Port, port)
	// auth_type any needs to be told
	text = strings.Replace(text, "* = host=127.0.0.1", "* = host=127.0.0.1 user=atm", 1)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	pool := c.command(t, "/usr/sbin/pgbouncer", file)
	pool.Stdout, pool.Stderr = &log, &log
	if err := pool.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Process.Kill(); pool.Wait() })
	for range 1500 {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			conn.Close()
			return func(url string) string {
				return strings.Replace(url, ":"+strconv.Itoa(c.Port)+"/",
					":"+strconv.Itoa(port)+"/", 1)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("pgbouncer does not start\n%s", log.String())
	return nil
}

// KillAll ends all processes at once that were started in a folder, or work in
// one below it.
func KillAll(dir string) {
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	var pids []int
	for _, link := range links {
		at, err := os.Readlink(link)
		pid, notNumber := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err == nil && notNumber == nil && (at == dir || strings.HasPrefix(at, dir+"/")) {
			pids = append(pids, pid)
		}
	}
	// the first so that none starts others
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGKILL} {
		for _, pid := range pids {
			syscall.Kill(pid, s)
		}
	}
}
