//go:build unix

package daemon_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/keys"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/replica"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault/pgstore"
)

// pair starts two replicas on one database.
func pair(t testing.TB) (a, b *daemontest.Server, store storage.Location) {
	t.Helper()
	store = daemontest.Database(t)
	a = startOn(t, filepath.Join(t.TempDir(), "a"), store)
	folder := filepath.Join(t.TempDir(), "b")
	daemontest.Join(t, a.Data, folder)
	return a, startOn(t, folder, store), store
}

func startOn(t testing.TB, folder string, store storage.Location) *daemontest.Server {
	t.Helper()
	return daemontest.StartOne(t, folder, func(o *daemon.Options) { o.Store = store })
}

func TestReplicasKnowWhatEachOtherDid(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	a, b, store := pair(t)
	if a.Name != b.Name {
		t.Errorf("replicas of %s and %s", a.Name, b.Name)
	}
	operator := daemontest.At(t, a, a, "operator")
	onA, onB := daemontest.At(t, a, a, "demo"), daemontest.At(t, b, a, "demo")
	daemontest.Must(t)(onA.Deposit(t.Context(), daemontest.Account, 500, "x"))
	if got := daemontest.Must(t)(onB.Inquiry(t.Context(),
		daemontest.Account)); got.Text() != "1005.00" {
		t.Errorf("b has %s", got.Text())
	}
	if first, again := daemontest.Must(t)(onA.Withdraw(t.Context(), daemontest.Account, 5, "y")),
		daemontest.Must(t)(onB.Withdraw(t.Context(), daemontest.Account, 5,
			"y")); first.Receipt != again.Receipt {
		t.Errorf("one request has the receipts %s and %s", first.Receipt, again.Receipt)
	}

	// A grant of $50 is used for $30 on both replicas at once, and succeeds once.
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "service:billing", "service"))
	grant := daemontest.Must(t)(onA.Call(t.Context(), "admin.grant.create", 100, "withdraw",
		"50.00",
		"service:billing", 600))
	token, _ := grant.Result.(map[string]any)["token"].(string)
	codes := make(map[atm.Code]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 10 {
		h := []*daemontest.Server{a, b}[i%2]
		cfg := a.TLS(t, "demo")
		cfg.GetClientCertificate = nil
		c, err := client.New(client.Config{Server: "https://" + h.Addr, TLS: cfg, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			answer, err := c.Withdraw(t.Context(), daemontest.Account, 3000,
				atm.RequestID(fmt.Sprint(i)))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			codes[answer.Code]++
		})
	}
	wg.Wait()
	if codes[atm.OK] != 1 || codes[atm.GrantExceeded] != 9 {
		t.Errorf("ten withdrawals of $30 on two replicas under a grant of $50: %v", codes)
	}

	// A certificate that a revokes is refused by b on an open connection.
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.revoke", "user:demo"))
	begin := time.Now()
	daemontest.Until(t, func() bool {
		_, err := onB.Inquiry(t.Context(), daemontest.Account)
		return errors.Is(err, client.ErrNotAuthenticated)
	})
	t.Logf("revoked on one replica, refused on the other %v later", time.Since(begin))

	// Both publish the same log.
	if err := b.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	var roots []audit.Report
	for _, h := range []*daemontest.Server{a, b} {
		report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(h.Data, "audit")),
			audit.VerifyOptions{})
		if err != nil || !report.OK() {
			t.Fatalf("%+v, %v", report, err)
		}
		roots = append(roots, *report)
	}
	if roots[0].Size <= roots[1].Size {
		t.Errorf("a was stopped last and has published %d entries, b %d", roots[0].Size,
			roots[1].Size)
	}
	if _, err := (offline.Folder{Data: a.Data, Store: store}).Check(t.Context(), func(p string) {
		t.Error(p)
	}); err != nil {
		t.Error(err)
	}
}

// TestRequestIDIsAnsweredByTheOtherReplica sends a request with a digest to each replica, and
// to both at once.
func TestRequestIDIsAnsweredByTheOtherReplica(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	a, b, _ := pair(t)
	daemontest.WithAlice(t, a)
	nobody := a.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	challenge, _ := a.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	header := func(count int) func(*http.Request) {
		value := digestOf(t, challenge, count)
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	if resp, text := b.Post(t, c, daemontest.Call("inquiry", "200"),
		header(1)); resp.StatusCode != 200 ||
		!strings.Contains(text, "50.00") {
		t.Errorf("a nonce of the other: %s %s", resp.Status, text)
	}
	for _, h := range []*daemontest.Server{a, b} {
		if resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"),
			header(1)); resp.StatusCode != 401 {
			t.Errorf("again: %s", resp.Status)
		}
	}
	for count := 2; count < 12; count++ {
		var wg sync.WaitGroup
		var statuses [8]int
		for i := range statuses {
			h := []*daemontest.Server{a, b}[i%2]
			wg.Go(func() {
				resp, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), header(count))
				statuses[i] = resp.StatusCode
			})
		}
		wg.Wait()
		good := 0
		for _, s := range statuses {
			if s == 200 {
				good++
			}
		}
		if good != 1 {
			t.Errorf("at once: %v", statuses)
		}
	}
}

// TestReplicasThrottleTogether fails sign-ins on one replica until the other one throttles.
func TestReplicasThrottleTogether(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	a, b, _ := pair(t)
	const atOnce = 50
	c := daemontest.HTTPClient(t, a.TLS(t, "demo"))
	c.Transport.(*http.Transport).MaxIdleConnsPerHost = atOnce // handshakes take long
	wrong := func(r *http.Request) { r.Header.Set("Authorization", "Bearer x.y.z") }
	daemontest.Until(t, func() bool {
		var wg sync.WaitGroup
		for range atOnce { // a failed sign-in waits for the database, so send many at once
			wg.Go(func() { a.Post(t, c, daemontest.Call("inquiry", "100"), wrong) })
		}
		wg.Wait()
		resp, _ := b.Post(t, c, daemontest.Call("inquiry", "100"), wrong)
		return resp.StatusCode == http.StatusTooManyRequests
	})
}

// TestKeysRotatedOnOneReplicaAreUsedOnTheOther rotates keys on one replica. The other one has
// them before its next decision.
func TestKeysRotatedOnOneReplicaAreUsedOnTheOther(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	a, b, store := pair(t)
	operator, onB := daemontest.At(t, a, a, "operator"), daemontest.At(t, b, a, "demo")
	for i := range 3 {
		daemontest.Must(t)(operator.Call(t.Context(), "admin.audit.rotate"))
		daemontest.Must(t)(onB.Deposit(t.Context(), daemontest.Account, 1,
			atm.RequestID(fmt.Sprint(i))))
		daemontest.Must(t)(operator.Call(t.Context(), "admin.token.rotate", "force"))
		issued, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.token.issue",
			"user:demo", "*",
			"600")).Result.(map[string]any)
		cfg := a.TLS(t, "demo")
		cfg.GetClientCertificate = nil
		byToken, err := client.New(client.Config{
			Server: "https://" + b.Addr, TLS: cfg,
			Token: fmt.Sprint(issued["token"]), Tries: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		daemontest.Must(t)(byToken.Inquiry(t.Context(), daemontest.Account))
	}
	if err := keys.Rollover(a.Data, ""); err != nil {
		t.Fatal(err)
	}
	daemontest.Until(t, func() bool {
		old, err := os.ReadFile(filepath.Join(b.Data, "ca", "clients.old.crt"))
		return err == nil && len(old) > 0
	})
	// The other replica may have the authorities before this one issues under them.
	inForce, err := certs.LoadAuthority(filepath.Join(a.Data, "ca", "clients.crt"),
		filepath.Join(a.Data, "ca", "clients.key"))
	if err != nil {
		t.Fatal(err)
	}
	var fresh *tls.Config
	daemontest.Until(t, func() bool {
		fresh = a.Issue(t, "user:demo")
		pair, _ := fresh.GetClientCertificate(nil)
		return daemontest.Parsed(t,
			pair.Certificate[0]).CheckSignatureFrom(inForce.Certificate) == nil
	})
	c, err := client.New(client.Config{Server: "https://" + b.Addr, TLS: fresh, Tries: 1})
	if err != nil {
		t.Fatal(err)
	}
	daemontest.Must(t)(c.Inquiry(t.Context(), daemontest.Account))

	// A file that is changed while the server is stopped reaches the other replica after the start.
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := keys.Retire(a.Data); err != nil {
		t.Fatal(err)
	}
	daemontest.Must(t)(onB.Inquiry(t.Context(), daemontest.Account))
	startOn(t, a.Data, store)
	daemontest.Until(t, func() bool {
		_, err := onB.Inquiry(t.Context(), daemontest.Account)
		return errors.Is(err, client.ErrNotAuthenticated)
	})
	daemontest.Must(t)(c.Inquiry(t.Context(), daemontest.Account))
}

// TestSecondKeyOfALogReachesTheOtherReplica begins with folders of a program that signed by
// Ed25519 alone, and rotates the key on one replica. The other one, on which nothing happens,
// publishes both signatures.
func TestSecondKeyOfALogReachesTheOtherReplica(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	a, b, store := pair(t)
	for _, s := range []*daemontest.Server{a, b} {
		if err := s.Stop(); err != nil {
			t.Fatal(err)
		}
		for file, kept := range map[string]int{
			"keys/audit.key": 1, "audit/log.vkey": 1, "audit/checkpoint": 5,
		} {
			path := filepath.Join(s.Data, filepath.FromSlash(file))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.SplitAfter(string(text), "\n")
			if len(lines) != kept+2 { // one more, and what is behind the last
				t.Fatalf("%s has %d lines", file, len(lines))
			}
			if err := os.WriteFile(path, []byte(strings.Join(lines[:kept], "")),
				0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	a, b = startOn(t, a.Data, store), startOn(t, b.Data, store)
	read := func(s *daemontest.Server) string {
		text, err := os.ReadFile(filepath.Join(s.Data, "audit", "log.vkey"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := read(b)
	daemontest.Must(t)(daemontest.At(t, a, a, "operator").Call(t.Context(), "admin.audit.rotate"))
	daemontest.Until(t, func() bool { return strings.Count(read(a), "\n") == 2 })
	for _, vkey := range []string{read(a), first} {
		daemontest.Until(t, func() bool {
			r, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(b.Data, "audit")),
				audit.VerifyOptions{VKey: vkey})
			return err == nil && r.OK()
		})
	}
}

// TestWrongFoldersBecomeNoReplica tries starts that must fail. Each fails with one sentence,
// and changes nothing.
func TestWrongFoldersBecomeNoReplica(t *testing.T) {
	t.Parallel()
	a, _, store := pair(t)
	folder := func(files ...string) string {
		to := filepath.Join(t.TempDir(), "atm-data")
		for _, file := range files {
			from := filepath.Join(a.Data, file)
			text, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(to, file)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(to, file), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return to
	}
	other := daemontest.Start(t, nil) // on its own vault, or with ATM_REPLICAS on another database
	if err := other.Stop(); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "atm-data")
	srv, err := daemon.Open(t.Context(), daemon.Options{
		Data: elsewhere, Store: daemontest.Database(t),
		Log: daemontest.Discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	wrongKey := filepath.Join(t.TempDir(), "atm-data")
	daemontest.Join(t, elsewhere, wrongKey)
	for _, tt := range []struct {
		name, data string
		store      storage.Location
		want       error
		text       string
	}{
		{"a new folder without the key", folder(), store, replica.ErrJoin, a.Name},
		{"a new folder with another key", wrongKey, store, pgstore.ErrWrongSecret, a.Name},
		{"a folder of another installation", elsewhere, store, nil, "this folder is of"},
		{
			"a folder of an installation, and an empty database", elsewhere, daemontest.Database(t),
			pgstore.ErrNoBooks, "",
		},
		{
			"a folder of an installation, and no database", elsewhere,
			storage.Location{},
			datadir.ErrUsage,
			"--store " + store.Kind() + "://",
		},
		{
			"a key alone, and no database", folder("keys/vault.key"),
			storage.Location{},
			nil,
			"is not a data folder",
		},
		{
			"nobody there", folder(),
			storage.Location{URL: "postgres://atm@127.0.0.1:1/atm"},
			nil,
			"127.0.0.1:1",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			srv, err := daemon.Open(t.Context(), daemon.Options{
				Data: tt.data, Store: tt.store,
				Log: daemontest.Discard,
			})
			if err == nil {
				srv.Close()
				t.Fatal("opened")
			}
			t.Log(err)
			if tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(),
				tt.text) || strings.Contains(err.Error(), "\n") {
				t.Error(err)
			}
		})
	}
	daemontest.Must(t)(daemontest.At(t, a, a, "demo").Inquiry(t.Context(), daemontest.Account))
}

// TestClockOfTheDatabaseCounts runs two replicas whose clocks differ by seconds. The database's
// clock counts for the times of entries and for sign-ins.
func TestClockOfTheDatabaseCounts(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	cluster := daemontest.Postgres(t)
	url := cluster.Database(t)
	name := url[strings.LastIndex(url, "/")+1 : strings.Index(url, "?")]
	a := startOn(t, filepath.Join(t.TempDir(), "a"), storage.Location{URL: url})
	// For a replica whose clock is behind, the database's clock is ahead.
	cluster.SQL(t, name, `CREATE SCHEMA skew; GRANT USAGE ON SCHEMA skew TO PUBLIC;
		CREATE FUNCTION skew.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '4 s' $$;
		CREATE ROLE `+name+`late LOGIN; GRANT atm TO `+name+`late; ALTER ROLE `+name+`late SET search_path = skew, pg_catalog, public`)
	folder := filepath.Join(t.TempDir(), "b")
	daemontest.Join(t, a.Data, folder)
	b := startOn(t, folder, storage.Location{URL: cluster.URL(name+"late", name)})
	daemontest.Until(t, func() bool {
		return strings.Contains(b.Log.String(), "clock of this machine")
	})
	for _, from := range []*daemontest.Server{a, b} {
		daemontest.Must(t)(daemontest.At(t, from, a, "demo").Deposit(t.Context(),
			daemontest.Account, 1, atm.RequestID(from.Addr)))
		issued, _ := daemontest.Must(t)(daemontest.At(t, from, a, "operator").Call(t.Context(),
			"admin.token.issue",
			"user:demo", "*", "600")).Result.(map[string]any)
		fresh := from.IssueBy(t, a, "user:demo")
		for _, to := range []*daemontest.Server{a, b} {
			cfg := a.TLS(t, "demo")
			cfg.GetClientCertificate = nil
			c, err := client.New(client.Config{
				Server: "https://" + to.Addr, TLS: cfg,
				Token: fmt.Sprint(issued["token"]), Tries: 1,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Inquiry(t.Context(), daemontest.Account); err != nil {
				t.Errorf("a token: %v", err)
			}
			if c, err = client.New(client.Config{
				Server: "https://" + to.Addr, TLS: fresh,
				Tries: 1,
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := c.Inquiry(t.Context(), daemontest.Account); err != nil {
				t.Errorf("a certificate: %v", err)
			}
		}
	}
}
