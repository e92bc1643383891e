//go:build unix

package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/vaulttest"
)

// A wire is between a store and its database. It can lose connections over a
// commit: before the database hears of it, or before the store hears what became
// of it.
type wire struct {
	net.Listener
	to      string
	lose    atomic.Int64 // one commit of so many; 0 for none
	commits atomic.Int64
	lost    [2]atomic.Int64
}

func newWire(t testing.TB, cluster *pgtest.Cluster) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wire{Listener: l, to: fmt.Sprintf("127.0.0.1:%d", cluster.Port)}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(conn)
		}
	}()
	return w
}

// url is that of a database behind the wire.
func (w *wire) url(direct string) string {
	return strings.Replace(direct, w.to, w.Addr().String(), 1)
}

func (w *wire) serve(front net.Conn) {
	defer front.Close()
	back, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer back.Close()
	go func() {
		defer front.Close()
		defer back.Close()
		io.Copy(front, back)
	}()
	buf := make([]byte, 1<<20)
	for {
		n, err := front.Read(buf)
		if err != nil {
			return
		}
		// The statement is prepared: a commit is known by the query it follows.
		if every := w.lose.Load(); every > 0 && bytes.Contains(buf[:n], []byte("COMMIT")) {
			switch w.commits.Add(1) % (2 * every) { // by turns: chance may choose one way alone
			case every:
				w.lost[0].Add(1)
				return
			case 0:
				w.lost[1].Add(1)
				front.Close() // nothing comes back
				back.Write(buf[:n])
				time.Sleep(20 * time.Millisecond) // it is done, or nearly
				return
			}
		}
		if _, err := back.Write(buf[:n]); err != nil {
			return
		}
	}
}

// TestCommitHappensOnceWhenItsConnectionIsLost loses connections over commits: everything happens
// once, and everybody is told what.
func TestCommitHappensOnceWhenItsConnectionIsLost(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	direct := cluster.Database(t)
	w := newWire(t, cluster)
	// Not prepared, so that the wire can tell a commit.
	store := create(t, w.url(direct)+"&default_query_exec_mode=exec")
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	if s := l.Do(t.Context(), openAccount("1", 0)); s.Code != atm.OK {
		t.Fatal(s)
	}
	w.lose.Store(3)
	const clients, each = 4, 25
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.OK {
					t.Errorf("%s %s", s.Code, s.Reason)
				}
			}
		})
	}
	wg.Wait()
	w.lose.Store(0)
	if s := l.Do(t.Context(), inquiry("1")); s.Result != "1.00" {
		t.Errorf("%v after %d deposits", s, clients*each)
	}
	if w.lost[0].Load() == 0 || w.lost[1].Load() == 0 {
		t.Errorf("lost %d and %d: the test tests nothing", w.lost[0].Load(), w.lost[1].Load())
	}
	vaulttest.Sound(t, create(t, direct))
}

// TestLedgerGoesOnWhenTheDatabaseIsBack takes the database away. Nothing is committed meanwhile,
// the ledger says so, and goes on when it is back.
func TestLedgerGoesOnWhenTheDatabaseIsBack(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Start(t)
	store := create(t, cluster.Database(t))
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	if s := l.Do(t.Context(), openAccount("1", 0)); s.Code != atm.OK {
		t.Fatal(s)
	}
	cluster.Kill(t)
	if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.Unavailable || s.Receipt != "" {
		t.Errorf("without a database: %v", s)
	}
	if err := store.Trouble(); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("trouble without a database: %v", err)
	}
	cluster.Start(t)
	if s := l.Do(t.Context(), deposit("1", 1)); s.Code != atm.OK || s.Result != "0.01" {
		t.Errorf("with the database again: %v", s)
	}
	if err := store.Trouble(); err != nil {
		t.Error(err)
	}
}

// TestForgottenTransactionIsEnded lets a transaction hold the head that its client has forgotten.
func TestForgottenTransactionIsEnded(t *testing.T) {
	t.Parallel()
	cluster := pgtest.Shared(t)
	url := cluster.Database(t)
	hanging, store := create(t, url), create(t, url)
	begun, end := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		_, err := hanging.Commit(context.Background(), vault.Keys{}, func(*vault.Books) error {
			close(begun)
			<-end
			return errors.New("too late")
		})
		done <- err
	}()
	<-begun
	l := vaulttest.NewLedger(t, ledger.Config{Store: store})
	for {
		s := l.Do(t.Context(), openAccount("1", 0))
		if s.Code == atm.OK {
			break
		}
		if s.Code != atm.Unavailable {
			t.Fatal(s)
		}
	}
	close(end)
	if err := <-done; err == nil {
		t.Error("a transaction that was ended has come to a good end")
	}
}
