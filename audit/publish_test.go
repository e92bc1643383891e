package audit

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
)

// restart is what a server does with an existing folder.
func restart(t *testing.T, dir string, m *memory) (*Publisher, *warnings, error) {
	t.Helper()
	p, w := newPublisher(t, dir, m)
	return p, w, p.Recover(t.Context())
}

func TestRecover(t *testing.T) {
	for _, tt := range []struct {
		name string
		// returns the vault at the restart
		change  func(t *testing.T, m *memory, dir string) *memory
		want    error
		warning string
	}{
		{name: "nothing new", change: func(_ *testing.T, m *memory, _ string) *memory { return m }},
		{name: "behind by a few", change: func(t *testing.T, m *memory, _ string) *memory {
			m.grow(t, 3)
			return m
		}},
		{name: "behind by many", change: func(t *testing.T, m *memory, _ string) *memory {
			m.grow(t, 2000)
			return m
		}},
		{name: "crash before the checkpoint", change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			// The tiles of the next round are there, the checkpoint is not.
			old, err := os.ReadFile(filepath.Join(dir, checkpointFile))
			if err != nil {
				t.Fatal(err)
			}
			m.grow(t, 500)
			p, _, err := restart(t, dir, m)
			if err != nil {
				t.Fatal(err)
			}
			p.Tidy()
			edit(t, dir, checkpointFile, func([]byte) []byte { return old })
			return m
		}, warning: "damaged"}, // the partial tiles of the old one are gone
		{name: "checkpoint deleted", warning: "no checkpoint", change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			remove(t, dir, checkpointFile)
			return m
		}},
		{name: "tiles deleted", warning: "damaged", change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			remove(t, dir, "tile/0/001")
			return m
		}},
		{name: "all deleted", warning: "no checkpoint", change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			remove(t, dir, "tile")
			remove(t, dir, checkpointFile)
			remove(t, dir, keyFile)
			return m
		}},
		{name: "last tile damaged", warning: "damaged", change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			edit(t, dir, "tile/0/003.p/232", flip(7))
			return m
		}},
		{name: "checkpoint unreadable", warning: "cannot be read", change: func(t *testing.T,
			m *memory, dir string,
		) *memory {
			edit(t, dir, checkpointFile, func([]byte) []byte { return []byte("x") })
			return m
		}},
		{name: "signature damaged", warning: "not signed", change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			edit(t, dir, checkpointFile, func(b []byte) []byte {
				at := len(b) - 10
				b[at] = map[bool]byte{true: 'B', false: 'A'}[b[at] == 'A']
				return b
			})
			return m
		}},

		{name: "old vault", want: ErrAhead, change: func(t *testing.T, m *memory,
			_ string,
		) *memory {
			return m.at(t, 700)
		}},
		{name: "empty vault", want: ErrAhead, change: func(t *testing.T, m *memory,
			_ string,
		) *memory {
			return &memory{signer: m.signer}
		}},
		{name: "old vault, checkpoint deleted", want: ErrAhead, change: func(t *testing.T,
			m *memory, dir string,
		) *memory {
			remove(t, dir, checkpointFile)
			return m.at(t, 700)
		}},
		{name: "forked vault, same size", want: ErrForked, change: func(t *testing.T, m *memory,
			_ string,
		) *memory {
			return forked(t, m, 1000)
		}},
		{name: "forked vault, longer", want: ErrForked, change: func(t *testing.T, m *memory,
			_ string,
		) *memory {
			return forked(t, m, 1500)
		}},
		{name: "forked vault, files damaged", want: ErrForked, change: func(t *testing.T, m *memory,
			dir string,
		) *memory {
			remove(t, dir, "tile/0/001")
			return forked(t, m, 1500)
		}},
		{name: "another log", want: ErrOtherLog, change: func(t *testing.T, _ *memory,
			_ string,
		) *memory {
			return newMemoryOf(t, 2000)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, dir := publish(t, 400, 1000)
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
					tt.want != ErrOtherLog {
					t.Errorf("the refusal does not say what to do: %v", err)
				}
				return
			}
			if got := w.String(); (got != "") != (tt.warning != "") ||
				!strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
			p.Tidy()
			r := verify(t, dir, VerifyOptions{VKey: m.signer.Verifier()})
			if !r.OK() || r.Size != m.head.Size || p.Published() != m.head.Size ||
				len(r.Warnings) > 0 {
				t.Errorf("afterwards: %+v", r)
			}
		})
	}
}

// forked is a vault with the same key whose entry 5 is another one.
func forked(t *testing.T, m *memory, n int) *memory {
	t.Helper()
	f := &memory{signer: m.signer}
	f.grow(t, n)
	f.leaves[5] = []byte("another")
	var hashes []Hash
	for _, leaf := range f.leaves {
		hashes = append(hashes, LeafHash(leaf))
	}
	f.head, f.checkpoint = Head{}, nil
	f.sign(t, Head{}.Append(hashes...))
	return f
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

// TestPublishNotices deletes and changes files under a running publisher.
func TestPublishNotices(t *testing.T) {
	m, dir := publish(t, 1000)
	p, w, err := restart(t, dir, m)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(){
		"checkpoint deleted": func() { remove(t, dir, checkpointFile) },
		"checkpoint changed": func() { edit(t, dir, checkpointFile, bytes.ToUpper) },
		"all deleted": func() {
			remove(t, dir, checkpointFile)
			remove(t, dir, "tile")
		},
		"a tile deleted": func() {
			remove(t, dir, "tile/entries/001")
			p.inspect() // as it does each minute
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
		if r := verify(t, dir, VerifyOptions{}); !r.OK() {
			t.Errorf("%s: %s", name, r.Sentence)
		}
	}
}

func TestPublishKeepsPartialsForAMoment(t *testing.T) {
	m, dir := publish(t, 10)
	p, _, err := restart(t, dir, m)
	if err != nil {
		t.Fatal(err)
	}
	m.grow(t, 5)
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
	m.grow(t, 300)
	if err := p.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.Tidy()
	if _, err := os.Stat(filepath.Join(dir, "tile/entries/000.p")); err == nil {
		t.Error("an empty folder of partial tiles is left")
	}
}

func TestLogEntries(t *testing.T) {
	m, dir := publish(t, 1000)
	log, err := OpenLog(t.Context(), Dir(dir), m.signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, to int64) (indexes []int64, err error) {
		err = log.Entries(t.Context(), from, to, func(index int64, leaf []byte, h Hash) error {
			if !bytes.Equal(leaf, m.leaves[index]) || h != LeafHash(leaf) {
				t.Errorf("entry %d is %s", index, leaf)
			}
			indexes = append(indexes, index)
			return nil
		})
		return indexes, err
	}
	if got, err := read(254, 258); err != nil || fmt.Sprint(got) != "[254 255 256 257]" {
		t.Errorf("entries 254 to 257: %v, %v", got, err)
	}
	if got, err := read(998, 5000); err != nil || fmt.Sprint(got) != "[998 999]" {
		t.Errorf("the last entries: %v, %v", got, err)
	}
	if got, err := read(2000, 5000); err != nil || len(got) != 0 {
		t.Errorf("entries beyond the end: %v, %v", got, err)
	}
	mine := errors.New("mine")
	if err := log.Entries(t.Context(), 0, 1000, func(int64, []byte, Hash) error {
		return mine
	}); !errors.Is(err, mine) {
		t.Errorf("Entries = %v, want yield's error", err)
	}
	edit(t, dir, "tile/entries/001", func(b []byte) []byte {
		return bytes.Replace(b, []byte("392.00"), []byte("392.01"), 1)
	})
	if got, err := read(250, 260); err == nil || len(got) != 6 {
		t.Errorf("a changed entry was read: %v, %v", got, err)
	}
	if _, err := OpenLog(t.Context(), Dir(dir), newMemory(t).signer.Verifier()); !errors.Is(err,
		ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	remove(t, dir, "tile/1")
	if _, err := OpenLog(t.Context(), Dir(dir), m.signer.Verifier()); err == nil {
		t.Error("a log without its last tiles was opened")
	}
}

// TestPace has a clock that moves while everybody waits: work that takes no time is
// spread evenly, work that is late waits for nothing, and nobody waits who is to stop.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const over, pieces = 250 * time.Millisecond, 5
		ctx, stop := context.WithCancel(t.Context())
		begun, pause := time.Now(), pace(ctx, over, pieces)
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

// slow is a log whose last checkpoint takes a while to be read.
type slow struct {
	*memory
	takes time.Duration
	err   error
}

func (s *slow) Signed(ctx context.Context) ([]byte, Head, error) {
	time.Sleep(s.takes)
	if s.err != nil {
		return nil, Head{}, s.err
	}
	return s.memory.Signed(ctx)
}

// TestYield has a clock that moves while everybody waits, and a publisher that is too
// slow: commits wait for it, the longer the later it is, but not when it keeps up or fails.
func TestYield(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{memory: newMemory(t), takes: 2 * time.Second}
		m.grow(t, 300)
		p, err := NewPublisher(t.TempDir(), m.signer.Verifiers, m, slog.New(slog.DiscardHandler))
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
		time.Sleep(patience)
		yields(0)
		round()
		time.Sleep(100 * time.Millisecond) // it is under way
		yields(10 * time.Millisecond)
		p.Committed() // after it has begun
		time.Sleep(time.Second)
		yields(mostYield)
		time.Sleep(time.Second) // it has ended
		synctest.Wait()
		if p.Published() != 300 {
			t.Fatalf("%d entries are published", p.Published())
		}
		yields(mostYield) // for what was committed meanwhile
		m.takes, m.err = 0, errors.New("a broken disk")
		round()
		yields(0)
		m.err = nil
		round()
		yields(0)
	})
}
