//go:build unix

package bench_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"
)

// BenchmarkMillionsOfEntries fills a log, and then measures what could grow with it: how long the
// server takes to start, and a page of 50 entries of the statement of a busy account.
func BenchmarkMillionsOfEntries(b *testing.B) {
	const entries = 10_000_000
	env := newEnvironment(b)
	s := env.small
	s.load(b, "-op", "multicall", "-clients", "16", "-calls", fmt.Sprint(entries/100))
	s.settle(b)
	var starts, pages []float64
	for b.Loop() {
		s.stop(b)
		starts = append(starts, float64(s.start(b).Microseconds())/1e3)
		pages = append(pages, s.load(b, "-op", "statement", "-clients", "1").P50/1e3)
	}
	slices.Sort(starts)
	slices.Sort(pages)
	b.ReportMetric(starts[len(starts)/2], "start-ms")
	b.ReportMetric(pages[len(pages)/2], "statement-page-ms")
	b.ReportMetric(s.resident(b), "resident-MB")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkDay sends a mixed load of 500 calls a second for twenty minutes, and prints the
// processor time of the server for an entry, and its memory, minute by minute.
func BenchmarkDay(b *testing.B) {
	env := newEnvironment(b)
	s := env.small
	for b.Loop() {
		ended := time.Now().Add(20 * time.Minute)
		for minute := 1; time.Now().Before(ended); minute++ {
			r := s.load(b, "-op", "day", "-pace", "500", "-clients", "16", "-for", "1m")
			fmt.Fprintf(os.Stderr, "minute %d: %.0f µs of the processor, p50 %.0f µs, p99 %.0f "+
				"µs, %.0f MB of its own\n", minute, r.Server, r.P50, r.P99,
				s.memory(b, "RssAnon:"))
		}
	}
	b.ReportMetric(0, "ns/op")
}

// number is one that a benchmark wrote down, or was told.
func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(err)
	}
	return n
}
