//go:build unix

package daemon_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// TestRunningServerNoticesAChangedBalance has a superuser change a balance in the database of a
// running server, which reports it within one round of its scrub.
func TestRunningServerNoticesAChangedBalance(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	at := daemontest.Database(t)
	database, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), at)
	daemontest.Must(t)(daemontest.At(t, h, h, "demo").Deposit(t.Context(), daemontest.Account,
		100, "x"))
	daemontest.Postgres(t).SQL(t, strings.TrimPrefix(database.Path, "/"),
		"UPDATE accounts SET balance = balance + 1 WHERE name = '100'")
	h.Says(t, "a record is not what the journal says")
}
