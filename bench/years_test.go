//go:build unix

package bench_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkMillionsOfEntries fills a log, and then measures what could grow with it: how long the
// server takes to start, a page of 50 entries of the statement of a busy account and the longest
// one of 500, and backup, restore and fsck.
func BenchmarkMillionsOfEntries(b *testing.B) {
	const entries = 10_000_000
	env := newEnvironment(b)
	s := env.small
	s.load(b, "-op", "multicall", "-clients", "16", "-calls", fmt.Sprint(entries/perMulticall))
	s.settle(b)
	all, _ := s.log(b)
	figures := make(map[string][]float64)
	note := func(name string, value float64) { figures[name] = append(figures[name], value) }
	// each notes the time of a program for an entry, in microseconds.
	each := func(name string, run func()) {
		begun := time.Now()
		run()
		note(name+"-µs/entry", float64(time.Since(begun).Microseconds())/all)
	}
	for b.Loop() {
		s.stop(b)
		note("start-ms", float64(s.start(b).Microseconds())/1e3)
		note("statement-50-ms", s.load(b, "-op", "statement", "-clients", "1").P50/1e3)
		note("statement-500-ms", s.load(b, "-op", "statement", "-limit", "500", "-clients",
			"1").P50/1e3)
		file, restored := filepath.Join(s.dir, "backup.tar"), filepath.Join(s.dir, "restored")
		each("backup", func() { s.ctl(b, "backup", file) })
		s.stop(b)
		each("fsck", func() { command(b, env.program("atmctl"), "fsck", "--data", s.data) })
		each("restore", func() {
			command(b, env.program("atmctl"), "restore", file, "--data", restored)
		})
		s.start(b)
		if err := errors.Join(os.Remove(file), os.RemoveAll(restored)); err != nil {
			b.Fatal(err)
		}
	}
	for name, list := range figures {
		slices.Sort(list)
		b.ReportMetric(list[len(list)/2], name)
	}
	b.ReportMetric(s.resident(b), "resident-MB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDay sends a mixed load of 2,000 calls a second for eight minutes, and prints the
// processor time of the server for an entry, and its memory, minute by minute.
func BenchmarkDay(b *testing.B) {
	env := newEnvironment(b)
	s := env.small
	for b.Loop() {
		ended := time.Now().Add(8 * time.Minute)
		for minute := 1; time.Now().Before(ended); minute++ {
			r := s.load(b, "-op", "day", "-pace", "2000", "-clients", "16", "-for", "1m")
			fmt.Fprintf(os.Stderr, "minute %d: %.0f µs of the processor, p50 %.0f µs, p99 %.0f "+
				"µs, %.0f MB of its own\n", minute, r.Server, r.P50, r.P99,
				s.memory(b, "RssAnon:"))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// perMulticall is how many deposits the load puts into a multicall.
const perMulticall = 100

// number is one that a benchmark wrote down, or was told.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}
