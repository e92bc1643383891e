package daemon

import (
	"log/slog"
	"sync"
	"time"

	"example.com/atm/cmd/internal/datadir"
)

// A watched log notes when somebody outside saw it last. A log that nobody sees can be rewritten
// whole by a thief of its key.
type watched struct {
	note datadir.Note[datadir.Watched]
	log  *slog.Logger

	mu   sync.Mutex
	at   time.Time // guarded by mu: when it was seen last
	kept time.Time // guarded by mu: the one that the note has
}

const (
	// unwatchedAfter is how long nobody may see a log before it counts as unwatched.
	unwatchedAfter = 24 * time.Hour

	// noteEvery is how often the note is written at most.
	noteEvery = 10 * time.Minute
)

// openWatched reads the note. A log without one is taken as seen now, by the person who starts the
// server.
func openWatched(note datadir.Note[datadir.Watched], now time.Time, log *slog.Logger) (*watched,
	error,
) {
	w := &watched{note: note, log: log}
	kept, err := note.Read()
	if err != nil {
		return nil, err
	}
	if kept == nil {
		w.saw(now)
		return w, nil
	}
	w.at, w.kept = kept.At, kept.At
	if w.at.After(now) { // the clock was set back
		w.at = now
	}
	return w, nil
}

// saw notes that somebody sees the log.
func (w *watched) saw(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = now.UTC().Truncate(time.Second)
	if w.at.Sub(w.kept).Abs() < noteEvery {
		return
	}
	w.kept = w.at
	if err := w.note.Write(&datadir.Watched{At: w.at}); err != nil {
		w.log.Warn("noting that the audit log was seen", slog.Any("error", err))
	}
}

// last is when the log was seen last.
func (w *watched) last() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// unwatched reports whether nobody has seen the log for long.
func (w *watched) unwatched(now time.Time) bool { return now.Sub(w.last()) >= unwatchedAfter }
