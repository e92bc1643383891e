//go:build linux

package bench_test

import (
	"fmt"
	"testing"

	"example.com/atm/internal/needs"
)

// onOneCore has taskset run a program and its threads on the first core alone.
func onOneCore(b testing.TB) []string {
	b.Helper()
	return []string{needs.Program(b, "taskset"), "-c", "0"}
}

// BenchmarkCores has a server and its load share one core, and then two, and compares how much
// they do, and what an operation costs the server.
func BenchmarkCores(b *testing.B) {
	one, two := newEnvironmentUnder(b, onOneCore(b)...), newEnvironment(b)
	one.loader = onOneCore(b)
	var cases []bench
	var ratios []ratio
	for _, op := range []string{"deposit", "inquiry", "multicall"} {
		for i, env := range []*environment{one, two} {
			name := fmt.Sprintf("%s by cores/%d", op, i+1)
			cases = append(cases, bench{name, func(b *testing.B) result {
				return env.small.load(b, "-op", op, "-clients", "64")
			}})
		}
		ratios = append(ratios, ratio{
			"two cores/one-" + op, rate, op + " by cores/2", []string{op + " by cores/1"},
		}, ratio{
			"cost on two cores/one-" + op, cost, op + " by cores/2", []string{op + " by cores/1"},
		})
	}
	m := newMeasurements()
	m.rounds(b, cases, one.small, two.small)
	m.conclude(b, ratios)
}

// BenchmarkGrowth has each round deposit 100,000 times more, and then measures the memory of the
// server without mapped files, the size of the vault, and that of the published log.
func BenchmarkGrowth(b *testing.B) {
	const deposits = 100_000
	s, m := newEnvironment(b).small, newMeasurements()
	for sum := deposits; b.Loop(); sum += deposits {
		r := s.load(b, "-calls", fmt.Sprint(deposits))
		s.settle(b)
		r.Memory = s.memory(b, "RssAnon:")
		vault := size(b, s.data+"/vault.db") + size(b, s.data+"/vault.db-wal")
		r.Vault, r.Log = float64(vault)/1e6, float64(size(b, s.data+"/audit"))/1e6
		m.Rounds[fmt.Sprintf("growth/%d", sum)] = []result{r}
	}
	m.conclude(b, nil)
}
