//go:build unix

package retention_test

import (
	"slices"
	"syscall"
	"testing"
	"time"
)

// BenchmarkOperationsWhileArchiving compares operations without an archive and with one. Window and
// chapters are a twentieth of them: of 4,000,000 operations, chapters are as large as those of
// 20,000,000 with a window of a tenth. Rounds take turns, so that what else the machine does slows
// both. It reports medians: the rates, the second as a share of the first, and the processor time
// of archiving for each entry.
func BenchmarkOperationsWhileArchiving(b *testing.B) {
	n := max(operationsOf(b), 4_000_000)
	var without, archiving, share, archive []float64
	for b.Loop() {
		rate, cost := operate(b, n, 0)
		archivingRate, archivingCost := operate(b, n, time.Duration(n/20)*perOperation)
		without, archiving = append(without, rate), append(archiving, archivingRate)
		share = append(share, archivingRate/rate)
		archive = append(archive, archivingCost-cost)
	}
	for name, values := range map[string][]float64{
		"without-op/s": without, "archiving-op/s": archiving, "archiving/without": share,
		"archive-µs/op": archive,
	} {
		slices.Sort(values)
		b.ReportMetric(values[len(values)/2], name)
	}
	b.ReportMetric(0, "ns/op")
}

// operate makes n operations, and returns how many there were in a second and the microseconds of
// the processor that each cost. The archive is never more than two chapters behind.
func operate(b *testing.B, n int, keep time.Duration) (perSecond, cost float64) {
	const pieces, accounts = 100, 1000
	k := newBankEvery(b, keep, keep)
	k.accounts(b, accounts)
	stop := func() {}
	if keep > 0 {
		stop = k.archiving(b)
	}
	begun, used := time.Now(), processor(b)
	for range pieces {
		k.deposit(b, n/pieces, accounts)
		if keep > 0 {
			k.await(b, n/10)
		}
	}
	perSecond = float64(n) / time.Since(begun).Seconds()
	if keep > 0 {
		k.await(b, n/20)
	}
	cost = float64((processor(b) - used).Microseconds()) / float64(n)
	stop()
	k.stop()
	return perSecond, cost
}

// processor is the processor time of this process so far.
func processor(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
