//go:build unix

package daemon_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/publish"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
)

// TestServerWithoutItsDatabaseIsNotReady stops the database of a running server, and starts it
// again.
func TestServerWithoutItsDatabaseIsNotReady(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"),
		storage.Location{URL: cluster.Database(t)})
	demo := daemontest.At(t, h, h, "demo")
	daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 100, "x"))
	cluster.Kill(t)
	if answer, err := demo.Deposit(t.Context(), daemontest.Account, 100, "y"); err == nil &&
		answer.Code != atm.Unavailable {
		t.Errorf("without a database: %+v", answer)
	}
	daemontest.Until(t, func() bool {
		code, _ := h.Get(t, "/readyz")
		return code == http.StatusServiceUnavailable
	})
	_, text := h.Get(t, "/readyz")
	t.Log(text)
	cluster.Start(t)
	daemontest.Until(t, func() bool {
		code, _ := h.Get(t, "/readyz")
		return code == http.StatusOK
	})
	daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 100, "y"))
	if got := daemontest.Must(t)(demo.Inquiry(t.Context(),
		daemontest.Account)); got.Text() != "1002.00" {
		t.Errorf("%s after all", got.Text())
	}
}

// TestDigestWaitsForTheDatabase signs in with a good digest while there is no database. A new
// challenge would not help, so the client is told to wait, like a client that reads.
func TestDigestWaitsForTheDatabase(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"),
		storage.Location{URL: cluster.Database(t)})
	daemontest.WithAlice(t, h)
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	challenge, _ := h.Post(t, c, daemontest.Call("inquiry", "200"), nil)
	with := func(count int) func(*http.Request) {
		value := digestOf(t, challenge, count)
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	if resp, text := h.Post(t, c, daemontest.Call("inquiry", "200"),
		with(1)); resp.StatusCode != 200 ||
		!strings.Contains(text, "50.00") {
		t.Fatalf("%s %s", resp.Status, text)
	}
	cluster.Kill(t)
	resp, text := h.Post(t, c, daemontest.Call("inquiry", "200"), with(2))
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" ||
		resp.Header["Www-Authenticate"] != nil {
		t.Errorf("a good digest without a database: %s %v %s", resp.Status, resp.Header, text)
	}
	for _, read := range []string{
		"statement", "admin.audit.list", "admin.user.list",
		"admin.account.list", "receipt",
	} {
		user, args := "operator", []string{}
		switch read {
		case "statement":
			user, args = "demo", []string{"100"}
		case "receipt":
			args = []string{"0"}
		}
		resp, text := h.Post(t, daemontest.HTTPClient(t, h.TLS(t, user)),
			daemontest.Call(read, args...), nil)
		if resp.StatusCode != 200 || !strings.Contains(text, "UNAVAILABLE") ||
			strings.Contains(text, "<fault>") {
			t.Errorf("%s without a database: %s %s", read, resp.Status, text)
		}
	}
	cluster.Start(t)
	daemontest.Until(t, func() bool {
		code, _ := h.Get(t, "/readyz")
		return code == http.StatusOK
	})
	if resp, text := h.Post(t, c, daemontest.Call("inquiry", "200"),
		with(3)); resp.StatusCode != 200 ||
		!strings.Contains(text, "50.00") {
		t.Errorf("a good digest with the database again: %s %s", resp.Status, text)
	}
}

// TestOlderDatabaseIsRefusedUntilRecovery restores an old state of the database. No replica
// continues from it, and recover begins another log.
func TestOlderDatabaseIsRefusedUntilRecovery(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	store := storage.Location{URL: url}
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), store)
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	cluster.SQL(t, "postgres", "CREATE DATABASE old OWNER atm TEMPLATE atm1")
	h = startOn(t, h.Data, store)
	for n := range 9 {
		daemontest.Must(t)(daemontest.At(t, h, h, "demo").Deposit(t.Context(),
			daemontest.Account, 100,
			atm.RequestID(fmt.Sprint(n))))
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	old := storage.Location{URL: cluster.URL("atm", "old")}
	// The other replica has not seen the lost entries, and runs on the old state.
	folder := filepath.Join(t.TempDir(), "other")
	daemontest.Join(t, h.Data, folder)
	other := daemon.Options{Data: folder, Store: old, Log: daemontest.Discard, Grace: time.Second}
	running, err := daemon.Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	listen, err := daemon.Addresses("localhost:0", "")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- running.Serve(t.Context(), listen) }()
	if _, err := (offline.Folder{Data: h.Data, Store: old}).Recover(t.Context(),
		daemontest.Discard); !errors.Is(err, pgstore.ErrRunning) ||
		!strings.Contains(err.Error(), folder) {
		t.Errorf("while another replica runs: %v", err)
	}
	_, err = daemon.Open(t.Context(), daemon.Options{
		Data: h.Data, Store: old,
		Log: daemontest.Discard,
	})
	if !errors.Is(err, publish.ErrAhead) {
		t.Fatalf("on an older database: %v", err)
	}
	if err := <-ended; !errors.Is(err, pgstore.ErrRolledBack) {
		t.Errorf("the other replica, when this one is refused: %v", err)
	}
	if _, err := daemon.Open(t.Context(), other); !errors.Is(err, pgstore.ErrRolledBack) {
		t.Errorf("a start of the other replica: %v", err)
	}
	// In the folder that saw less, recover names the replica whose log it has not read.
	recovered, err := offline.Folder{Data: folder, Store: old}.Recover(t.Context(),
		daemontest.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if recovered.Origin == recovered.OldOrigin || len(recovered.Missed) != 1 ||
		!strings.Contains(recovered.Missed[0], h.Data) {
		t.Errorf("%+v", recovered)
	}
	again, follower := startOn(t, h.Data, old), startOn(t, folder, old)
	for _, on := range []*daemontest.Server{again, follower} {
		if got := daemontest.Must(t)(daemontest.At(t, on, h, "demo").Inquiry(t.Context(),
			daemontest.Account)); got.Text() != "1000.00" {
			t.Errorf("%s", got.Text())
		}
	}
	for _, on := range []*daemontest.Server{follower, again} {
		if err := on.Stop(); err != nil {
			t.Fatal(err)
		}
		report, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(on.Data, "audit")),
			audit.VerifyOptions{})
		if err != nil || !report.OK() {
			t.Errorf("%+v, %v", report, err)
		}
	}
}
