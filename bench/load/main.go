//go:build unix

// Load calls an XML-RPC server of bank accounts from many connections at once,
// as fast as it answers, and says how many calls were answered and how long they
// took. It knows nothing of the packages that it measures: the requests are made
// by hand, so what it costs itself is little, and it says how much.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// settings are the flags.
type settings struct {
	servers  []string
	plain    bool
	ca, cert string
	key      string
	user     string
	secret   string
	token    string
	op       string
	clients  int
	accounts uint64
	first    uint64
	from     uint64
	owner    string
	opening  string
	fresh    bool
	split    bool
	pace     int
	limit    int
	noIDs    bool
	any      bool
	json     bool
	opened   atomic.Uint64 // accounts that are being opened
	warm     time.Duration
	measured time.Duration
	calls    int64
}

// A Result is what a run measured. Times are in microseconds.
type Result struct {
	Op      string  `json:"op"`
	Clients int     `json:"clients"`
	Seconds float64 `json:"seconds"`
	Calls   int     `json:"calls"`
	Rate    float64 `json:"rate"` // operations in a second; a multicall has many
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
	Cores   float64 `json:"cores"` // of processor time that the load itself took
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var s settings
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	servers := flags.String("server", "localhost:9000", "`address` to call; several, with "+
		"commas, take turns")
	flags.BoolVar(&s.plain, "plain", false, "without TLS")
	flags.StringVar(&s.ca, "ca", "", "`file` of the authority of the server")
	flags.StringVar(&s.cert, "cert", "", "`file` of the client certificate; none without it")
	flags.StringVar(&s.key, "key", "", "`file` of its key")
	flags.StringVar(&s.user, "user", "", "`name` to sign in with by HTTP Digest")
	flags.StringVar(&s.secret, "secret-file", "", "`file` of the user's secret")
	flags.StringVar(&s.token, "token-file", "", "`file` of a bearer token")
	flags.StringVar(&s.op, "op", "deposit", "inquiry, deposit, transfer, statement, "+
		"mix (four inquiries for a deposit), day (a statement, two transfers, three deposits and "+
		"four inquiries), multicall (100 deposits) or open (100 accounts)")
	flags.IntVar(&s.clients, "clients", 64, "`number` of connections")
	flags.Uint64Var(&s.first, "first", 100, "first account")
	flags.Uint64Var(&s.accounts, "accounts", 1, "`number` of accounts from the first one on")
	flags.Uint64Var(&s.from, "from", 0, "`account` that transfers leave; 0 for any")
	flags.StringVar(&s.owner, "owner", "user:bench", "whose accounts are opened")
	flags.StringVar(&s.opening, "opening", "1000.00", "what is in accounts that are opened, in "+
		"`dollars`")
	flags.BoolVar(&s.fresh, "fresh", false, "a new connection for each call")
	flags.BoolVar(&s.split, "split", false, "head and body of a request in two writes, as many "+
		"clients do it")
	flags.IntVar(&s.pace, "pace", 0, "`number` of calls in a second, over all connections; 0 for "+
		"as many as are answered")
	flags.IntVar(&s.limit, "limit", 50, "`number` of entries of a statement")
	flags.BoolVar(&s.noIDs, "no-ids", false, "deposits without request ids")
	flags.BoolVar(&s.any, "any", false, "answers need not be OK")
	flags.BoolVar(&s.json, "json", false, "inquiry, deposit or multicall as JSON; not with HTTP "+
		"Digest")
	flags.DurationVar(&s.warm, "warm", 500*time.Millisecond, "time before it counts")
	flags.DurationVar(&s.measured, "for", 3*time.Second, "time that it counts")
	flags.Int64Var(&s.calls, "calls", 0,
		"end after `number` calls, and count from the first one on")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s.servers = strings.Split(*servers, ",")
	if flags.NArg() > 0 || s.clients < 1 || s.accounts < 1 {
		return errors.New("usage: load [flags]")
	}
	if s.json && (s.user != "" || jsonPaths[s.op] == "") {
		return errors.New("-json is for inquiry, deposit and multicall, and not for HTTP Digest")
	}
	debug.SetGCPercent(400) // what the load costs is no figure of the server's
	result, err := measure(ctx, &s)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// measure runs the load. Calls count that were answered within the time that
// counts; the first error ends it.
func measure(ctx context.Context, s *settings) (*Result, error) {
	config, err := s.tls()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	callers, err := newCallers(ctx, s, config)
	if err != nil {
		return nil, err
	}
	var left atomic.Int64
	left.Store(s.calls)
	var counting atomic.Bool
	counting.Store(s.calls > 0)
	var wg sync.WaitGroup
	begun, used := time.Now(), processorTime()
	for _, c := range callers {
		wg.Go(func() {
			defer c.close()
			for ctx.Err() == nil {
				if s.calls > 0 && left.Add(-1) < 0 {
					return
				}
				c.wait(ctx)
				from := time.Now()
				err := c.call(ctx)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					cancel(err)
					return
				}
				if counting.Load() {
					c.took = append(c.took, time.Since(from))
				}
			}
		})
	}
	if s.calls == 0 {
		rest(ctx, s.warm)
		counting.Store(true)
		begun, used = time.Now(), processorTime()
		rest(ctx, s.measured)
		counting.Store(false)
	} else {
		wg.Wait()
	}
	elapsed, spent := time.Since(begun), processorTime()-used
	err = context.Cause(ctx)
	cancel(nil)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	return summary(s, callers, elapsed, spent)
}

// newCallers returns the callers, connected unless each call has a connection of its own.
func newCallers(ctx context.Context, s *settings, config *tls.Config) ([]*caller, error) {
	callers := make([]*caller, s.clients)
	for i := range callers {
		var err error
		if callers[i], err = newCaller(s, config, i); err != nil {
			return nil, err
		}
		if s.fresh || s.plain {
			continue
		}
		if err := callers[i].connect(ctx); err != nil {
			return nil, err
		}
	}
	return callers, nil
}

// summary is the result of calls that took so long, and so much of the processor.
func summary(s *settings, callers []*caller, elapsed, spent time.Duration) (*Result, error) {
	var took []time.Duration
	for _, c := range callers {
		took = append(took, c.took...)
	}
	if len(took) == 0 {
		return nil, errors.New("no call was answered in time")
	}
	slices.Sort(took)
	at := func(share float64) float64 {
		return float64(took[int(share*float64(len(took)-1))].Nanoseconds()) / 1e3
	}
	return &Result{
		Op: s.op, Clients: s.clients, Seconds: elapsed.Seconds(), Calls: len(took),
		Rate: float64(len(took)*callers[0].each) / elapsed.Seconds(),
		P50:  at(0.5), P99: at(0.99), P999: at(0.999),
		Cores: spent.Seconds() / elapsed.Seconds(),
	}, nil
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// processorTime is how much this process has used of all cores.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
