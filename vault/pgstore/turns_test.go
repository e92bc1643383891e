//go:build unix

package pgstore_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
	"github.com/jackc/pgx/v5"
)

// TestACommitTakesAlongWhatCameWhileItWaited lets a replica wait for the head: what comes
// meanwhile is in the same commit.
func TestACommitTakesAlongWhatCameWhileItWaited(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).Database(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	do := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Error(err)
		}
	}
	store := create(t, url)
	asks, admitted, over := make(chan bool), make(chan bool), make(chan bool)
	var mu sync.Mutex
	var sizes []int // of the commits
	l := vaulttest.NewLedger(t, ledger.Config{
		Store: store,
		Admit: func() error { // each commit waits for the test
			select {
			case asks <- true:
				<-admitted
			case <-over:
			}
			return nil
		},
		Committed: func(c ledger.Commit) {
			mu.Lock()
			defer mu.Unlock()
			sizes = append(sizes, c.Operations)
		},
	})
	defer close(over)
	replies := []ledger.Reply{l.Begin(t.Context(), openAccount("1", 0))}
	begin := func(n int) {
		for range n {
			replies = append(replies, l.Begin(t.Context(), deposit("1", 1)))
		}
	}
	const crowd, late = 8, 3
	<-asks
	begin(crowd)
	admitted <- true
	<-asks
	do("BEGIN; SELECT FROM log FOR UPDATE")
	admitted <- true
	until(t, func() bool {
		var waits bool
		err := conn.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks
			WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))`).Scan(&waits)
		return err == nil && waits
	})
	begin(late)
	do("COMMIT")
	for _, reply := range replies {
		if s := reply(); s.Code != atm.OK {
			t.Errorf("%s %s", s.Code, s.Reason)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []int{1, crowd + late}; !slices.Equal(sizes, want) {
		t.Errorf("commits of %d commands; want %d", sizes, want)
	}
	vaulttest.Sound(t, store)
}

// TestCommitsFindRowsByKeys commits to tables that grow and were never analyzed. No commit goes
// through a whole table.
func TestCommitsFindRowsByKeys(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	store := create(t, url)
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	const accounts, rounds = 200, 20
	for i := range accounts {
		if s := l.Do(t.Context(), openAccount(vault.Name(fmt.Sprint(i+1)), 0)); s.Code != atm.OK {
			t.Fatal(s)
		}
	}
	for round := range rounds {
		var replies []ledger.Reply
		for i := range accounts {
			c := deposit(vault.Name(fmt.Sprint(i+1)), 1)
			c.Request = hasher.Hash(c.Caller, atm.RequestID(fmt.Sprint(round, " ", i)))
			replies = append(replies, l.Begin(t.Context(), c))
		}
		for _, reply := range replies {
			if s := reply(); s.Code != atm.OK {
				t.Fatal(s)
			}
		}
	}
	noDeadlocks(t, cluster, url, []*pgstore.Store{store})
	if n := cluster.SQL(t, nameOf(url), `SELECT relname, seq_tup_read FROM pg_stat_user_tables
		WHERE relname IN ('accounts', 'requests', 'journal', 'versions') AND seq_tup_read > 0`); n != "" {
		t.Errorf("rows that were read one after the other: %s", n)
	}
}
