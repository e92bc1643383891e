//go:build unix

package daemon_test

import (
	"path/filepath"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault/pgstore/pgtest"
)

// TestRunningServerNoticesAChangedBalance has a superuser change a balance under a server that
// runs. It says so within a round of its scrub.
func TestRunningServerNoticesAChangedBalance(t *testing.T) {
	cluster := pgtest.Start(t)
	url := cluster.Database(t)
	h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), storage.Location{URL: url})
	daemontest.Must(t)(daemontest.At(t, h, h, "demo").Deposit(t.Context(), daemontest.Account,
		100, "x"))
	cluster.SQL(t, "atm1", "UPDATE accounts SET balance = balance + 1 WHERE name = '100'")
	h.Says(t, "a record is not what the journal says")
}
