package dynstore_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/requestid"
	"example.com/atm/vault/vaulttest"
)

// A fault is what becomes of a request on its way.
type fault int

const (
	none       fault = iota
	lost             // before it arrives
	unheard          // its answer is lost
	cutOff           // its answer ends in the middle
	broken           // 500, and nothing was done
	brokenYet        // 500, and it was done
	throttled        // 400 with ProvisionedThroughputExceededException
	twice            // it arrives a second time, meanwhile or later
	slow             // it arrives late, now and then after the client has given up
	slowAnswer       // it is answered late, now and then after the client has given up
	faults           // how many there are
)

func (f fault) String() string {
	return [...]string{
		"none", "lost", "unheard", "cut off", "500", "500 and done", "throttled", "twice", "slow",
		"slow to answer",
	}[f]
}

const (
	// givesUpAfter is longer than a store waits for an answer.
	givesUpAfter = 3500 * time.Millisecond

	// givesUpEvery is how many slow requests there are for one that is as slow as that.
	givesUpEvery = 8
)

// delay is how long the n-th slow request is delayed.
func delay(n int64) time.Duration {
	if n%givesUpEvery == 0 {
		return givesUpAfter
	}
	return time.Duration(rand.IntN(50)) * time.Millisecond
}

// A faulty stands between stores and the engine, and injects faults at the level of HTTP.
type faulty struct {
	engine string
	share  atomic.Int64 // of a thousand requests
	unwell atomic.Int64 // requests that met a fault
	seen   [faults]atomic.Int64
	late   sync.WaitGroup

	mu     sync.Mutex
	called map[string]bool // guarded by mu: names of the calls that were made
	parts  map[string]bool // guarded by mu: what transactions were made of
}

// note notes a call.
func (f *faulty) note(r *http.Request, body []byte) {
	_, call, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.called == nil {
		f.called, f.parts = make(map[string]bool), make(map[string]bool)
	}
	f.called[call] = true
	if call != "TransactWriteItems" {
		return
	}
	var asked struct{ TransactItems []map[string]any }
	json.Unmarshal(body, &asked)
	for _, i := range asked.TransactItems {
		for part := range i {
			f.parts[part+"Item"] = true
		}
	}
}

// taken are the actions of IAM that the calls take. A transaction takes those of its parts, and
// has no action of its own.
func (f *faulty) taken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	actions := maps.Clone(f.parts)
	maps.Copy(actions, f.called)
	delete(actions, "TransactWriteItems")
	return slices.Sorted(maps.Keys(actions))
}

// newFaulty starts one in front of an engine, and returns its address.
func newFaulty(t *testing.T, engine *dyntest.Engine) (f *faulty, address string) {
	f = &faulty{engine: engine.Address}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return f, strings.TrimPrefix(server.URL, "http://")
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f.note(r, body)
	what := none
	if rand.Int64N(1000) < f.share.Load() {
		what = 1 + fault(f.unwell.Add(1)%int64(faults-1))
	}
	n := f.seen[what].Add(1)
	switch what {
	case lost:
		panic(http.ErrAbortHandler)
	case broken:
		refuse(w, http.StatusInternalServerError, "InternalServerError")
		return
	case throttled:
		refuse(w, http.StatusBadRequest, "ProvisionedThroughputExceededException")
		return
	case slow:
		time.Sleep(delay(n))
	case twice:
		f.late.Go(func() {
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			f.pass(r, body)
		})
	}
	status, header, answer, err := f.pass(r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	switch what {
	case unheard:
		panic(http.ErrAbortHandler)
	case brokenYet:
		refuse(w, http.StatusInternalServerError, "InternalServerError")
		return
	case slowAnswer:
		time.Sleep(delay(n))
	}
	for name := range header {
		w.Header().Set(name, header.Get(name))
	}
	if what == cutOff {
		w.Header().Set("Content-Length", fmt.Sprint(len(answer)))
		w.WriteHeader(status)
		w.Write(answer[:len(answer)/2])
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(status)
	w.Write(answer)
}

// refuse answers with an error as DynamoDB does.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"__type":"com.amazonaws.dynamodb.v20120810#%s","message":"injected"}`, code)
}

// pass passes a request on.
func (f *faulty) pass(r *http.Request, body []byte) (status int, header http.Header, answer []byte,
	err error,
) {
	again, err := http.NewRequest(r.Method, "http://"+f.engine+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	again.Header = r.Header.Clone()
	response, err := http.DefaultClient.Do(again)
	if err != nil {
		return 0, nil, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header, answer, err
}

// TestFaultsOnTheWayLoseAndDoubleNothing lets two ledgers deposit, each deposit with a request id
// and asked again until it is answered OK, while a part of all requests meets a fault.
func TestFaultsOnTheWayLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	operations, clients := 400, 8
	if os.Getenv("ATM_SOAK") != "" {
		operations = 10_000
	}
	engine := dyntest.Shared(t)
	proxy, address := newFaulty(t, engine)
	name := engine.Name()
	url := dyntest.URL(name, address)
	signer := vaulttest.NewSigner(t)
	hasher, err := requestid.NewHasher(secret)
	if err != nil {
		t.Fatal(err)
	}
	ledgers := []*ledger.Ledger{
		vaulttest.NewLedger(t, ledger.Config{Store: create(t, url), Signer: signer}),
		vaulttest.NewLedger(t, ledger.Config{Store: create(t, url), Signer: signer}),
	}
	for i := range clients {
		s := ledgers[0].Do(t.Context(), openAccount(vault.Name(fmt.Sprint(i+1))))
		if s.Code != atm.OK {
			t.Fatalf("%+v", s)
		}
	}
	proxy.share.Store(100)
	var wg sync.WaitGroup
	for client := range clients {
		wg.Go(func() {
			account := vault.Name(fmt.Sprint(client + 1))
			receipts := make(map[string]bool)
			for i := range operations / clients {
				cmd := deposit(account, 1)
				cmd.Request = hasher.Hash(cmd.Caller, atm.RequestID(fmt.Sprint(client, " ", i)))
				answered := ask(t, ledgers, cmd)
				if want := atm.Amount(i + 1).String(); answered.Result != want {
					t.Errorf("deposit %d into account %s: %v, want %s", i, account, answered.Result,
						want)
				}
				if again := ask(t, ledgers, cmd); again != answered {
					t.Errorf("asked again: %+v, first %+v", again, answered)
				}
				receipts[answered.Receipt] = true
			}
			if len(receipts) != operations/clients {
				t.Errorf("%d receipts for %d deposits", len(receipts), operations/clients)
			}
		})
	}
	wg.Wait()
	proxy.share.Store(0)
	proxy.late.Wait()
	t.Logf("%d deposits at %d clients on 2 replicas", operations, clients)
	for f := range faults {
		t.Logf("%6d requests: %v", proxy.seen[f].Load(), f)
	}
	store := create(t, dyntest.URL(name, engine.Address))
	for i := range clients {
		a, err := store.Account(t.Context(), vault.Name(fmt.Sprint(i+1)))
		if want := atm.Amount(operations / clients); err != nil || a.Balance != want {
			t.Errorf("account %s holds %s, want %s: %v", a.Name, a.Balance, want, err)
		}
	}
	vaulttest.Sound(t, store)
	for f := range faults {
		if proxy.seen[f].Load() == 0 {
			t.Errorf("no request met this: %v", f)
		}
	}
}

// ask asks any of the ledgers until it is answered OK.
func ask(t *testing.T, ledgers []*ledger.Ledger, cmd vault.Command) atm.Status {
	for {
		s := ledgers[rand.IntN(len(ledgers))].Do(t.Context(), cmd)
		switch s.Code {
		case atm.OK:
			return s
		case atm.Unavailable:
			continue // nothing was done
		}
		t.Errorf("%+v", s)
		return s
	}
}

var demo = &atm.Caller{Principal: atm.Principal{
	Subject: "user:demo", Roles: []atm.Role{atm.Customer},
}}

func command(op atm.Operation, rule vault.Rule, args ...audit.Arg) vault.Command {
	return vault.Command{
		Event: audit.EventOp, Operation: op, Args: args, Caller: demo, Rule: rule,
	}
}

func openAccount(n vault.Name) vault.Command {
	return command(atm.AccountOpen, vault.OpenAccount{Account: n, Owner: demo.Subject},
		audit.Arg{Name: "account", Value: string(n)})
}

func deposit(n vault.Name, amount atm.Amount) vault.Command {
	return command(atm.Deposit, vault.Deposit{
		Account: n, Cash: vault.Cash(demo.Subject), Amount: amount, Tell: true,
	}, audit.Arg{Name: "account", Value: string(n)},
		audit.Arg{Name: "amount", Value: amount.String()})
}
