//go:build unix

package daemontest

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/pgstore/pgtest"
)

// Replicas is the number of servers on one database that each server of the tests stands for; 0
// for one server without a database.
var Replicas, _ = strconv.Atoi(os.Getenv("ATM_REPLICAS"))

// OnDynamoDB reports whether the database of the tests is a table of DynamoDB, and not one of
// PostgreSQL.
var OnDynamoDB = os.Getenv("ATM_DATABASE") == "dynamodb"

// Main runs the tests of a package, and then stops shared resources. It returns the exit code.
func Main(m *testing.M) int {
	defer dyntest.Stop()
	return pgtest.Main(m)
}

// Single skips a test of something that replicas do not share.
func Single(t testing.TB, why string) {
	if Replicas > 1 {
		t.Skip(why)
	}
}

// Once skips a test that starts its servers itself, and is the same whatever ATM_REPLICAS says, in
// the pass with replicas on PostgreSQL. It runs in the pass without.
func Once(t testing.TB) {
	t.Helper()
	if Replicas > 1 && !OnDynamoDB {
		t.Skip("runs in the pass without replicas")
	}
}

// Postgres is a cluster that all tests share. A test of what only PostgreSQL has is skipped on
// another database.
func Postgres(t testing.TB) *pgtest.Cluster {
	t.Helper()
	if OnDynamoDB {
		t.Skip("this is about PostgreSQL")
	}
	return pgtest.Shared(t)
}

// Database is the location of an empty database.
func Database(t testing.TB) storage.Location {
	t.Helper()
	if OnDynamoDB {
		return storage.Location{URL: dyntest.Shared(t).Table()}
	}
	return storage.Location{URL: Postgres(t).Database(t)}
}

// databases has the databases of tests' folders, because tests restart servers.
var databases sync.Map // folder → storage.Location

func databaseOf(t testing.TB, folder string) storage.Location {
	if s, is := databases.Load(folder); is {
		return s.(storage.Location)
	}
	s := Database(t)
	databases.Store(folder, s)
	return s
}

// Join creates the folder of one more replica.
func Join(t testing.TB, first, folder string) {
	t.Helper()
	if _, err := os.Stat(folder); err == nil {
		return
	}
	key, err := os.ReadFile(filepath.Join(first, "keys", "vault.key"))
	if err == nil {
		err = os.MkdirAll(filepath.Join(folder, "keys"), 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "keys", "vault.key"), key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// AwaitReplicas waits until every replica has learned of earlier changes.
func AwaitReplicas() {
	if Replicas > 1 {
		time.Sleep(2 * time.Second) // the contract promises one second
	}
}

// Folder is the data folder of a stopped server.
func (h *Server) Folder() offline.Folder {
	f := offline.Folder{Data: h.Data}
	if s, is := databases.Load(h.Data); is {
		f.Store = s.(storage.Location)
	}
	return f
}

// A balancer passes connections to several servers in turn.
type balancer struct {
	net.Listener
	to   []string
	next atomic.Int64
}

func balance(t testing.TB, to ...string) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &balancer{Listener: l, to: to}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(conn.(*net.TCPConn))
		}
	}()
	return b
}

func (b *balancer) serve(front *net.TCPConn) {
	defer front.Close()
	// keep the client's address
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: front.RemoteAddr().(*net.TCPAddr).IP}}
	conn, err := from.Dial("tcp", b.to[int(b.next.Add(1))%len(b.to)])
	if err != nil {
		return
	}
	defer conn.Close()
	back := conn.(*net.TCPConn)
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(back, front); back.CloseWrite() })
	wg.Go(func() { io.Copy(front, back); front.CloseWrite() })
	wg.Wait()
}

// startReplicas is startIn for several servers on one database.
func startReplicas(t testing.TB, data string, change func(*daemon.Options)) *Server {
	t.Helper()
	store := databaseOf(t, data)
	var all []*Server
	for i := range Replicas {
		folder := data
		if i > 0 {
			folder += "-" + strconv.Itoa(i+1)
			Join(t, data, folder)
		}
		all = append(all, StartOne(t, folder, func(o *daemon.Options) {
			o.Store = store
			if change != nil {
				change(o)
			}
		}))
	}
	addresses := make([]string, len(all))
	for i, h := range all {
		addresses[i] = h.Addr
	}
	front := balance(t, addresses...)
	together := *all[0]
	together.Addr = front.Addr().String()
	together.Stop = sync.OnceValue(func() error {
		front.Close()
		var errs []error
		// the first one last, because its log gets the others' entries
		for i := len(all) - 1; i >= 0; i-- {
			errs = append(errs, all[i].Stop())
		}
		return errors.Join(errs...)
	})
	t.Cleanup(func() { together.Stop() })
	return &together
}
