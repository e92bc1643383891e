//go:build unix

package cmd_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
)

// benchAccounts is the number of accounts between which money moves.
const benchAccounts = 5000

// yardstick does the database's part of a transfer, without the head of the journal and its
// tree, and commits. It is called with one commit each, by as many clients, without TLS.
const yardstick = `
CREATE SEQUENCE place;
CREATE FUNCTION transfer(a text, b text, cents bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	first text := least(a, b);
	other text := greatest(a, b);
	i bigint := nextval('place');
	v1 bigint;
	v2 bigint;
	left_over bigint;
BEGIN
	UPDATE accounts SET balance = balance + CASE WHEN first = a THEN -cents ELSE cents END, version = version + 1 WHERE name = first RETURNING version INTO v1;
	UPDATE accounts SET balance = balance + CASE WHEN other = a THEN -cents ELSE cents END, version = version + 1 WHERE name = other RETURNING version INTO v2;
	SELECT balance INTO left_over FROM accounts WHERE name = a;
	INSERT INTO journal (index, leaf) VALUES (i, convert_to(format('{"args":{"amount":"0.01","from":"%s","to":"%s"},"code":"OK","cred":{"method":"mtls","serial":"5f7c0a8e33d1c9b2","sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"ev":"op","id":"%s","op":"transfer","reason":"","request":"%s","result":"%s","src":{"ip":"127.0.0.1"},"state":[{"account":"%s","after":"1000.00","before":"1000.01","version":%s},{"account":"%s","after":"1000.02","before":"1000.01","version":%s}],"status":"OK","t":"%s","v":1,"who":{"roles":["customer"],"subject":"user:demo"}}',
		a, b, gen_random_uuid(), encode(sha256(i::text::bytea), 'hex'), left_over, first, v1, other, v2, clock_timestamp()), 'UTF8'));
	INSERT INTO versions (account, version, index) VALUES (first, v1, i), (other, v2, i);
	INSERT INTO requests (key, index, day) VALUES (substring(sha256(('r' || i)::bytea) for 16), i, 20000);
	RETURN left_over;
END $$;
INSERT INTO accounts SELECT i::text, i, 'user:demo', 0, 1000000000000, 1, 0, '{}', 0, 0, 0, '', 0, 0, 0 FROM generate_series(1, ACCOUNTS) i;
VACUUM ANALYZE accounts;`

// BenchmarkReplicas moves money between many accounts, and out of one account, on two replicas
// on one database with 64 clients, and compares that with pgbench on another database of the
// same server. A round has a few seconds of each. The results are medians over the rounds.
// Everything shares the cores of this machine.
func BenchmarkReplicas(b *testing.B) {
	const clients = 64
	cluster := pgtest.Start(b, "fsync = on", "shared_buffers = 256MB", "max_wal_size = 4GB")
	theirs, ours := cluster.Database(b), cluster.Database(b)
	s, err := pgstore.Create(b.Context(), pgstore.Config{
		URL:    theirs,
		Secret: []byte("the secret of a benchmark......."),
	}, "bench.example")
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	script := filepath.Join(b.TempDir(), "yardstick.sql")
	if err := os.WriteFile(script, []byte(strings.Replace(yardstick, "ACCOUNTS",
		strconv.Itoa(benchAccounts), 1)), 0o644); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command(pgtest.Program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
		theirs, "-f", script).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	l := newLoader(b, startReplicas(b, 2, ours))
	l.run(b, "operator", "-op", "open", "-owner", "user:demo", "-opening", "1000000.00", "-clients",
		"1", "-calls", strconv.Itoa(benchAccounts/100), "-any")
	transfers := func(args ...string) float64 {
		return l.run(b, "demo", append(args, "-op", "transfer", "-clients", strconv.Itoa(clients),
			"-for", benchFor.String())...)
	}

	cases := []struct {
		name string
		run  func() float64 // operations per second
	}{
		{"pgbench-spread", func() float64 {
			return pgbench(b, theirs, clients, "random(1, 5000)")
		}},
		{"spread", func() float64 { return transfers() }},
		{"pgbench-hot", func() float64 { return pgbench(b, theirs, clients, "1") }},
		{"hot", func() float64 { return transfers("-from", "1") }},
	}
	rates := make([][]float64, len(cases))
	for b.Loop() {
		for i, c := range cases {
			rates[i] = append(rates[i], c.run())
		}
	}
	median := make(map[string]float64)
	for i, c := range cases {
		slices.Sort(rates[i])
		median[c.name] = rates[i][len(rates[i])/2]
		b.ReportMetric(median[c.name], c.name+"/s")
	}
	b.ReportMetric(median["spread"]/median["pgbench-spread"], "spread/pgbench")
	b.ReportMetric(median["hot"]/median["pgbench-hot"], "hot/pgbench")
	b.ReportMetric(median["hot"]/median["spread"], "hot/spread")
	b.ReportMetric(0, "ns/op")
}

const benchFor = 4 * time.Second

// pgbench moves money in the database itself, from an account in pgbench's syntax.
func pgbench(b *testing.B, url string, clients int, from string) float64 {
	b.Helper()
	accounts := strconv.Itoa(benchAccounts)
	return pgtest.Bench(b, url, "\\set a "+from+"\n\\set b random(2, "+
		strconv.Itoa(benchAccounts-1)+")\n"+
		"\\if :a = :b\n\\set b "+accounts+"\n\\endif\nSELECT transfer(:a::text, :b::text, 1);\n",
		clients, benchFor)
}

// A loader sends loads to replicas.
type loader struct {
	program string
	all     []*server
}

func newLoader(b *testing.B, all []*server) *loader {
	b.Helper()
	l := &loader{program: filepath.Join(b.TempDir(), "load"), all: all}
	if out, err := exec.Command("go", "build", "-o", l.program,
		"example.com/atm/bench/load").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return l
}

// run sends a load, signed in with the certificate of a user, and returns the number of
// operations per second that were answered OK.
func (l *loader) run(b *testing.B, user string, args ...string) float64 {
	b.Helper()
	var addresses []string
	for _, s := range l.all {
		addresses = append(addresses, lookUp(s.env, "ATM_LISTEN"))
	}
	folder := filepath.Join(l.all[0].dir, "atm-data", "clients", user)
	cmd := exec.Command(l.program, append([]string{
		"-server", strings.Join(addresses, ","), "-ca", folder + "/ca.crt", "-cert",
		folder + "/client.crt", "-key", folder + "/client.key",
		"-first", "1", "-accounts", strconv.Itoa(benchAccounts),
	}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var result struct{ Rate float64 }
	if err = errors.Join(err, json.Unmarshal(out, &result)); err != nil {
		b.Fatal(err)
	}
	return result.Rate
}

// BenchmarkReplicaBytes reports how many bytes a deposit adds to the database, to its
// write-ahead log, and to the audit log that each replica publishes.
func BenchmarkReplicaBytes(b *testing.B) {
	const clients, each = 16, 500
	cluster := pgtest.Start(b, "autovacuum = on")
	all := startReplicas(b, 2, cluster.Database(b))
	number := func(sql string) float64 {
		n, err := strconv.ParseFloat(cluster.SQL(b, "atm1", sql), 64)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	const size, wal = "SELECT pg_database_size('atm1')",
		"SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
	published := func() (bytes float64) {
		filepath.WalkDir(filepath.Join(all[0].dir, "atm-data", "audit"),
			func(_ string, e os.DirEntry, err error) error {
				if err == nil && e.Type().IsRegular() {
					if info, err := e.Info(); err == nil {
						bytes += float64(info.Size())
					}
				}
				return nil
			})
		return bytes
	}
	var database, log, files float64
	operations := 0
	for b.Loop() {
		sizeBefore, walBefore, filesBefore := number(size), number(wal), published()
		var wg sync.WaitGroup
		for n := range clients {
			c := clientOf(b, all[0], all[n%2].url)
			wg.Go(func() {
				for range each {
					if a, err := c.Deposit(b.Context(), 100, 1,
						atm.RequestID(atm.NewUUID(time.Now()))); err != nil || !a.OK() {
						b.Error(a, err)
						return
					}
				}
			})
		}
		wg.Wait()
		time.Sleep(2 * time.Second) // published
		cluster.SQL(b, "atm1", "VACUUM")
		database, log, files = database+number(size)-sizeBefore, log+number(wal)-walBefore,
			files+published()-filesBefore
		operations += clients * each
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(database/float64(operations), "database-B/deposit")
	b.ReportMetric(log/float64(operations), "WAL-B/deposit")
	b.ReportMetric(files/float64(operations), "log-B/deposit")
}
