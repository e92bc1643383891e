//go:build unix

// Package bench_test measures the server in comparison with lower bounds and with other
// servers, in interleaved rounds of one run. The machine is noisy, so only ratios are
// meaningful. make bench runs it; docs/performance.md has the results.
package bench_test

import (
	"encoding/json"
	"flag"
	"fmt"
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
	m := measurements{
		Go: runtime.Version(), Cores: runtime.NumCPU(),
		Rounds: make(map[string][]result), Figures: env.growth(b),
	}
	cases := env.cases()
	for b.Loop() {
		for _, c := range cases {
			m.Rounds[c.name] = append(m.Rounds[c.name], c.run(b))
			env.small.settle(b)
			env.large.settle(b)
		}
	}
	env.ends(b, m.Figures)
	m.conclude()
	for _, name := range slices.Sorted(keys(m.Figures)) {
		b.ReportMetric(m.Figures[name], name)
	}
	b.ReportMetric(0, "ns/op")
	if *jsonFile == "" {
		return
	}
	data, err := json.MarshalIndent(&m, "", "  ")
	if err == nil {
		err = os.WriteFile(*jsonFile, append(data, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// TestEachKindOfLoadIsMeasured sends a little of each kind of load, so that a broken one is
// noticed before the next measurement.
func TestEachKindOfLoadIsMeasured(t *testing.T) {
	env := newEnvironment(t)
	for _, args := range []string{
		"-op deposit", "-op inquiry", "-op mix", "-op multicall", "-no-ids", "-fresh",
		"-accounts 1", "-sign-in digest", "-sign-in token", "-json -op inquiry",
		"-json -op deposit", "-json -op multicall",
	} {
		r := env.small.load(t, append(strings.Fields(args), "-calls", "40", "-clients", "4")...)
		if r.Rate <= 0 || r.P50 <= 0 || r.P99 < r.P50 {
			t.Errorf("%s: %+v", args, r)
		}
	}
}

func keys(m map[string]float64) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
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
			return env.pgbench(b, clients)
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
	load(env.small, "token/64", "-sign-in token")
	load(env.small, "digest/64", "-sign-in digest")
	load(env.large, "million-deposit/64", "-op deposit")
	load(env.small, "multicall/64", "-op multicall")
	load(env.small, "json-multicall/64", "-op multicall -json")
	load(env.small, "json-deposit/64", "-json")
	load(env.small, "deposit-beside/64", "-op deposit")
	load(env.small, "json-inquiry/64", "-op inquiry -json")
	load(env.small, "inquiry-beside/64", "-op inquiry")
	load(env.small, "hot/64", "-accounts 1")
	load(env.small, "mix/64", "-op mix")
	return all
}

// conclude compares the cases within each round, and takes the median of the ratios.
func (m *measurements) conclude() {
	rate := func(r result) float64 { return r.Rate }
	p50 := func(r result) float64 { return r.P50 }
	p99 := func(r result) float64 { return r.P99 }
	of := func(name string, column func(result) float64) []float64 {
		var list []float64
		for _, r := range m.Rounds[name] {
			list = append(list, column(r))
		}
		return list
	}
	ratio := func(a, b []float64) float64 {
		ratios := make([]float64, len(a))
		for i := range a {
			ratios[i] = a[i] / b[i]
		}
		slices.Sort(ratios)
		return ratios[len(ratios)/2]
	}
	sum := func(a, b []float64) []float64 {
		for i := range a {
			a[i] += b[i]
		}
		return a
	}
	for figure, names := range map[string][2]string{
		"deposit/bare-64":         {"deposit/64", "bare/64"},
		"inquiry/bare-64":         {"inquiry/64", "bare/64"},
		"deposit/bare-16":         {"deposit/16", "bare/16"},
		"deposit/bare-256":        {"deposit/256", "bare/256"},
		"deposit/group-64":        {"deposit/64", "group/64"},
		"deposit/python-64":       {"deposit/64", "python/64"},
		"deposit/python-16":       {"deposit/16", "python/16"},
		"deposit/pgbench-64":      {"deposit/64", "pgbench/64"},
		"deposit/pgbench-16":      {"deposit/16", "pgbench/16"},
		"multicall/deposit-64":    {"multicall/64", "deposit/64"},
		"million/hundred-deposit": {"million-deposit/64", "deposit/64"},
		"million/hundred-inquiry": {"million-inquiry/64", "inquiry/64"},
		"digest/certificate":      {"digest/64", "deposit/64"},
		"token/certificate":       {"token/64", "deposit/64"},
		"hot/spread":              {"hot/64", "deposit/64"},
		"fresh/bare-16":           {"fresh/16", "bare-fresh/16"},
		"json/xml-deposit":        {"json-deposit/64", "deposit-beside/64"},
		"json/xml-inquiry":        {"json-inquiry/64", "inquiry-beside/64"},
		"json/xml-multicall":      {"json-multicall/64", "multicall/64"},
	} {
		m.Figures[figure] = ratio(of(names[0], rate), of(names[1], rate))
	}
	m.Figures["alone/(commit+bare)"] = ratio(of("deposit/1", p50),
		sum(of("group/1", p50), of("bare/1", p50)))
	m.Figures["p99-256/p99-16"] = ratio(of("deposit/256", p99), of("deposit/16", p99))
}
