package dynstore_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
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
	none      fault = iota
	lost            // before it arrives
	unheard         // its answer is lost
	cutOff          // its answer ends in the middle
	broken          // 500, and nothing was done
	brokenYet       // 500, and it was done
	throttled       // 400 with ProvisionedThroughputExceededException
	twice           // it arrives a second time, later
	faults          // how many there are
)

// A faulty stands between stores and the engine, and injects faults at the level of HTTP.
type faulty struct {
	engine string
	share  atomic.Int64 // of a thousand requests
	seen   [faults]atomic.Int64
	late   sync.WaitGroup
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	what := none
	if rand.Int64N(1000) < f.share.Load() {
		what = 1 + fault(rand.IntN(int(faults)-1))
	}
	f.seen[what].Add(1)
	switch what {
	case lost:
		panic(http.ErrAbortHandler)
	case broken:
		refuse(w, http.StatusInternalServerError, "InternalServerError")
		return
	case throttled:
		refuse(w, http.StatusBadRequest, "ProvisionedThroughputExceededException")
		return
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
	case twice:
		f.late.Go(func() {
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			f.pass(r, body)
		})
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
	operations, clients := 600, 8
	if os.Getenv("ATM_SOAK") != "" {
		operations = 10_000
	}
	engine := dyntest.Shared(t)
	proxy := &faulty{engine: engine.Address}
	server := httptest.NewUnstartedServer(proxy)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(server.Close)
	name := engine.Name()
	url := dyntest.URL(name, strings.TrimPrefix(server.URL, "http://"))
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
			t.Errorf("fault %d never happened", f)
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
