//go:build unix

// Package bench_test measures the server in comparison with lower bounds and with other
// servers, in interleaved rounds of one run. The machine is noisy, so only ratios are
// meaningful. make bench runs it; docs/performance.md has the results.
package bench_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	jsonFile = flag.String("json", "", "`file` for all that was measured")
	seconds  = flag.Duration("for", 2*time.Second, "how long each case of a round counts")
	many     = flag.Uint64("many", 1_000_000, "accounts of the large vault")
)

// A result is the measurement of one case in one round, as the load prints it.
type result struct {
	Op      string  `json:"op"`
	Clients int     `json:"clients"`
	Rate    float64 `json:"rate"`            // operations per second
	P50     float64 `json:"p50,omitempty"`   // microseconds
	P99     float64 `json:"p99,omitempty"`   // microseconds
	P999    float64 `json:"p999,omitempty"`  // microseconds
	Cores   float64 `json:"cores,omitempty"` // cores that the load itself used
	// Processor time of the server for an entry of its log, in microseconds.
	Server float64 `json:"server,omitempty"`
	// What the server has after the case, in MB: memory without mapped files, vault.db with its
	// write-ahead log, and the published log. Of BenchmarkGrowth alone.
	Memory float64 `json:"memory,omitempty"`
	Vault  float64 `json:"vault,omitempty"`
	Log    float64 `json:"log,omitempty"`
}

// A bench is a case of a round.
type bench struct {
	name string
	run  func(b *testing.B) result
}

// measurements is the file of -json.
type measurements struct {
	Go     string              `json:"go"`
	Cores  int                 `json:"cores"`
	Rounds map[string][]result `json:"rounds"` // by case
	// Figures are measured once, or computed from the medians.
	Figures map[string]float64 `json:"figures"`
}

// BenchmarkAll runs every case once per round. -benchtime 5x means five rounds.
func BenchmarkAll(b *testing.B) {
	env := newEnvironment(b)
	env.furnish(b)
	m := newMeasurements()
	m.Figures = env.growth(b)
	m.rounds(b, env.cases(), env.small, env.large)
	env.ends(b, m.Figures)
	m.conclude(b, figures)
}

func newMeasurements() *measurements {
	return &measurements{
		Go: runtime.Version(), Cores: runtime.NumCPU(),
		Rounds: make(map[string][]result), Figures: make(map[string]float64),
	}
}

// rounds runs the cases, and has the servers publish what they committed after each.
func (m *measurements) rounds(b *testing.B, cases []bench, servers ...*ourServer) {
	for b.Loop() {
		for _, c := range cases {
			m.Rounds[c.name] = append(m.Rounds[c.name], c.run(b))
			for _, s := range servers {
				s.settle(b)
			}
		}
	}
}

// TestEachKindOfLoadIsMeasured sends a little of each kind of load, so that a broken one is
// noticed before the next measurement.
func TestEachKindOfLoadIsMeasured(t *testing.T) {
	env := newEnvironment(t)
	for _, args := range []string{
		"-op deposit", "-op inquiry", "-op mix", "-op multicall", "-no-ids", "-fresh",
		"-accounts 1", "-split", "-op statement", "-op day -pace 1000",
		"-sign-in digest", "-sign-in token", "-json -op inquiry",
		"-json -op deposit", "-json -op multicall",
	} {
		r := env.small.load(t, append(strings.Fields(args), "-calls", "40", "-clients", "4")...)
		if r.Rate <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

// loaded is a server that can be sent a load.
type loaded interface {
	load(b testing.TB, args ...string) result
}

// cases are the cases of a round. Cases that are compared are close together, because the speed
// of the machine changes from minute to minute.
func (env *environment) cases() []bench {
	var all []bench
	add := func(name string, run func(b *testing.B) result) { all = append(all, bench{name, run}) }
	load := func(t loaded, name, args string) {
		_, clients, _ := strings.Cut(name, "/")
		add(name, func(b *testing.B) result {
			return t.load(b, append(strings.Fields(args), "-clients", clients)...)
		})
	}
	others := func(clients int) {
		add(fmt.Sprintf("python/%d", clients), func(b *testing.B) result {
			return env.python.load(b, "-no-ids", "-clients", fmt.Sprint(clients))
		})
		add(fmt.Sprintf("pgbench/%d", clients), func(b *testing.B) result {
			return env.pgbench(b, clients, anyAccount)
		})
	}
	plain := func(clients int) {
		add(fmt.Sprintf("group/%d", clients), func(b *testing.B) result {
			return env.group(b, clients)
		})
		load(env.small, fmt.Sprintf("inquiry/%d", clients), "-op inquiry")
		load(env.bare, fmt.Sprintf("bare/%d", clients), "-op deposit")
		load(env.small, fmt.Sprintf("deposit/%d", clients), "-op deposit")
	}
	plain(1)
	plain(256)
	plain(16)
	others(16)
	load(env.bare, "bare-fresh/16", "-fresh")
	load(env.small, "fresh/16", "-fresh")
	others(64)
	load(env.large, "million-inquiry/64", "-op inquiry")
	plain(64)
	load(env.large, "million-deposit/64", "-op deposit")
	load(env.bare, "bare-split/64", "-op deposit -split")
	load(env.small, "deposit-split/64", "-op deposit -split")
	load(env.small, "token/64", "-sign-in token")
	load(env.small, "digest/64", "-sign-in digest")
	load(env.small, "multicall/64", "-op multicall")
	load(env.small, "json-multicall/64", "-op multicall -json")
	load(env.small, "json-deposit/64", "-json")
	load(env.small, "deposit-beside/64", "-op deposit")
	load(env.small, "json-inquiry/64", "-op inquiry -json")
	load(env.small, "inquiry-beside/64", "-op inquiry")
	add("pgbench-hot/64", func(b *testing.B) result { return env.pgbench(b, 64, "100") })
	load(env.small, "hot/64", "-accounts 1")
	load(env.small, "mix/64", "-op mix")
	return all
}

// A ratio is a figure: that of one case to another one, or to the sum of two.
type ratio struct {
	name  string
	of    func(result) float64
	above string
	below []string
}

var (
	rate = func(r result) float64 { return r.Rate }
	p50  = func(r result) float64 { return r.P50 }
	p99  = func(r result) float64 { return r.P99 }
	cost = func(r result) float64 { return r.Server }
)

// figures are the ratios of BenchmarkAll.
var figures = []ratio{
	{"deposit/bare-64", rate, "deposit/64", []string{"bare/64"}},
	{"inquiry/bare-64", rate, "inquiry/64", []string{"bare/64"}},
	{"deposit/bare-64, two writes", rate, "deposit-split/64", []string{"bare-split/64"}},
	{"deposit/bare-16", rate, "deposit/16", []string{"bare/16"}},
	{"deposit/bare-256", rate, "deposit/256", []string{"bare/256"}},
	{"deposit/group-64", rate, "deposit/64", []string{"group/64"}},
	{"deposit/python-64", rate, "deposit/64", []string{"python/64"}},
	{"deposit/python-16", rate, "deposit/16", []string{"python/16"}},
	{"deposit/pgbench-64", rate, "deposit/64", []string{"pgbench/64"}},
	{"deposit/pgbench-16", rate, "deposit/16", []string{"pgbench/16"}},
	{"hot/pgbench-hot", rate, "hot/64", []string{"pgbench-hot/64"}},
	{"multicall/deposit-64", rate, "multicall/64", []string{"deposit/64"}},
	{"million/hundred-deposit", rate, "million-deposit/64", []string{"deposit/64"}},
	{"million/hundred-inquiry", rate, "million-inquiry/64", []string{"inquiry/64"}},
	{"digest/certificate", rate, "digest/64", []string{"deposit/64"}},
	{"token/certificate", rate, "token/64", []string{"deposit/64"}},
	{"hot/spread", rate, "hot/64", []string{"deposit/64"}},
	{"fresh/bare-16", rate, "fresh/16", []string{"bare-fresh/16"}},
	{"json/xml-deposit", rate, "json-deposit/64", []string{"deposit-beside/64"}},
	{"json/xml-inquiry", rate, "json-inquiry/64", []string{"inquiry-beside/64"}},
	{"json/xml-multicall", rate, "json-multicall/64", []string{"multicall/64"}},
	{"alone/(commit+bare)", p50, "deposit/1", []string{"group/1", "bare/1"}},
	{"p99-256/p99-16", p99, "deposit/256", []string{"deposit/16"}},
}

// tails are the cases whose p99 is compared with their own median.
var tails = []string{"deposit/16", "deposit/64", "deposit/256", "bare/256"}

// conclude compares the cases within each round, takes the median of the ratios, reports them, and
// writes all to the file of -json.
func (m *measurements) conclude(b *testing.B, ratios []ratio) {
	b.Helper()
	for _, f := range ratios {
		m.Figures[f.name] = m.median(f.above, func(round int) float64 {
			var below float64
			for _, name := range f.below {
				below += f.of(m.Rounds[name][round])
			}
			return f.of(m.Rounds[f.above][round]) / below
		})
	}
	for _, name := range tails {
		if len(m.Rounds[name]) > 0 {
			m.Figures["p99/p50, "+name] = m.median(name, func(round int) float64 {
				return m.Rounds[name][round].P99 / m.Rounds[name][round].P50
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Figures)) {
		b.ReportMetric(m.Figures[name], strings.ReplaceAll(name, " ", "_"))
	}
	b.ReportMetric(0, "ns/op")
	if *jsonFile == "" {
		return
	}
	data, err := json.MarshalIndent(m, "", "  ")
	if err == nil {
		err = os.WriteFile(*jsonFile, append(data, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// median is that of a figure over the rounds of a case.
func (m *measurements) median(name string, figure func(round int) float64) float64 {
	var list []float64
	for round := range m.Rounds[name] {
		list = append(list, figure(round))
	}
	slices.Sort(list)
	return list[len(list)/2]
}
