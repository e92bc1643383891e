package monitor_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/auth"
	"example.com/atm/monitor"
	"example.com/atm/teller/replay"
)

// A watch is a monitor of a published log, and what it found.
type watch struct {
	*monitor.Monitor
	files  *shifting
	alarms []monitor.Alarm
}

// shifting are files that can become those of another folder.
type shifting struct {
	dir   audit.Dir
	gone  bool
	reads atomic.Int64 // files so far
}

var errGone = errors.New("the server is not reached")

// ReadFile implements audit.Files.
func (s *shifting) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	s.reads.Add(1)
	if s.gone {
		return nil, errGone
	}
	return s.dir.ReadFile(ctx, name, limit)
}

func newWatch(t *testing.T, published, copy string, keys []string, silence time.Duration) *watch {
	t.Helper()
	w := &watch{files: &shifting{dir: audit.Dir(published)}}
	var err error
	w.Monitor, err = monitor.New(monitor.Config{
		Files: w.files, Dir: copy, Keys: keys, Rules: replay.Rules{Permit: auth.Permit},
		Silence: silence, Alarm: func(a monitor.Alarm) { w.alarms = append(w.alarms, a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// round looks once, and returns the alarms that are not about the content of entries: those of
// these logs say nothing that a bank does.
func (w *watch) round(t *testing.T, now time.Time) []monitor.Alarm {
	t.Helper()
	w.alarms = nil
	if err := w.Round(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(w.alarms, func(a monitor.Alarm) bool {
		return a.Code == monitor.RuleBroken
	})
}

// publish publishes a log in a new folder.
func publish(t *testing.T, l *audittest.Log) string {
	t.Helper()
	dir := t.TempDir()
	audittest.PublishIn(t, dir, l)
	return dir
}

func TestMonitorFollowsALogAndKeepsACopyThatVerifies(t *testing.T) {
	l := audittest.NewOf(t, 1000)
	copy := t.TempDir()
	w := newWatch(t, publish(t, l), copy, l.Signer.Keys(), 0)
	for _, more := range []int{0, 1, 255, 700} {
		l.Grow(t, more)
		w.files.dir = audit.Dir(publish(t, l))
		if alarms := w.round(t, audittest.Time); len(alarms) > 0 ||
			w.Size() != int64(len(l.Leaves)) {
			t.Fatalf("%d of %d entries: %+v", w.Size(), len(l.Leaves), alarms)
		}
		r := audittest.Verify(t, copy, audit.VerifyOptions{VKey: l.Signer.Keys()[0]})
		if !r.OK() || r.Size != int64(len(l.Leaves)) {
			t.Fatalf("the copy: %+v", r)
		}
	}
	l.Grow(t, 10)
	other := newWatch(t, publish(t, l), copy, l.Signer.Keys(), 0)
	if alarms := other.round(t, audittest.Time); len(alarms) > 0 ||
		other.Size() != int64(len(l.Leaves)) {
		t.Errorf("another process goes on with %+v", alarms)
	}
}

func TestMonitorTellsAForkAndItsFirstEntry(t *testing.T) {
	l := audittest.NewOf(t, 700)
	for _, size := range []int{700, 900} {
		w := newWatch(t, publish(t, l), t.TempDir(), l.Signer.Keys(), 0)
		w.round(t, audittest.Time)
		w.files.dir = audit.Dir(publish(t, l.Forked(t, size)))
		for range 2 { // it goes on to say so, once to whom it told
			alarms := w.round(t, audittest.Time)
			if len(alarms) == 1 && alarms[0].Code == audit.RolledBack && alarms[0].Index == 5 {
				break
			}
			t.Fatalf("%+v", alarms)
		}
		if alarms := w.round(t, audittest.Time); len(alarms) > 0 {
			t.Errorf("it is told again: %+v", alarms)
		}
	}
}

func TestMonitorTellsALogThatWentBackAlsoAfterARestart(t *testing.T) {
	l := audittest.NewOf(t, 700)
	copy := t.TempDir()
	newWatch(t, publish(t, l), copy, l.Signer.Keys(), 0).round(t, audittest.Time)
	old := publish(t, l.At(t, 500))
	w := newWatch(t, old, copy, l.Signer.Keys(), 0)
	alarms := w.round(t, audittest.Time)
	if len(alarms) != 1 || alarms[0].Code != audit.RolledBack ||
		!strings.Contains(alarms[0].Sentence, "500 entries, and had 700") {
		t.Errorf("%+v", alarms)
	}
}

// TestDamagedCopyIsNotReplacedByAnotherHistory damages the checkpoint of a copy, and forks the log.
// A new process that began anew would take the fork for the log.
func TestDamagedCopyIsNotReplacedByAnotherHistory(t *testing.T) {
	l := audittest.NewOf(t, 700)
	for name, damage := range map[string]func([]byte) []byte{
		"empty":    func([]byte) []byte { return nil },
		"too long": func([]byte) []byte { return make([]byte, checkpoint.MaxBytes+1) },
		"no size":  func(b []byte) []byte { return append([]byte("\n"), b...) },
	} {
		copy := t.TempDir()
		newWatch(t, publish(t, l), copy, l.Signer.Keys(), 0).round(t, audittest.Time)
		audittest.Edit(t, copy, checkpoint.File, damage)
		w := newWatch(t, publish(t, l.Forked(t, 900)), copy, l.Signer.Keys(), 0)
		for range 2 {
			if err := w.Round(t.Context(), audittest.Time); err == nil || w.Size() != 0 ||
				!strings.Contains(err.Error(), "the checkpoint of the copy") {
				t.Errorf("%s: %d entries of the fork were taken, %v", name, w.Size(), err)
			}
		}
	}
}

func TestMonitorTellsAChangedEntryAndATreeWithoutASignature(t *testing.T) {
	l := audittest.NewOf(t, 700)
	changed := publish(t, l)
	audittest.Edit(t, changed, "tile/entries/001", audittest.Flip(300))
	alarms := newWatch(t, changed, t.TempDir(), l.Signer.Keys(), 0).round(t, audittest.Time)
	if len(alarms) != 1 || alarms[0].Code != audit.ContentDiffers ||
		!strings.Contains(alarms[0].Sentence, "tile/entries/001") {
		t.Errorf("%+v", alarms)
	}
	stranger := audittest.NewOf(t, 1)
	alarms = newWatch(t, publish(t, l), t.TempDir(), stranger.Signer.Keys(), 0).round(t,
		audittest.Time)
	if len(alarms) != 1 || alarms[0].Code != audit.WrongSignature {
		t.Errorf("%+v", alarms)
	}
}

func TestMonitorFollowsARotationOfTheKey(t *testing.T) {
	l := audittest.NewOf(t, 300)
	first := l.Signer.Keys()
	w := newWatch(t, publish(t, l), t.TempDir(), first, 0)
	w.round(t, audittest.Time)
	l.Rotate(t)
	l.Grow(t, 10)
	w.files.dir = audit.Dir(publish(t, l))
	if alarms := w.round(t, audittest.Time); len(alarms) > 0 || w.Size() != 311 {
		t.Errorf("%d entries, %+v", w.Size(), alarms)
	}
}

func TestMonitorReadsALogOfAnotherKeyOnce(t *testing.T) {
	l := audittest.NewOf(t, 5000)
	w := newWatch(t, publish(t, l), t.TempDir(), audittest.New(t).Signer.Keys(), 0)
	w.round(t, audittest.Time)
	first := w.files.reads.Load()
	for range 3 {
		l.Grow(t, 1)
		w.files.dir = audit.Dir(publish(t, l))
		w.files.reads.Store(0)
		w.round(t, audittest.Time)
		if w.files.reads.Load() > 5 {
			t.Errorf("it reads %d files, and read %d the first time", w.files.reads.Load(), first)
		}
	}
	l.Rotate(t)
	if w.files.dir = audit.Dir(publish(t, l)); len(w.round(t, audittest.Time)) > 0 || w.Size() > 0 {
		t.Error("a log that has rotated its own key is trusted, or another alarm")
	}
}

func TestMonitorTellsSilence(t *testing.T) {
	l := audittest.NewBusy(t, 100)
	w := newWatch(t, publish(t, l), t.TempDir(), l.Signer.Keys(), time.Hour)
	newest := time.Date(2026, 1, 1, 0, 1, 39, 0, time.UTC)
	if alarms := w.round(t, newest.Add(time.Hour)); len(alarms) > 0 {
		t.Errorf("%+v", alarms)
	}
	alarms := w.round(t, newest.Add(time.Hour+time.Second))
	if len(alarms) != 1 || alarms[0].Code != audit.TooOld || alarms[0].Index != 99 {
		t.Errorf("%+v", alarms)
	}
}

func TestServerThatIsNotReachedIsNoAlarm(t *testing.T) {
	l := audittest.NewOf(t, 100)
	w := newWatch(t, publish(t, l), t.TempDir(), l.Signer.Keys(), 0)
	w.files.gone = true
	if err := w.Round(t.Context(), audittest.Time); !errors.Is(err, errGone) {
		t.Errorf("%v, %+v", err, w.alarms)
	}
	w.files.gone, w.files.dir = false, audit.Dir(t.TempDir())
	if err := w.Round(t.Context(), audittest.Time); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %+v", err, w.alarms)
	}
}

// TestMonitorMissesThePromisedSignature follows a log that gets its second key, and then loses
// the signature of it.
func TestMonitorMissesThePromisedSignature(t *testing.T) {
	l := audittest.NewOf(t, 300)
	w := newWatch(t, publish(t, l), t.TempDir(), l.Signer.Keys(), 0)
	w.round(t, audittest.Time)
	for range 2 {
		l.RotatePair(t)
		l.Grow(t, 10)
		w.files.dir = audit.Dir(publish(t, l))
		if alarms := w.round(t, audittest.Time); len(alarms) > 0 ||
			w.Size() != int64(len(l.Leaves)) {
			t.Errorf("%d entries, %+v", w.Size(), alarms)
		}
	}
	l.Grow(t, 10)
	dir := publish(t, l)
	audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return l.Checkpoint })
	w.files.dir = audit.Dir(dir)
	alarms := w.round(t, audittest.Time)
	if len(alarms) != 1 || alarms[0].Code != audit.WrongSignature ||
		!strings.Contains(alarms[0].Sentence, "ML-DSA-44") {
		t.Errorf("%+v", alarms)
	}
}
