//go:build linux

package bench_test

import (
	"testing"

	"example.com/atm/internal/needs"
)

// slowSyncs has strace run a program whose syncs take 1.5 ms longer, as those of network block
// storage do. Other system calls are not stopped. A disk that waits before it answers a flush
// would do the same; this kernel has no device mapper.
func slowSyncs(b testing.TB) []string {
	b.Helper()
	return []string{
		needs.Program(b, "strace"), "-D", "-f", "-qqq", "--seccomp-bpf", "-o", "/dev/null",
		"-e", "trace=fsync,fdatasync,msync",
		"-e", "inject=fsync,fdatasync,msync:delay_exit=1500",
	}
}

// BenchmarkSlowDisk compares the server with pgbench, and with the commits of bbolt in groups,
// where a sync takes 1.5 ms.
func BenchmarkSlowDisk(b *testing.B) {
	env := newEnvironmentUnder(b, slowSyncs(b)...)
	env.startPostgres(b)
	m := newMeasurements()
	m.rounds(b, env.slowCases(), env.small)
	m.conclude(b, []ratio{
		{"slow-deposit/pgbench-64", rate, "deposit/64", []string{"pgbench/64"}},
		{"slow-deposit/pgbench-16", rate, "deposit/16", []string{"pgbench/16"}},
		{"slow-deposit/group-64", rate, "deposit/64", []string{"group/64"}},
		{"slow-deposit/group-16", rate, "deposit/16", []string{"group/16"}},
		// Commits on one row take turns: each has a sync of its own.
		{"slow-hot/pgbench-hot-64", rate, "hot/64", []string{"pgbench-hot/64"}},
		{"slow-deposit/pgbench-hot-64", rate, "deposit/64", []string{"pgbench-hot/64"}},
		{"slow-alone/commit", p50, "deposit/1", []string{"group/1"}},
	})
}

func (env *environment) slowCases() (all []bench) {
	for _, clients := range []string{"1", "16", "64", "256"} {
		n := number(clients)
		all = append(all,
			bench{"group/" + clients, func(b *testing.B) result { return env.group(b, n) }},
			bench{"deposit/" + clients, func(b *testing.B) result {
				return env.small.load(b, "-clients", clients)
			}})
		if n == 16 || n == 64 {
			all = append(all, bench{"pgbench/" + clients, func(b *testing.B) result {
				return env.pgbench(b, n, anyAccount)
			}})
		}
	}
	return append(all,
		bench{"hot/64", func(b *testing.B) result {
			return env.small.load(b, "-accounts", "1", "-clients", "64")
		}},
		bench{"pgbench-hot/64", func(b *testing.B) result { return env.pgbench(b, 64, "100") }})
}
