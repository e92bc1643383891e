//go:build unix

package bench_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm/internal/needs"
	"example.com/atm/vault/pgstore/pgtest"
)

// An environment has everything that is measured, each in a process of its own.
type environment struct {
	dir, bin     string
	under        []string   // what runs the programs that write to a disk; empty for nothing
	loader       []string   // what runs the load; empty for nothing
	small, large *ourServer // with a hundred accounts, and with many
	bare, python *target
	cluster      *pgtest.Cluster
	database     string
}

// firstAccount is the number of the first account on every server.
const (
	firstAccount  = 100
	smallAccounts = 100
)

func newEnvironment(b testing.TB) *environment {
	b.Helper()
	return newEnvironmentUnder(b)
}

// newEnvironmentUnder has another program run those that write to a disk.
func newEnvironmentUnder(b testing.TB, under ...string) *environment {
	b.Helper()
	env := &environment{dir: b.TempDir(), under: under}
	env.bin = filepath.Join(env.dir, "bin")
	command(b, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", env.bin+"/", "./load", "./bare",
		"./group", "./receiver", "../cmd/atmserver", "../cmd/atmctl")
	env.small = env.newServer(b, "small", smallAccounts)
	return env
}

// furnish starts the servers with which ours is compared.
func (env *environment) furnish(b testing.TB) {
	b.Helper()
	env.large = env.newServer(b, "large", *many)
	answer := filepath.Join(env.dir, "answer.xml")
	if err := os.WriteFile(answer, []byte(canned), 0o600); err != nil {
		b.Fatal(err)
	}
	env.bare = &target{env: env, address: freeAddress(b), of: env.small}
	data := env.small.data
	background(b, env.program("bare"), "-listen", env.bare.address, "-cert", data+"/tls/server.crt",
		"-key", data+"/tls/server.key", "-ca", data+"/ca/ca.crt", "-answer", answer)
	env.python = &target{env: env, address: freeAddress(b)}
	_, port, _ := net.SplitHostPort(env.python.address)
	background(b, "python3", "seed/server.py", port)
	env.startPostgres(b)
}

// startPostgres starts the server of pgbench, in the folder for temporary files.
func (env *environment) startPostgres(b testing.TB) {
	b.Helper()
	env.cluster = pgtest.StartUnder(b, env.under, "fsync = on", "synchronous_commit = on",
		"shared_buffers = 256MB", "max_wal_size = 4GB", "max_connections = 300")
	env.database = env.cluster.Database(b)
	env.cluster.SQL(b, filepath.Base(strings.Split(env.database, "?")[0]), yardstick)
}

// canned is the answer of the server to a deposit.
const canned = `<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>status</name><value><string>OK</string></value></member>` +
	`<member><name>reason</name><value><string></string></value></member><member><name>result</name><value><string>1609.00</string></value></member>` +
	`<member><name>code</name><value><string>OK</string></value></member><member><name>receipt</name><value><string>4711 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=</string></value></member>` +
	`</struct></value></param></params></methodResponse>`

func (env *environment) program(name string) string { return filepath.Join(env.bin, name) }

// A target is a server that the load is sent to.
type target struct {
	env     *environment
	address string
	of      *ourServer // whose credentials are used; nil for plain HTTP without credentials
}

// load sends the load and returns the measurements.
func (t *target) load(b testing.TB, args ...string) result {
	b.Helper()
	all := []string{
		"-server", t.address, "-for", seconds.String(), "-first",
		fmt.Sprint(firstAccount),
	}
	if !slices.Contains(args, "-accounts") {
		all = append(all, "-accounts", fmt.Sprint(smallAccounts))
	}
	if t.of == nil {
		all = append(all, "-plain")
	}
	signIn := "certificate"
	if i := slices.Index(args, "-sign-in"); i >= 0 {
		signIn = args[i+1]
		args = slices.Delete(slices.Clone(args), i, i+2)
	}
	if t.of != nil {
		all = append(all, t.of.credentials(signIn)...)
	}
	program := slices.Concat(t.env.loader, []string{t.env.program("load")}, all, args)
	var r result
	if err := json.Unmarshal([]byte(command(b, program[0], program[1:]...)), &r); err != nil {
		b.Fatal(err)
	}
	return r
}

// An ourServer is a server of ours on a data folder of its own.
type ourServer struct {
	target
	dir, data, admin string
	flags            []string // beside those of every server
	accounts         uint64
	server           *exec.Cmd
}

func (env *environment) newServer(b testing.TB, name string, accounts uint64) *ourServer {
	b.Helper()
	s := &ourServer{
		target: target{env: env, address: freeAddress(b)}, dir: filepath.Join(env.dir, name),
		admin: freeAddress(b), accounts: accounts,
	}
	s.of, s.data = s, filepath.Join(s.dir, "atm-data")
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		b.Fatal(err)
	}
	s.start(b)
	s.ctl(b, "user", "add", "bench", "--role", "teller", "--secret-out", "secret")
	s.ctl(b, "cert", "issue", "user:bench", "--out", "teller")
	s.ctl(b, "token", "issue", "--for", "user:bench", "--ttl", "1h", "--out", "token")
	operator := filepath.Join(s.data, "clients", "operator")
	const each = 100 // accounts in a call
	command(b, env.program("load"), "-server", s.address, "-op", "open", "-ca", operator+"/ca.crt",
		"-cert", operator+"/client.crt", "-key", operator+"/client.key",
		"-clients", "4", "-first", fmt.Sprint(firstAccount+1), "-accounts", fmt.Sprint(accounts-1),
		"-calls", fmt.Sprint((accounts+each-1)/each), "-any")
	return s
}

// credentials are the flags by which the load signs in.
func (s *ourServer) credentials(signIn string) []string {
	flags := []string{"-ca", s.dir + "/teller/ca.crt"}
	switch signIn {
	case "digest":
		return append(flags, "-user", "bench", "-secret-file", s.dir+"/secret")
	case "token":
		return append(flags, "-token-file", s.dir+"/token")
	}
	return append(flags, "-cert", s.dir+"/teller/client.crt", "-key", s.dir+"/teller/client.key")
}

func (s *ourServer) load(b testing.TB, args ...string) result {
	b.Helper()
	if !slices.Contains(args, "-accounts") {
		args = append([]string{"-accounts", fmt.Sprint(s.accounts)}, args...)
	}
	entries, _ := s.log(b)
	spent := processor(b, s.server)
	r := s.target.load(b, args...)
	after, _ := s.log(b)
	r.Server = float64((processor(b, s.server) - spent).Microseconds()) / (after - entries)
	return r
}

// start starts the server and returns how long it took until it was ready.
func (s *ourServer) start(b testing.TB) time.Duration {
	b.Helper()
	program := append(slices.Clone(s.env.under), s.env.program("atmserver"), "--data", s.data,
		"--listen", s.address, "--admin-listen", s.admin)
	program = append(program, s.flags...)
	s.server = exec.Command(program[0], program[1:]...)
	begun := time.Now()
	if err := s.server.Start(); err != nil {
		b.Fatal(err)
	}
	server := s.server
	b.Cleanup(func() { server.Process.Kill(); server.Wait() })
	for time.Since(begun) < time.Minute {
		if resp, err := http.Get("http://" + s.admin + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begun)
			}
		}
		time.Sleep(time.Millisecond)
	}
	b.Fatal("the server is not ready after a minute")
	return 0
}

func (s *ourServer) stop(b testing.TB) {
	b.Helper()
	if err := s.server.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := s.server.Wait(); err != nil {
		b.Fatal(err)
	}
}

// settle waits until the server has published its commits, so that they do not slow down the
// next case.
func (s *ourServer) settle(b testing.TB) {
	b.Helper()
	for range 300 {
		if entries, published := s.log(b); entries == published {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.Fatal("the audit log is not published half a minute after the load")
}

// log returns how many entries the server has committed, and how many of them are published.
func (s *ourServer) log(b testing.TB) (entries, published float64) {
	b.Helper()
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.Fatal(err)
	}
	for metric, to := range map[string]*float64{
		"atm_audit_entries":           &entries,
		"atm_audit_published_entries": &published,
	} {
		_, line, _ := strings.Cut(string(text), "\n"+metric+" ")
		line, _, _ = strings.Cut(line, "\n")
		if *to, err = strconv.ParseFloat(line, 64); err != nil {
			b.Fatalf("%s: %v", metric, err)
		}
	}
	return entries, published
}

// late is the longest time between commit and publication of an entry under a load, in
// milliseconds.
func (s *ourServer) late(b testing.TB, args ...string) float64 {
	b.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.load(b, append(args, "-for", "10s")...)
	}()
	type moment struct {
		at      time.Time
		entries float64
	}
	var open []moment // with unpublished entries, the oldest first
	var most time.Duration
	for {
		select {
		case <-done:
			return float64(most.Microseconds()) / 1e3
		case <-time.After(20 * time.Millisecond):
		}
		now := time.Now()
		entries, published := s.log(b)
		open = append(open, moment{now, entries})
		for len(open) > 0 && open[0].entries <= published {
			open = open[1:]
		}
		if len(open) > 0 {
			most = max(most, now.Sub(open[0].at))
		}
	}
}

// resident is the memory of the server, in MB.
func (s *ourServer) resident(b testing.TB) float64 { return s.memory(b, "VmRSS:") }

// memory is a part of the memory of the server, as proc(5) names it, in MB.
func (s *ourServer) memory(b testing.TB, part string) float64 {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", s.server.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); fields[0] == part {
			kib, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1000
		}
	}
	b.Fatal("no " + part)
	return 0
}

// growth is how many bytes of disk an operation takes.
func (env *environment) growth(b testing.TB) map[string]float64 {
	const deposits = 100_000
	vault, log := filepath.Join(env.small.data, "vault.db"), filepath.Join(env.small.data, "audit")
	env.small.stop(b)
	vaultBefore, logBefore := size(b, vault), size(b, log)
	env.small.start(b)
	env.small.load(b, "-calls", fmt.Sprint(deposits))
	env.small.stop(b)
	figures := map[string]float64{
		"vault-B/op": float64(size(b, vault)-vaultBefore) / deposits,
		"log-B/op":   float64(size(b, log)-logBefore) / deposits,
	}
	env.small.start(b)
	return figures
}

// size is the number of bytes in a file, or in all files of a folder.
func size(b testing.TB, root string) (sum int64) {
	b.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}

// ends measures what needs a server that has just started.
func (env *environment) ends(b testing.TB, figures map[string]float64) {
	figures["loaded-MB"] = env.small.resident(b)
	figures["late-deposit-ms"] = env.small.late(b)
	figures["late-multicall-ms"] = env.small.late(b, "-op", "multicall")
	for name, s := range map[string]*ourServer{"small": env.small, "large": env.large} {
		var took []float64
		for range 5 {
			s.stop(b)
			took = append(took, float64(s.start(b).Microseconds())/1e3)
		}
		slices.Sort(took)
		figures["start-"+name+"-ms"] = took[len(took)/2]
		time.Sleep(3 * time.Second)
		figures["idle-"+name+"-MB"] = s.resident(b)
	}
	info, err := os.Stat(env.program("atmserver"))
	if err != nil {
		b.Fatal(err)
	}
	figures["binary-MB"] = float64(info.Size()) / 1e6
}

// group commits the same records to bbolt without a network.
func (env *environment) group(b testing.TB, clients int) (r result) {
	b.Helper()
	program := append(slices.Clone(env.under), env.program("group"), "-dir", env.dir, "-clients",
		fmt.Sprint(clients), "-for", seconds.String())
	out := command(b, program[0], program[1:]...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		b.Fatal(err)
	}
	return r
}

// yardstick is a deposit as a function of the database: balance, journal entry and request id
// in one commit. It has no callers, no second posting, and no tree over its journal.
const yardstick = `
CREATE TABLE accounts (number bigint PRIMARY KEY, balance bigint NOT NULL, version bigint NOT NULL);
CREATE TABLE journal (index bigint PRIMARY KEY, leaf bytea NOT NULL);
CREATE TABLE requests (id uuid PRIMARY KEY, index bigint NOT NULL);
CREATE SEQUENCE place;
CREATE FUNCTION deposit(a bigint, cents bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	i bigint := nextval('place');
	v bigint;
	after bigint;
BEGIN
	UPDATE accounts SET balance = balance + cents, version = version + 1 WHERE number = a RETURNING version, balance INTO v, after;
	IF after IS NULL THEN RAISE EXCEPTION 'Account % was not found', a; END IF;
	INSERT INTO journal (index, leaf) VALUES (i, convert_to(format('{"args":{"account":"%s","amount":"0.01"},"code":"OK","cred":{"method":"mtls","serial":"5f7c0a8e33d1c9b2","sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"ev":"op","id":"%s","op":"deposit","reason":"","request":"%s","result":"%s","src":{"ip":"127.0.0.1"},"state":[{"account":"cash:user:bench","after":"-1000.00","before":"-999.99","version":%s},{"account":"%s","after":"1000.02","before":"1000.01","version":%s}],"status":"OK","t":"%s","v":1,"who":{"roles":["teller"],"subject":"user:bench"}}',
		a, gen_random_uuid(), encode(sha256(i::text::bytea), 'hex'), after, i, a, v, clock_timestamp()), 'UTF8'));
	INSERT INTO requests (id, index) VALUES (gen_random_uuid(), i);
	RETURN after;
END $$;
INSERT INTO accounts SELECT i, 100000, 1 FROM generate_series(100, 199) i;
GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO PUBLIC;
GRANT ALL ON SCHEMA public TO PUBLIC;`

// anyAccount is one of a hundred, for pgbench.
const anyAccount = "random(100, 199)"

func (env *environment) pgbench(b testing.TB, clients int, account string) result {
	b.Helper()
	rate := pgtest.Bench(b, env.database, "\\set a "+account+"\nSELECT deposit(:a, 1);\n",
		clients, *seconds)
	return result{Op: "pgbench", Clients: clients, Rate: rate}
}

// command runs a program and returns its output.
func command(b testing.TB, program string, args ...string) string {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
	}
	return string(out)
}

// background runs a program until the end of the benchmark, and returns when it is ready.
func background(b testing.TB, program string, args ...string) *exec.Cmd {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if lines := bufio.NewScanner(out); !lines.Scan() {
		b.Fatalf("%s did not begin", filepath.Base(program))
	}
	return cmd
}

func freeAddress(b testing.TB) string {
	b.Helper()
	port, err := needs.Port()
	if err != nil {
		b.Fatal(err)
	}
	return "localhost:" + port
}
