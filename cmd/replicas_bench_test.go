package cmd_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
)

// benchAccounts is how many accounts the money moves between.
const benchAccounts = 5000

// yardstick does in the database what a transfer does there, the head of the
// journal and its tree apart, and commits. The function is called with one commit
// each, by as many clients, without TLS.
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

// BenchmarkReplicas moves money between many accounts, and out of one, on two
// replicas on one database at 64 clients, and holds it against pgbench on another
// database of the same server. A round has a few seconds of each; the figures are
// medians over the rounds. Everything shares the cores of this machine.
func BenchmarkReplicas(b *testing.B) {
	const clients = 64
	cluster := pgtest.Start(b, "fsync = on", "shared_buffers = 256MB", "max_wal_size = 4GB")
	theirs, ours := cluster.Database(b), cluster.Database(b)
	s, err := pgstore.Create(b.Context(), pgstore.Config{URL: theirs, Secret: []byte("the secret of a benchmark.......")}, "bench.example")
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	script := filepath.Join(b.TempDir(), "yardstick.sql")
	if err := os.WriteFile(script, []byte(strings.Replace(yardstick, "ACCOUNTS", strconv.Itoa(benchAccounts), 1)), 0o644); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command(pgtest.Program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", theirs, "-f", script).CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	all := startReplicas(b, 2, ours)
	openMany(b, all[0])

	cases := []struct {
		name string
		run  func() float64 // operations per second
	}{
		{"pgbench-spread", func() float64 { return pgbench(b, theirs, clients, "random(1, 5000)") }},
		{"spread", func() float64 { return load(b, all, clients, func() int { return 1 + rand.IntN(benchAccounts) }) }},
		{"pgbench-hot", func() float64 { return pgbench(b, theirs, clients, "1") }},
		{"hot", func() float64 { return load(b, all, clients, func() int { return 1 }) }},
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

const benchSeconds = 4

func pgbench(b *testing.B, url string, clients int, from string) float64 {
	b.Helper()
	script := filepath.Join(b.TempDir(), "transfer.sql")
	text := "\\set a " + from + "\n\\set b random(2, " + strconv.Itoa(benchAccounts-1) + ")\n" +
		"\\if :a = :b\n\\set b " + strconv.Itoa(benchAccounts) + "\n\\endif\nSELECT transfer(:a::text, :b::text, 1);\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	out, err := exec.Command(pgtest.Program("pgbench"), "-n", "-M", "prepared", "-c", strconv.Itoa(clients), "-j", "2", "-T", strconv.Itoa(benchSeconds), "-f", script, url).CombinedOutput()
	found := regexp.MustCompile(`tps = ([0-9.]+)`).FindSubmatch(out)
	if err != nil || found == nil {
		b.Fatalf("%v\n%s", err, out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		b.Fatal(err)
	}
	return rate
}

// openMany opens the accounts through multicalls.
func openMany(b *testing.B, s *server) {
	b.Helper()
	operator, err := clientFiles(s, "operator")
	if err != nil {
		b.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: operator}}
	defer c.CloseIdleConnections()
	for first := 1; first <= benchAccounts; first += 100 {
		var m strings.Builder
		m.WriteString("<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>")
		for n := first; n < first+100; n++ {
			fmt.Fprintf(&m, "<value><struct><member><name>methodName</name><value>admin.account.open</value></member><member><name>params</name><value><array><data><value>%d</value><value>user:demo</value><value>1000000.00</value></data></array></value></member></struct></value>", n)
		}
		m.WriteString("</data></array></value></param></params></methodCall>")
		resp, err := c.Post(s.url+"/RPC2", "text/xml", strings.NewReader(m.String()))
		if err != nil {
			b.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || strings.Count(string(text), "<string>OK</string>") < 99 {
			b.Fatalf("%s %v %.500s", resp.Status, err, text)
		}
	}
}

// load moves money on kept connections with client certificates to all servers,
// for a while, and returns how many transfers were answered OK in a second.
func load(b *testing.B, all []*server, clients int, from func() int) float64 {
	b.Helper()
	cfg := credentials(b, all[0])
	cfg.ServerName = "localhost"
	var conns []*tls.Conn
	for i := range clients {
		conn, err := tls.Dial("tcp", lookUp(all[i%len(all)].env, "ATM_LISTEN"), cfg)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	var done atomic.Bool
	var count atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for i, conn := range conns {
		wg.Go(func() {
			r := bufio.NewReaderSize(conn, 4<<10)
			for n := 0; !done.Load(); n++ {
				a, to := from(), 1+rand.IntN(benchAccounts)
				if a == to {
					to = 1 + to%benchAccounts
				}
				body := fmt.Sprintf("<?xml version='1.0'?><methodCall><methodName>transfer</methodName><params><param><value><int>%d</int></value></param><param><value><int>%d</int></value></param><param><value><string>0.01</string></value></param><param><value><string>%d-%d-%d</string></value></param></params></methodCall>",
					a, to, begun.UnixNano(), i, n)
				if _, err := fmt.Fprintf(conn, "POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
					b.Error(err)
					return
				}
				answer, err := readAnswer(r)
				if err != nil || !strings.Contains(answer, "<string>OK</string>") {
					b.Errorf("%v %.500s", err, answer)
					return
				}
				count.Add(1)
			}
		})
	}
	time.Sleep(benchSeconds * time.Second)
	rate := float64(count.Load()) / time.Since(begun).Seconds()
	done.Store(true)
	wg.Wait()
	return rate
}

// readAnswer reads an HTTP response of a known length.
func readAnswer(r *bufio.Reader) (string, error) {
	length := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			break
		}
		if value, is := strings.CutPrefix(line, "Content-Length: "); is {
			if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil {
				return "", err
			}
		}
	}
	body := make([]byte, length)
	_, err := io.ReadFull(r, body)
	return string(body), err
}
