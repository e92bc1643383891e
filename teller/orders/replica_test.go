//go:build unix

package orders_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/search"
	"example.com/atm/auth"
	"example.com/atm/teller"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/orders"
	"example.com/atm/teller/subscriptions"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/pgstore"
	"example.com/atm/vault/pgstore/pgtest"
	"example.com/atm/vault/requestid"
)

func TestMain(m *testing.M) {
	if where := os.Getenv(whereVariable); where != "" {
		if err := runReplica(where, os.Getenv(keyVariable), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(pgtest.Main(m))
}

// The environment of a replica.
const (
	whereVariable = "ATM_TEST_ORDERS_STORE" // the path of a file, or the URL of a database
	keyVariable   = "ATM_TEST_ORDERS_KEY"   // what signs the log
)

// openStore opens the store at a place, and creates it the first time.
func openStore(ctx context.Context, where string) (vault.Backend, error) {
	if strings.HasPrefix(where, "postgres:") {
		return pgstore.Create(ctx, pgstore.Config{URL: where, Secret: secret}, "test.example")
	}
	return boltstore.Create(where, secret)
}

// A job is what a replica is to do at an instant by the clock of its commits.
type job struct {
	Now    time.Time
	Acts   []act // one after the other
	Orders bool  // then what is due
}

// An act is what somebody asks for. It has a request id.
type act struct {
	ID        atm.RequestID
	By        atm.Principal
	Operation atm.Operation
	Args      []atm.Arg
}

// A done is what a replica answers to a job.
type done struct {
	Results []string // of the acts
}

// permissions are those of a server.
type permissions struct{ teller.Permissions }

func (permissions) Permit(p atm.Principal, op atm.Operation) atm.Reach { return auth.Permit(p, op) }

// credentials issues none.
type credentials struct{ teller.Credentials }

// installation reports nothing.
type installation struct{ teller.Installation }

type noFeed struct{ subscriptions.Feed }

func (installation) Program() audit.Program { return audit.Program{} }

// newTeller returns the teller of a server, as far as it moves money.
func newTeller(store vault.Store, commits *ledger.Ledger) (*teller.Teller, error) {
	requests, err := requestid.NewHasher(secret)
	if err != nil {
		return nil, err
	}
	holders, err := holder.NewHasher(secret)
	if err != nil {
		return nil, err
	}
	return teller.New(teller.Config{
		Ledger: commits, Store: store, Requests: requests, Holders: holders,
		Index: search.NewIndex(), Realm: "test", Confirm: confirm.Default, Permissions: permissions{},
		Credentials: credentials{}, Installation: installation{}, Feed: noFeed{},
	})
}

// runReplica does jobs until there are no more. It has two runners, so that each payment is asked
// for twice at the same time, even if there is one replica.
func runReplica(where, key string, jobs io.Reader, answers io.Writer) error {
	ctx := context.Background()
	store, err := openStore(ctx, where)
	if err != nil {
		return err
	}
	signer, err := checkpoint.NewSigner(key)
	if err != nil {
		return err
	}
	var now atomic.Pointer[time.Time]
	clock := func() time.Time { return *now.Load() }
	commits := ledger.New(ledger.Config{Store: store, Signer: signer, Now: clock})
	front, err := newTeller(store, commits)
	if err != nil {
		return err
	}
	cfg := orders.Config{Ledger: commits, Store: store, Now: clock}
	runners := [2]*orders.Runner{orders.New(cfg), orders.New(cfg)}
	in, out := json.NewDecoder(jobs), json.NewEncoder(answers)
	for {
		var j job
		if err := in.Decode(&j); errors.Is(err, io.EOF) {
			return errors.Join(commits.Close(), store.Close())
		} else if err != nil {
			return err
		}
		now.Store(&j.Now)
		var d done
		for _, a := range j.Acts {
			reply, err := front.Begin(ctx, &atm.Caller{Principal: a.By}, teller.Call{
				Operation: a.Operation, Args: a.Args, Request: string(a.ID), Once: true,
			})
			if err != nil {
				return fmt.Errorf("%+v: %w", a, err)
			}
			status := reply()
			if status.Code != atm.OK {
				return fmt.Errorf("%+v: %s %s", a, status.Code, status.Reason)
			}
			result, _ := status.Result.(string)
			d.Results = append(d.Results, result)
		}
		if j.Orders {
			var failed [len(runners)]error
			var wg sync.WaitGroup
			for i, runner := range runners {
				wg.Go(func() { _, failed[i] = runner.Pay(ctx) })
			}
			wg.Wait()
			if err := errors.Join(failed[:]...); err != nil {
				return err
			}
		}
		if err := out.Encode(d); err != nil {
			return err
		}
	}
}

// A replica is a process that does jobs.
type replica struct {
	where, key string

	process *exec.Cmd
	jobs    io.WriteCloser
	in      *json.Encoder
	out     *json.Decoder

	kills, atWork int // how often it was killed, and before it had answered
}

// start starts the process.
func (r *replica) start() error {
	r.process = exec.Command(os.Args[0])
	r.process.Env = append(os.Environ(), whereVariable+"="+r.where, keyVariable+"="+r.key)
	r.process.Stderr = os.Stderr
	var err error
	if r.jobs, err = r.process.StdinPipe(); err != nil {
		return err
	}
	answers, err := r.process.StdoutPipe()
	if err != nil {
		return err
	}
	r.in, r.out = json.NewEncoder(r.jobs), json.NewDecoder(answers)
	return r.process.Start()
}

// kill kills the process, and starts another one.
func (r *replica) kill() error {
	r.kills++
	r.process.Process.Kill()
	r.process.Wait()
	return r.start()
}

// never is when a process is killed that goes on.
const never = time.Duration(-1)

// do has the process do a job, until it has. Unless after is never, the process is killed when so
// much time has passed, and one that is started then does the job again.
func (r *replica) do(j job, after time.Duration) (d done, err error) {
	if after != never {
		victim := r.process.Process
		timer := time.AfterFunc(after, func() { victim.Kill() })
		err := r.send(j, &d)
		if err != nil {
			r.atWork++
		}
		timer.Stop()
		if err := r.kill(); err != nil {
			return d, err
		}
		d = done{}
	}
	return d, r.send(j, &d)
}

func (r *replica) send(j job, d *done) error {
	if err := r.in.Encode(j); err != nil {
		return err
	}
	return r.out.Decode(d)
}

// stop ends the process as a server ends.
func (r *replica) stop() error {
	return errors.Join(r.jobs.Close(), r.process.Wait())
}
