//go:build unix

package cmd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/vault/dynstore/dyntest"
	"example.com/atm/vault/pgstore/pgtest"
)

// BenchmarkStores moves money on one server on each of the three stores with 1, 16 and 64 clients,
// in rounds of all of them. The results are medians over the rounds. Everything shares the cores
// of this machine, and DynamoDB Local is no measure of DynamoDB.
func BenchmarkStores(b *testing.B) {
	type bench struct {
		name string
		run  func() float64 // operations per second
	}
	var cases []bench
	for _, store := range []struct{ name, url string }{
		{"bolt", "bolt:"},
		{"postgres", pgtest.Start(b, "fsync = on", "shared_buffers = 256MB").Database(b)},
		{"dynamodb", dyntest.Shared(b).Table()},
	} {
		l := onStore(b, store.url)
		for _, clients := range []int{1, 16, 64} {
			cases = append(cases, bench{fmt.Sprint(store.name, "-", clients), func() float64 {
				return l.run(b, "demo", "-op", "transfer", "-clients", strconv.Itoa(clients), "-for",
					benchFor.String())
			}})
		}
	}
	rates := make([][]float64, len(cases))
	for b.Loop() {
		for i, c := range cases {
			rates[i] = append(rates[i], c.run())
		}
	}
	for i, c := range cases {
		slices.Sort(rates[i])
		b.ReportMetric(rates[i][len(rates[i])/2], c.name+"/s")
	}
	b.ReportMetric(0, "ns/op")
}

// onStore starts a server on a store, with accounts.
func onStore(b *testing.B, url string) *loader {
	b.Helper()
	l := newLoader(b, startReplicas(b, 1, url))
	l.run(b, "operator", "-op", "open", "-owner", "user:demo", "-opening", "1000000.00", "-clients",
		"1", "-calls", strconv.Itoa(benchAccounts/100), "-any")
	return l
}

// Prices of the list for on-demand tables in us-east-1, in dollars for a million units.
const (
	perWrites = 0.625
	perReads  = 0.125
)

// BenchmarkDynamoDBCost reports what an operation costs on DynamoDB: the items and bytes that it
// writes, the request units, and dollars for a million; and what a server that has nothing to do
// asks for in a second.
func BenchmarkDynamoDBCost(b *testing.B) {
	m := &meter{engine: dyntest.Shared(b).Address}
	front := httptest.NewServer(m)
	b.Cleanup(front.Close)
	l := onStore(b, dyntest.URL(dyntest.Shared(b).Name(), strings.TrimPrefix(front.URL,
		"http://")))
	const idle = 10 * time.Second
	before := m.read()
	time.Sleep(idle)
	rest := m.read().minus(before)
	for b.Loop() {
		for _, op := range []string{"deposit", "transfer"} {
			for _, clients := range []int{1, 16, 64} {
				before := m.read()
				const seconds = 4
				n := seconds * l.run(b, "demo", "-op", op, "-clients", strconv.Itoa(clients), "-for",
					fmt.Sprint(seconds, "s"))
				used := m.read().minus(before)
				report := func(what string, of float64) {
					b.ReportMetric(of/n, fmt.Sprint(op, "-", clients, "-", what, "/op"))
				}
				report("items", used.items)
				report("bytes", used.bytes)
				report("commits", used.commits)
				report("WRU", used.writes)
				report("RRU", used.reads)
				b.ReportMetric((used.writes*perWrites+used.reads*perReads)/n,
					fmt.Sprint(op, "-", clients, "-$/million"))
			}
		}
	}
	b.ReportMetric(rest.writes/idle.Seconds(), "idle-WRU/s") // Loop forgets what came before it
	b.ReportMetric(rest.reads/idle.Seconds(), "idle-RRU/s")
	b.ReportMetric(0, "ns/op")
}

// Used is what was used of a table.
type used struct{ items, bytes, commits, writes, reads float64 }

func (u used) minus(o used) used {
	return used{
		u.items - o.items, u.bytes - o.bytes, u.commits - o.commits, u.writes - o.writes,
		u.reads - o.reads,
	}
}

// A meter stands in front of DynamoDB, and counts request units by the rules of its documentation:
// a write takes one for each KB of an item, in a transaction two; a strongly consistent read takes
// one for each 4 KB. The local engine says less of transactions: it adds their items up first.
type meter struct {
	engine string

	mu  sync.Mutex
	sum used // guarded by mu
}

func (m *meter) read() used {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sum
}

func (m *meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	again, err := http.NewRequest(r.Method, "http://"+m.engine+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	again.Header = r.Header.Clone()
	response, err := http.DefaultClient.Do(again)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	m.note(body, answer)
	for name := range response.Header {
		w.Header().Set(name, response.Header.Get(name))
	}
	w.WriteHeader(response.StatusCode)
	w.Write(answer)
}

// An item is one as JSON has it.
type item map[string]struct {
	S, N string
	B    []byte
}

func (i item) size() (n float64) {
	for name, v := range i {
		n += float64(len(name) + len(v.S) + (len(v.N)+1)/2 + len(v.B))
	}
	return n
}

// asked is what the store asks for, as far as it counts.
type asked struct {
	TransactItems []struct {
		Put    struct{ Item item }
		Delete struct{ Key item }
	}
	Item                   item // of PutItem
	RequestItems           map[string]json.RawMessage
	Key                    item // of GetItem
	KeyConditionExpression string
}

// answered is what it is answered.
type answered struct {
	Item      item
	Responses map[string][]item
	Items     []item
}

// note counts a request and its answer. One that is refused counts, too.
func (m *meter) note(body, answer []byte) {
	var q asked
	var a answered
	json.Unmarshal(body, &q) // what is not there stays empty
	json.Unmarshal(answer, &a)
	m.mu.Lock()
	defer m.mu.Unlock()
	write := func(i item, perKB float64) {
		m.sum.items++
		m.sum.bytes += i.size()
		m.sum.writes += perKB * math.Ceil(i.size()/1024)
	}
	readUnits := func(bytes float64) float64 { return max(1, math.Ceil(bytes/4096)) }
	switch {
	case q.TransactItems != nil:
		m.sum.commits++
		for _, i := range q.TransactItems {
			if i.Put.Item != nil {
				write(i.Put.Item, 2)
			} else {
				write(i.Delete.Key, 2)
			}
		}
	case q.Item != nil:
		write(q.Item, 1)
	case q.Key != nil:
		m.sum.reads += readUnits(a.Item.size())
	case q.KeyConditionExpression != "":
		bytes := 0.0
		for _, i := range a.Items {
			bytes += i.size()
		}
		m.sum.reads += readUnits(bytes)
	default:
		for table, of := range q.RequestItems {
			var get struct{ Keys []item }
			var puts []struct{ PutRequest struct{ Item item } }
			if json.Unmarshal(of, &get) == nil {
				m.sum.reads += float64(len(get.Keys) - len(a.Responses[table]))
			} else if json.Unmarshal(of, &puts) == nil {
				for _, p := range puts {
					write(p.PutRequest.Item, 1)
				}
			}
			for _, i := range a.Responses[table] {
				m.sum.reads += readUnits(i.size())
			}
		}
	}
}
