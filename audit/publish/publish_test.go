package publish_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
)

// restart does what a server does with an existing folder.
func restart(t *testing.T, dir string, m *audittest.Log) (*publish.Publisher, *audittest.Warnings,
	error,
) {
	t.Helper()
	p, w := audittest.NewPublisher(t, dir, m)
	return p, w, p.Recover(t.Context())
}

func TestRecoverContinuesTheLogOrRefusesToStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		// change returns the vault at the restart.
		change  func(t *testing.T, m *audittest.Log, dir string) *audittest.Log
		want    error
		warning string
	}{
		{name: "nothing new", change: func(_ *testing.T, m *audittest.Log,
			_ string,
		) *audittest.Log {
			return m
		}},
		{name: "behind by a few", change: func(t *testing.T, m *audittest.Log,
			_ string,
		) *audittest.Log {
			m.Grow(t, 3)
			return m
		}},
		{name: "behind by many", change: func(t *testing.T, m *audittest.Log,
			_ string,
		) *audittest.Log {
			m.Grow(t, 2000)
			return m
		}},
		{name: "crash before the checkpoint", change: func(t *testing.T, m *audittest.Log,
			dir string,
		) *audittest.Log {
			// The tiles of the next round exist, but not its checkpoint.
			old, err := os.ReadFile(filepath.Join(dir, checkpoint.File))
			if err != nil {
				t.Fatal(err)
			}
			m.Grow(t, 500)
			p, _, err := restart(t, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			p.Tidy()
			audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return old })
			return m
		}, warning: "damaged"}, // the partial tiles of the old checkpoint are gone
		{name: "checkpoint deleted", warning: "no checkpoint", change: func(t *testing.T,
			m *audittest.Log,
			dir string,
		) *audittest.Log {
			audittest.Remove(t, dir, checkpoint.File)
			return m
		}},
		{name: "tiles deleted", warning: "damaged", change: func(t *testing.T, m *audittest.Log,
			dir string,
		) *audittest.Log {
			audittest.Remove(t, dir, "tile/0/001")
			return m
		}},
		{name: "all deleted", warning: "no checkpoint", change: func(t *testing.T, m *audittest.Log,
			dir string,
		) *audittest.Log {
			audittest.Remove(t, dir, "tile")
			audittest.Remove(t, dir, checkpoint.File)
			audittest.Remove(t, dir, checkpoint.KeyFile)
			return m
		}},
		{name: "last tile damaged", warning: "damaged", change: func(t *testing.T, m *audittest.Log,
			dir string,
		) *audittest.Log {
			audittest.Edit(t, dir, "tile/0/003.p/232", audittest.Flip(7))
			return m
		}},
		{name: "checkpoint unreadable", warning: "cannot be read", change: func(t *testing.T,
			m *audittest.Log, dir string,
		) *audittest.Log {
			audittest.Edit(t, dir, checkpoint.File, func([]byte) []byte { return []byte("x") })
			return m
		}},
		{name: "signature damaged", warning: "not signed", change: func(t *testing.T,
			m *audittest.Log,
			dir string,
		) *audittest.Log {
			audittest.Edit(t, dir, checkpoint.File, func(b []byte) []byte {
				at := len(b) - 10
				b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
				return b
			})
			return m
		}},

		{name: "old vault", want: publish.ErrAhead, change: func(t *testing.T, m *audittest.Log,
			_ string,
		) *audittest.Log {
			return m.At(t, 700)
		}},
		{name: "empty vault", want: publish.ErrAhead, change: func(t *testing.T, m *audittest.Log,
			_ string,
		) *audittest.Log {
			return &audittest.Log{Signer: m.Signer}
		}},
		{name: "old vault, checkpoint deleted", want: publish.ErrAhead, change: func(t *testing.T,
			m *audittest.Log, dir string,
		) *audittest.Log {
			audittest.Remove(t, dir, checkpoint.File)
			return m.At(t, 700)
		}},
		{name: "forked vault, same size", want: publish.ErrForked, change: func(t *testing.T,
			m *audittest.Log,
			_ string,
		) *audittest.Log {
			return m.Forked(t, 1000)
		}},
		{name: "forked vault, longer", want: publish.ErrForked, change: func(t *testing.T,
			m *audittest.Log,
			_ string,
		) *audittest.Log {
			return m.Forked(t, 1500)
		}},
		{name: "forked vault, files damaged", want: publish.ErrForked, change: func(t *testing.T,
			m *audittest.Log,
			dir string,
		) *audittest.Log {
			audittest.Remove(t, dir, "tile/0/001")
			return m.Forked(t, 1500)
		}},
		{name: "another log", want: publish.ErrOtherLog, change: func(t *testing.T,
			_ *audittest.Log,
			_ string,
		) *audittest.Log {
			return audittest.NewOf(t, 2000)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, dir := audittest.Publish(t, 400, 1000)
			m = tt.change(t, m, dir)
			before := snapshot(t, dir)
			p, w, err := restart(t, dir, m)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Recover = %v, want %v", err, tt.want)
			}
			if tt.want != nil {
				if after := snapshot(t, dir); after != before {
					t.Error("a refusal changed files")
				}
				if !strings.Contains(err.Error(), "atmctl audit recover") &&
					tt.want != publish.ErrOtherLog {
					t.Errorf("the refusal does not say what to do: %v", err)
				}
				return
			}
			if got := w.String(); (got != "") != (tt.warning != "") ||
				!strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
			p.Tidy()
			r := audittest.Verify(t, dir, audit.VerifyOptions{VKey: m.Signer.Verifier()})
			if !r.OK() || r.Size != m.Head.Size || p.Published() != m.Head.Size ||
				len(r.Warnings) > 0 {
				t.Errorf("afterwards: %+v", r)
			}
		})
	}
}

// snapshot is the content of all files of a log.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*", "tile/*/*", "tile/*/*/*"} {
		matches, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range matches {
			if info, err := os.Stat(path); err != nil || info.IsDir() {
				continue
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "%s %x\n", path, data)
		}
	}
	return all.String()
}

// TestPublisherRestoresFilesThatWereDeletedOrChanged deletes and changes files under a running
// publisher.
func TestPublisherRestoresFilesThatWereDeletedOrChanged(t *testing.T) {
	t.Parallel()
	m, dir := audittest.Publish(t, 1000)
	p, w, err := restart(t, dir, m)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(){
		"checkpoint deleted": func() { audittest.Remove(t, dir, checkpoint.File) },
		"checkpoint changed": func() { audittest.Edit(t, dir, checkpoint.File, bytes.ToUpper) },
		"all deleted": func() {
			audittest.Remove(t, dir, checkpoint.File)
			audittest.Remove(t, dir, "tile")
		},
		"a tile deleted": func() {
			audittest.Remove(t, dir, "tile/entries/001")
			p.Inspect() // as it does each minute
		},
	} {
		w.Reset()
		spoil()
		if err := p.Publish(t.Context()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !strings.Contains(w.String(), "publishing again") {
			t.Errorf("%s: no warning in %q", name, w)
		}
		if r := audittest.Verify(t, dir, audit.VerifyOptions{}); !r.OK() {
			t.Errorf("%s: %s", name, r.Sentence)
		}
	}
}

func TestSupersededPartialTilesStayUntilTidy(t *testing.T) {
	m, dir := audittest.Publish(t, 10)
	p, _, err := restart(t, dir, m)
	if err != nil {
		t.Fatal(err)
	}
	m.Grow(t, 5)
	if err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(dir, "tile/entries/000.p/10")
	if _, err := os.Stat(old); err != nil {
		t.Errorf("somebody may be reading the old partial tile: %v", err)
	}
	p.Tidy()
	if _, err := os.Stat(old); err == nil {
		t.Error("the old partial tile is still there")
	}
	m.Grow(t, 300)
	if err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Tidy()
	if _, err := os.Stat(filepath.Join(dir, "tile/entries/000.p")); err == nil {
		t.Error("an empty folder of partial tiles is left")
	}
}

// TestPaceSpreadsWorkEvenlyUntilItIsStopped runs on a fake clock: pieces that take no time are
// spread evenly, a late piece waits for nothing, and after a stop nothing waits.
func TestPaceSpreadsWorkEvenlyUntilItIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const over, pieces = 250 * time.Millisecond, 5
		ctx, stop := context.WithCancel(t.Context())
		begun, pause := time.Now(), publish.Pace(ctx, over, pieces)
		after := func(want time.Duration) {
			t.Helper()
			pause()
			if elapsed := time.Since(begun); elapsed != want {
				t.Errorf("%v have passed, want %v", elapsed, want)
			}
		}
		after(50 * time.Millisecond)
		time.Sleep(70 * time.Millisecond) // as long as the second and a part of the third may take
		after(120 * time.Millisecond)
		after(150 * time.Millisecond)
		stop()
		after(150 * time.Millisecond)
		after(150 * time.Millisecond)
	})
}

// slow is a log whose last checkpoint takes long to read.
type slow struct {
	*audittest.Log
	takes time.Duration
	err   error
}

func (s *slow) Signed(ctx context.Context) ([]byte, merkle.Head, error) {
	time.Sleep(s.takes)
	if s.err != nil {
		return nil, merkle.Head{}, s.err
	}
	return s.Log.Signed(ctx)
}

// TestCommitsWaitForAPublisherThatFallsBehind runs a slow publisher on a fake clock. The later
// the publisher is, the longer commits wait; they do not wait for one that keeps up or fails.
func TestCommitsWaitForAPublisherThatFallsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{Log: audittest.New(t), takes: 2 * time.Second}
		m.Grow(t, 300)
		p, err := publish.New(publish.Config{
			Dir: t.TempDir(), Keys: m.Signer.Keys, Source: m, Log: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			t.Fatal(err)
		}
		yields := func(want time.Duration) {
			t.Helper()
			begun := time.Now()
			p.Yield()
			if took := time.Since(begun); took != want {
				t.Errorf("a commit waited for %v, want %v", took, want)
			}
		}
		round := func() {
			t.Helper()
			go p.Publish(t.Context())
			synctest.Wait()
		}
		yields(0) // nothing was committed
		p.Committed()
		time.Sleep(publish.Patience)
		yields(0)
		round()
		time.Sleep(100 * time.Millisecond) // the round is under way
		yields(10 * time.Millisecond)
		p.Committed() // after the round has begun
		time.Sleep(time.Second)
		yields(publish.MostYield)
		time.Sleep(time.Second) // the round has ended
		synctest.Wait()
		if p.Published() != 300 {
			t.Fatalf("%d entries are published", p.Published())
		}
		yields(publish.MostYield) // for entries committed during the round
		m.takes, m.err = 0, errors.New("a broken disk")
		round()
		yields(0)
		m.err = nil
		round()
		yields(0)
	})
}
