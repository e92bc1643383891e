//go:build unix

package daemon_test

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
	"example.com/atm/vault/pgstore/pgtest"
)

// With ATM_REPLICAS=2 all servers of the tests are two, on one database, and
// every other connection goes to the other one.
var replicas, _ = strconv.Atoi(os.Getenv("ATM_REPLICAS"))

// outliving is a testing.TB whose cleanups run when all tests are over.
type outliving struct {
	testing.TB
	cleanups []func()
}

func (o *outliving) Cleanup(f func()) { o.cleanups = append(o.cleanups, f) }

var (
	clusterOnce sync.Once
	cluster     *pgtest.Cluster
	keeper      outliving
)

// postgres is a cluster that all tests share.
func postgres(t testing.TB) *pgtest.Cluster {
	t.Helper()
	clusterOnce.Do(func() {
		keeper.TB = t
		cluster = pgtest.Start(&keeper)
	})
	if cluster == nil {
		t.Fatal("PostgreSQL did not start")
	}
	return cluster
}

func TestMain(m *testing.M) {
	code := m.Run()
	for i := len(keeper.cleanups) - 1; i >= 0; i-- {
		keeper.cleanups[i]()
	}
	os.Exit(code)
}

// database is an empty database as a store.
func database(t testing.TB) storage.Location {
	return storage.Location{URL: postgres(t).Database(t)}
}

// databases are those of the folders of tests, which start servers on a folder
// again.
var databases sync.Map // folder → storage.Location

func databaseOf(t testing.TB, folder string) storage.Location {
	if s, is := databases.Load(folder); is {
		return s.(storage.Location)
	}
	s := database(t)
	databases.Store(folder, s)
	return s
}

// join makes the folder of one more replica.
func join(t testing.TB, first, folder string) {
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

// settle waits until every replica knows what one of them was told.
func settle() {
	if replicas > 1 {
		time.Sleep(2 * time.Second) // the contract gives one
	}
}

// folder is the data folder of a server that has stopped.
func (h *testServer) folder() offline.Folder {
	f := offline.Folder{Data: h.data}
	if s, is := databases.Load(h.data); is {
		f.Store = s.(storage.Location)
	}
	return f
}

// single skips a test of what a server has for itself.
func single(t testing.TB, why string) {
	if replicas > 1 {
		t.Skip(why)
	}
}

// A balancer hands each connection to the next of several servers.
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
	// as the client has it
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
func startReplicas(t testing.TB, data string, change func(*daemon.Options)) *testServer {
	t.Helper()
	store := databaseOf(t, data)
	var all []*testServer
	for i := range replicas {
		folder := data
		if i > 0 {
			folder += "-" + strconv.Itoa(i+1)
			join(t, data, folder)
		}
		all = append(all, startOne(t, folder, func(o *daemon.Options) {
			o.Store = store
			if change != nil {
				change(o)
			}
		}))
	}
	addresses := make([]string, len(all))
	for i, h := range all {
		addresses[i] = h.addr
	}
	front := balance(t, addresses...)
	together := *all[0]
	together.addr = front.Addr().String()
	together.stop = sync.OnceValue(func() error {
		front.Close()
		var errs []error
		// the first one last: its log has what the others wrote
		for i := len(all) - 1; i >= 0; i-- {
			errs = append(errs, all[i].stop())
		}
		return errors.Join(errs...)
	})
	t.Cleanup(func() { together.stop() })
	return &together
}
