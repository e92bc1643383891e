// Package bench_test measures the server against what is possible and against what
// others do, in interleaved rounds of one run: this machine is noisy, so only
// ratios of medians mean something. make bench runs it; docs/performance.md has
// what it found.
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

// A result is what the load measured in one case of one round, as it prints it.
type result struct {
	Op      string  `json:"op"`
	Clients int     `json:"clients"`
	Rate    float64 `json:"rate"`            // operations in a second
	P50     float64 `json:"p50,omitempty"`   // microseconds
	P99     float64 `json:"p99,omitempty"`   // microseconds
	P999    float64 `json:"p999,omitempty"`  // microseconds
	Cores   float64 `json:"cores,omitempty"` // of processor time that the load itself took
}

// A bench is a case of a round.
type bench struct {
	name string
	run  func(b *testing.B) result
}

// measurements are what -json writes.
type measurements struct {
	Go      string              `json:"go"`
	Cores   int                 `json:"cores"`
	Rounds  map[string][]result `json:"rounds"`  // by case
	Figures map[string]float64  `json:"figures"` // what is measured once, or follows from the medians
}

// BenchmarkAll runs every case once a round. With -benchtime 5x there are five.
func BenchmarkAll(b *testing.B) {
	h := newHall(b)
	h.furnish(b)
	m := measurements{
		Go: runtime.Version(), Cores: runtime.NumCPU(),
		Rounds: make(map[string][]result), Figures: h.growth(b),
	}
	cases := h.cases()
	for b.Loop() {
		for _, c := range cases {
			m.Rounds[c.name] = append(m.Rounds[c.name], c.run(b))
		}
	}
	h.ends(b, m.Figures)
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

// TestLoad sends a little of each kind of load, so that nobody finds out when it
// is needed that it does not work.
func TestLoad(t *testing.T) {
	h := newHall(t)
	for _, args := range []string{
		"-op deposit", "-op inquiry", "-op mix", "-op multicall", "-no-ids", "-fresh", "-accounts 1", "-sign-in digest", "-sign-in token",
	} {
		r := h.small.load(t, append(strings.Fields(args), "-calls", "40", "-clients", "4")...)
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

// cases are all of a round, those that are held against each other close together.
func (h *hall) cases() []bench {
	var all []bench
	add := func(name string, run func(b *testing.B) result) { all = append(all, bench{name, run}) }
	for _, clients := range []int{1, 16, 64, 256} {
		add(fmt.Sprintf("bare/%d", clients), func(b *testing.B) result { return h.bare.load(b, "-op", "deposit", "-clients", fmt.Sprint(clients)) })
		for _, op := range []string{"deposit", "inquiry"} {
			add(fmt.Sprintf("%s/%d", op, clients), func(b *testing.B) result { return h.small.load(b, "-op", op, "-clients", fmt.Sprint(clients)) })
		}
		add(fmt.Sprintf("group/%d", clients), func(b *testing.B) result { return h.group(b, clients) })
		if clients != 16 && clients != 64 {
			continue
		}
		add(fmt.Sprintf("python/%d", clients), func(b *testing.B) result { return h.python.load(b, "-no-ids", "-clients", fmt.Sprint(clients)) })
		add(fmt.Sprintf("pgbench/%d", clients), func(b *testing.B) result { return h.pgbench(b, clients) })
	}
	for name, args := range map[string]string{
		"mix/64":       "-op mix",
		"multicall/64": "-op multicall",
		"digest/64":    "-sign-in digest",
		"token/64":     "-sign-in token",
		"hot/64":       "-accounts 1",
		"fresh/16":     "-fresh -clients 16",
	} {
		add(name, func(b *testing.B) result { return h.small.load(b, strings.Fields(args)...) })
	}
	add("bare-fresh/16", func(b *testing.B) result { return h.bare.load(b, "-fresh", "-clients", "16") })
	for _, op := range []string{"deposit", "inquiry"} {
		add("million-"+op+"/64", func(b *testing.B) result { return h.large.load(b, "-op", op) })
	}
	slices.SortStableFunc(all[len(all)-9:], func(a, b bench) int { return strings.Compare(a.name, b.name) })
	return all
}

// conclude holds the medians against each other.
func (m *measurements) conclude() {
	rate := func(name string) float64 { return median(m.Rounds[name], func(r result) float64 { return r.Rate }) }
	at := func(of func(result) float64) func(string) float64 {
		return func(name string) float64 { return median(m.Rounds[name], of) }
	}
	p50, p99 := at(func(r result) float64 { return r.P50 }), at(func(r result) float64 { return r.P99 })
	for name, figure := range map[string]float64{
		"deposit/bare-64":         rate("deposit/64") / rate("bare/64"),
		"inquiry/bare-64":         rate("inquiry/64") / rate("bare/64"),
		"deposit/bare-16":         rate("deposit/16") / rate("bare/16"),
		"deposit/bare-256":        rate("deposit/256") / rate("bare/256"),
		"deposit/group-64":        rate("deposit/64") / rate("group/64"),
		"deposit/python-64":       rate("deposit/64") / rate("python/64"),
		"deposit/python-16":       rate("deposit/16") / rate("python/16"),
		"deposit/pgbench-64":      rate("deposit/64") / rate("pgbench/64"),
		"deposit/pgbench-16":      rate("deposit/16") / rate("pgbench/16"),
		"multicall/deposit-64":    rate("multicall/64") / rate("deposit/64"),
		"alone/(commit+bare)":     p50("deposit/1") / (p50("group/1") + p50("bare/1")),
		"p99-256/p99-16":          p99("deposit/256") / p99("deposit/16"),
		"million/hundred-deposit": rate("million-deposit/64") / rate("deposit/64"),
		"million/hundred-inquiry": rate("million-inquiry/64") / rate("inquiry/64"),
		"digest/certificate":      rate("digest/64") / rate("deposit/64"),
		"token/certificate":       rate("token/64") / rate("deposit/64"),
		"hot/spread":              rate("hot/64") / rate("deposit/64"),
		"fresh/bare-16":           rate("fresh/16") / rate("bare-fresh/16"),
	} {
		m.Figures[name] = figure
	}
}

func median(rounds []result, of func(result) float64) float64 {
	var figures []float64
	for _, r := range rounds {
		figures = append(figures, of(r))
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}
