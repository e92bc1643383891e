//go:build linux

package daemon_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/retention"
	"example.com/atm/internal/needs"
	"example.com/atm/vault"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// openingCents is the balance that init gives account 100.
const openingCents = 1000_00

// told is what clients of a victim were told in all its lives.
type told struct {
	*victim
	answers map[atm.RequestID]client.Answer // as acknowledged
	carried int                             // deposits of which the answer was lost

	trimmedSince int // acknowledged deposits that were in the archive alone when asked for again
	unknown      int // deposits of which the answer was lost and never came
}

// untilItEnds has 8 clients deposit until the server ends. It returns the request ids that were
// acknowledged, and those of which nobody knows.
func (c *told) untilItEnds(t *testing.T, end func()) (known, doubtful []atm.RequestID) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		connection := c.client(t, 1)
		all.Go(func() {
			for {
				id := atm.RequestID(atm.NewUUID(time.Now()))
				a, err := connection.Deposit(t.Context(), daemontest.Account, 1, id)
				var unknown *client.OutcomeUnknownError
				mu.Lock()
				switch {
				case err == nil && a.OK():
					c.answers[id], known = *a, append(known, id)
				case err == nil && a.Code != atm.Unavailable, errors.As(err, &unknown):
					doubtful = append(doubtful, id)
				}
				mu.Unlock()
				if err != nil || !a.OK() {
					return
				}
			}
		})
	}
	end()
	all.Wait()
	return known, doubtful
}

// askAgain repeats request ids on a server that was started again. Each is answered as it was,
// and one whose entry was trimmed meanwhile is refused rather than carried out again.
func (c *told) askAgain(t *testing.T, ids []atm.RequestID) {
	t.Helper()
	var mu sync.Mutex
	work := make(chan atm.RequestID, len(ids))
	for _, id := range ids {
		work <- id
	}
	close(work)
	var all sync.WaitGroup
	connection := c.client(t, 1)
	for range 8 {
		all.Go(func() {
			for id := range work {
				again, err := connection.Deposit(t.Context(), daemontest.Account, 1, id)
				mu.Lock()
				first, known := c.answers[id]
				var unknown *client.OutcomeUnknownError
				switch {
				case err == nil && again.Code == atm.IdempotencyKeyExpired && known &&
					c.trimmed(t, first):
					c.trimmedSince++
				case err == nil && again.Code == atm.IdempotencyKeyExpired && !known,
					errors.As(err, &unknown) && !known:
					c.unknown++
				case err != nil:
					t.Errorf("%s was answered %+v, and is now %v", id, first, err)
				case again.OK() && !known: // before the end, or now, but once
					c.answers[id] = *again
					c.carried++
				case *again != first:
					t.Errorf("%s was answered %+v, and is now %+v", id, first, again)
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// untilTrimmed deposits until an entry is in the archive alone: on a slow machine, the deposits of
// the rounds may not have filled one bundle.
func (c *told) untilTrimmed(t *testing.T) {
	t.Helper()
	connection := c.client(t, 1)
	daemontest.Until(t, func() bool {
		id := atm.RequestID(atm.NewUUID(time.Now()))
		a, err := connection.Deposit(t.Context(), daemontest.Account, 1, id)
		if err != nil || !a.OK() {
			t.Fatalf("%+v, %v", a, err)
		}
		c.answers[id] = *a
		return c.pruned(t) > 0
	})
}

// trimmed reports whether the entry of an answer is in the archive alone. The journal loses it a
// moment before the published log does.
func (c *told) trimmed(t *testing.T, a client.Answer) bool {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); indexOf(t, a) >= c.pruned(t); {
		if time.Now().After(end) {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
}

// pruned is the index of the first entry that the published log has outside of the archive.
func (v *victim) pruned(t *testing.T) int64 {
	t.Helper()
	base, err := archive.ReadPruned(t.Context(), audit.Dir(filepath.Join(v.data, "audit")))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	return base
}

func indexOf(t *testing.T, a client.Answer) int64 {
	t.Helper()
	digits, _, _ := strings.Cut(a.Receipt, " ")
	index, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		t.Errorf("%+v: %v", a, err)
	}
	return index
}

// verify checks everything that a server has left, here and in its archive, against what its
// clients were told. The server is stopped.
func (c *told) verify(t *testing.T) {
	t.Helper()
	for _, problem := range checked(t, offline.Folder{Data: c.data, Archive: c.away}) {
		t.Errorf("fsck: %s", problem)
	}
	away := archive.New(archive.NewFolder(c.away))
	hot := audit.Dir(filepath.Join(c.data, "audit"))
	c.verifyDeposits(t, archive.Over(hot, away))
	sizes, err := away.Sizes(t.Context())
	if err != nil || len(sizes) == 0 {
		t.Fatalf("chapters: %v, %v", sizes, err)
	}
	for _, size := range sizes {
		chapter, err := away.Chapter(t.Context(), size)
		if err != nil {
			t.Fatal(err)
		}
		// The keys beside the log in the folder are those of the server.
		vkey, err := hot.ReadFile(t.Context(), checkpoint.KeyFile, checkpoint.MaxBytes)
		if err != nil {
			t.Fatal(err)
		}
		key := strings.TrimSpace(string(vkey))
		report, err := audit.Verify(t.Context(), away.At(chapter), audit.VerifyOptions{VKey: key})
		if err != nil || !report.OK() || report.Size != size {
			t.Errorf("chapter of %d entries: %+v, %v", size, report, err)
			continue
		}
		log, err := audit.OpenLog(t.Context(), away.At(chapter), key)
		if err != nil {
			t.Fatal(err)
		}
		taken, err := retention.Find(t.Context(), log, size)
		if err == nil {
			err = away.ReadBack(t.Context(), chapter, strings.Split(key, "\n"), 0, size, taken.Sum)
		}
		if err != nil {
			t.Errorf("chapter of %d entries: %v", size, err)
		}
	}
	_, trail := everything(t, c.data)
	if trail.Base.Index == 0 {
		t.Error("nothing was trimmed")
	}
	t.Logf("%d chapters, the newest of %d entries; the journal begins at %d", len(sizes),
		sizes[len(sizes)-1], trail.Base.Index)
	c.verifyRebuilt(t)
}

// verifyDeposits reads the whole log from entry 0: each deposit that was acknowledged is in it
// once.
func (c *told) verifyDeposits(t *testing.T, whole audit.Files) {
	t.Helper()
	type deposit struct{ receipt, request string }
	var found []deposit
	report, err := audit.Verify(t.Context(), whole, audit.VerifyOptions{
		Entry: func(index int64, leaf []byte) error {
			if index == 0 {
				found = nil
			}
			e, err := audit.ParseEntry(leaf)
			if err == nil && e.Operation == atm.Deposit && e.ReplayOf < 0 &&
				e.Status.Code == atm.OK {
				found = append(found, deposit{
					audit.Receipt(index, merkle.LeafHash(leaf)), e.Request,
				})
			}
			return err
		},
	})
	if err != nil || !report.OK() {
		t.Fatalf("the log with its archive: %+v, %v", report, err)
	}
	receipts, requests := make(map[string]bool), make(map[string]bool)
	for _, d := range found {
		if requests[d.request] {
			t.Errorf("a request id was carried out twice: %s", d.receipt)
		}
		receipts[d.receipt], requests[d.request] = true, true
	}
	for id, a := range c.answers {
		if !receipts[a.Receipt] {
			t.Errorf("%s was answered %+v, which is not in the log", id, a)
		}
	}
	if unknown := len(found) - len(c.answers); unknown < 0 || unknown > c.unknown {
		t.Errorf("%d deposits are in the log, %d were acknowledged", len(found), len(c.answers))
	}
	part, _ := everything(t, c.data)
	for _, account := range part.Accounts {
		want := atm.Amount(openingCents + len(found))
		if account.Name == "100" && account.Balance != want {
			t.Errorf("the balance is %s, want %s", account.Balance, want)
		}
	}
}

// verifyRebuilt rebuilds a folder from the keys and the archive, and what was published after it.
// It has the same records.
func (c *told) verifyRebuilt(t *testing.T) {
	t.Helper()
	fresh := filepath.Join(t.TempDir(), "atm-data")
	keysOf(t, c.data, fresh)
	if err := os.CopyFS(filepath.Join(fresh, "audit"),
		os.DirFS(filepath.Join(c.data, "audit"))); err != nil {
		t.Fatal(err)
	}
	if _, err := (offline.Folder{Data: fresh, Archive: c.away}).RebuildFrom(t.Context(),
		daemontest.Discard); err != nil {
		t.Fatal(err)
	}
	before, _ := everything(t, c.data)
	after, _ := everything(t, fresh)
	operatorAnew := cmpopts.IgnoreFields(vault.Records{}, "Certificates", "Revocations")
	if diff := gocmp.Diff(before.Records, after.Records, operatorAnew); diff != "" {
		t.Errorf("what is rebuilt has other records: %s", diff)
	}
}

// calls are the system calls with which chapters are written, journals trimmed and files removed,
// and how many of each there are in a second or so.
var calls = map[string]int{
	"linkat": 60, "unlinkat": 120, "renameat": 60, "fsync": 200, "fdatasync": 150, "openat": 400,
	"pwrite64": 200, "write": 2000, "mkdirat": 20, "getdents64": 40,
}

// TestKillsWhileArchivingLoseNothing kills a server with SIGKILL while 8 clients deposit, and while
// it archives and trims: at random moments, at system calls, and at system calls of a start.
func TestKillsWhileArchivingLoseNothing(t *testing.T) {
	t.Parallel()
	daemontest.Single(t, "replicas have their own test")
	needs.Program(t, "strace")
	rounds := 6
	if os.Getenv("ATM_SOAK") != "" {
		rounds = 100
	}
	folder := t.TempDir()
	c := &told{
		victim:  newVictim(t, filepath.Join(folder, "atm-data"), filepath.Join(folder, "archive")),
		answers: make(map[atm.RequestID]client.Answer),
	}
	names := slices.Sorted(maps.Keys(calls))
	left := make(map[string]int)
	for round := range rounds {
		call := names[rand.IntN(len(names))]
		n := 1 + rand.IntN(calls[call])
		how := fmt.Sprintf("%s %d", call, n)
		known, doubtful := c.untilItEnds(t, func() {
			longest := 4 * time.Second
			if round%3 == 0 {
				how, longest = "random", time.Duration(rand.Int64N(int64(2*time.Second)))
			} else {
				c.killAt(t, call, n)
			}
			select {
			case <-c.ended:
			case <-time.After(longest): // it does not make as many such calls
				c.kill()
			}
		})
		for what, count := range c.unfinished(t) {
			left[what] += count
		}
		if round%3 == 2 {
			how += ", and at the start"
			c.killStart(t, call, 1+rand.IntN(20))
		}
		c.start(t)
		// The newest first: they are trimmed last.
		slices.Reverse(known)
		c.askAgain(t, append(doubtful, known[:min(len(known), 200)]...))
		if t.Failed() {
			t.Fatalf("round %d: killed at %s", round, how)
		}
	}
	c.untilTrimmed(t)
	c.stop(t)
	c.verify(t)
	t.Logf("%d kills, %d deposits, %d of them in doubt, %d trimmed when they were asked again; "+
		"left by the kills: %v", rounds+rounds/3, len(c.answers), c.carried+c.unknown,
		c.trimmedSince+c.unknown, left)
}

// killStart starts the server and kills it at the nth system call of this name.
func (v *victim) killStart(t *testing.T, call string, n int) {
	t.Helper()
	v.begin(t, "strace", "-f", "-qqq", "-o", os.DevNull, "-e", "trace="+call, "-e",
		fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n))
	v.answers()
	v.kill() // if it got as far as that
}
