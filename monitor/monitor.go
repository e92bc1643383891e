// Package monitor follows an audit log from the outside, for good: it verifies each new
// checkpoint, that it extends the one before, and every new entry, by the signed tree and by the
// rules of the bank. It needs the log alone, and keeps a copy of it, which is a log that anybody
// can verify.
//
// A server that lies has to sign its lies: an entry that moved what it may not move, somebody who
// did what they may not do, two histories for two readers. A Monitor tells which entry it is.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/audit/publish"
	"example.com/atm/teller/replay"
)

// RuleBroken is the code of an alarm about an entry that the rules do not confirm. The other
// codes are those of audit.Verify.
const RuleBroken = 16

// An Alarm is something that cannot be right.
type Alarm struct {
	Code     int       `json:"code"`
	Index    int64     `json:"index"` // of the entry; -1 when none can be named
	Sentence string    `json:"reason"`
	Time     time.Time `json:"time"` // when it was found
}

// Config is everything that a Monitor needs.
type Config struct {
	// Files are those of the log. Required.
	Files audit.Files

	// Dir is the folder of the copy, which must exist, and which no one else may use. Required.
	Dir string

	// Keys are the public keys that the log may be signed by. Others count if one of them was
	// rotated to them. Required.
	Keys []string

	// Rules are what entries are held against. Required.
	Rules replay.Rules

	// Silence is how old the newest entry may be: a server records a heartbeat every ten minutes.
	// Zero for any age.
	Silence time.Duration

	// Alarm is told of what cannot be right: once of an entry, and once of the log as a whole until
	// that is right again. Required.
	Alarm func(Alarm)

	// Copied is told of each checkpoint once the copy has all of its entries, durably. It extends
	// those before, whatever its entries say. Optional.
	Copied func(signed []byte) error

	// Log receives what keeps the log from being looked at. Optional.
	Log *slog.Logger
}

// A Monitor follows one log. Its methods are for one goroutine.
type Monitor struct {
	cfg     Config
	keys    []string
	copier  *publish.Publisher
	remote  *remote
	watcher *replay.Watcher
	next    int64      // the first entry that was not looked at
	newest  time.Time  // of an entry
	own     *audit.Log // the copy
	begun   bool       // the copy was held against the log
	trouble int        // the code of what is wrong with the log as a whole; 0 for nothing
	read    int64      // up to where a rotation of the key was looked for

	continues bool // the log took the place of another one
}

// maxBroken bounds the alarms about entries: after the first one others often follow from it.
const maxBroken = 100

// New returns a monitor.
func New(cfg Config) (*Monitor, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	m := &Monitor{cfg: cfg, keys: cfg.Keys, remote: &remote{}}
	var err error
	if m.copier, err = publish.New(publish.Config{
		Dir: cfg.Dir, Keys: func() []string { return m.keys }, Source: m.remote,
		Log: slog.New(slog.DiscardHandler), New: true,
	}); err != nil {
		return nil, err
	}
	broken := 0
	m.watcher = replay.NewWatcher(cfg.Rules, m.leaf, func(index int64, problem string) {
		if broken++; broken <= maxBroken {
			cfg.Alarm(Alarm{RuleBroken, index, problem, time.Now().UTC()})
		}
	})
	return m, nil
}

// Size is how many entries were looked at, and Newest the time of the newest of them.
func (m *Monitor) Size() int64       { return m.next }
func (m *Monitor) Newest() time.Time { return m.newest }

// alarm tells what is wrong with the log as a whole, once as long as it is.
func (m *Monitor) alarm(code int, index int64, sentence string) {
	if m.trouble != code {
		m.trouble = code
		m.cfg.Alarm(Alarm{code, index, sentence, time.Now().UTC()})
	}
}

// Round looks at the log once. An error means that it could not be looked at, such as a server
// that is not reached; what is wrong with the log is an alarm.
func (m *Monitor) Round(ctx context.Context, now time.Time) error {
	log, err := m.open(ctx)
	if err != nil || log == nil {
		return err
	}
	if copied, err := m.copy(ctx, log); err != nil || !copied {
		return err
	}
	if m.cfg.Copied != nil {
		if err := m.cfg.Copied(m.remote.signed); err != nil {
			return err
		}
	}
	if err := m.watch(ctx); err != nil {
		return err
	}
	if age := now.Sub(m.newest); m.cfg.Silence > 0 && m.next > 0 && age > m.cfg.Silence {
		m.alarm(audit.TooOld, m.next-1, fmt.Sprintf("the newest entry is of %s",
			m.newest.Format(time.RFC3339)))
		return nil
	}
	m.trouble = 0
	return nil
}

// open opens the log as it is now; nil when it cannot be trusted.
func (m *Monitor) open(ctx context.Context) (*audit.Log, error) {
	signed, _, err := audit.ReadCheckpoint(ctx, m.cfg.Files)
	switch {
	case errors.Is(err, checkpoint.ErrNoCheckpoint):
		m.alarm(audit.CannotVerify, -1, "there is no signed checkpoint")
		return nil, nil
	case err != nil:
		return nil, err
	}
	files := pinned{m.cfg.Files, signed}
	log, err := audit.OpenLog(ctx, files, strings.Join(m.keys, "\n"))
	if errors.Is(err, checkpoint.ErrSignature) {
		if err := m.learn(ctx, files); err != nil {
			return nil, err
		}
		log, err = audit.OpenLog(ctx, files, strings.Join(m.keys, "\n"))
	}
	switch {
	case errors.Is(err, checkpoint.ErrSignature):
		m.alarm(audit.WrongSignature, -1, err.Error())
		return nil, nil
	case errors.Is(err, audit.ErrDiffers):
		m.alarm(audit.ContentDiffers, -1, err.Error())
		return nil, nil
	case err != nil:
		return nil, err
	}
	m.remote.log, m.remote.signed = log, signed
	return log, nil
}

// learn learns of a key that one of the keys was rotated to. It reads each entry once: a log that
// is signed by another key stays so, and grows.
func (m *Monitor) learn(ctx context.Context, files audit.Files) (err error) {
	keys, read, err := audit.Rotated(ctx, files, m.keys, max(m.next, m.read))
	m.read = read
	slices.Reverse(keys[len(m.keys):]) // the newest first
	m.keys = append(slices.Clip(keys[len(m.keys):]), m.keys...)
	return err
}

// copy brings the copy up to date, which takes nothing that does not extend it. It reports whether
// it did.
func (m *Monitor) copy(ctx context.Context, log *audit.Log) (bool, error) {
	if log.Size == 0 {
		return false, nil
	}
	bring := m.copier.Publish
	if !m.begun {
		if err := m.readable(ctx); err != nil {
			return false, err
		}
		bring = m.copier.Recover // holds what is there against the log first
	}
	err := bring(ctx)
	if err == nil {
		err = m.copier.Err()
	}
	had := m.copier.Newest()
	switch {
	case err == nil:
		m.begun = true
		return true, nil
	case errors.Is(err, publish.ErrAhead), errors.Is(err, publish.ErrForked):
		return false, m.rewritten(ctx, log, had.Size)
	case errors.Is(err, publish.ErrOtherLog):
		m.alarm(audit.WrongSignature, -1, "the folder has the copy of another log")
		return false, nil
	case errors.Is(err, audit.ErrDiffers):
		m.alarm(audit.ContentDiffers, -1, err.Error())
		return false, nil
	}
	return false, err
}

// readable returns an error if there is a copy whose checkpoint cannot be read. To begin anew over
// it would forget what was seen, and so forgive a history that was rewritten since.
func (m *Monitor) readable(ctx context.Context) error {
	signed, err := audit.Dir(m.cfg.Dir).ReadFile(ctx, checkpoint.File, checkpoint.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		_, err = checkpoint.Parse(signed)
	}
	if err != nil {
		return fmt.Errorf("the checkpoint of the copy in %s: %w; move the folder away to begin "+
			"anew", m.cfg.Dir, err)
	}
	return nil
}

// rewritten tells which entry is the first that a log changed or lost.
func (m *Monitor) rewritten(ctx context.Context, log *audit.Log, had int64) error {
	if m.trouble == audit.RolledBack { // it was told
		return nil
	}
	index, err := m.firstChanged(ctx, log)
	if err != nil {
		return err
	}
	sentence := fmt.Sprintf("the log has %d entries, and had %d", log.Size, had)
	if index >= 0 {
		sentence = fmt.Sprintf("the log of %d entries does not extend what it was when it had %d",
			log.Size, had)
	} else if log.Size < had {
		index = log.Size
	}
	m.alarm(audit.RolledBack, index, sentence)
	return nil
}

// errFound ends the reading of entries.
var errFound = errors.New("found")

// firstChanged is the first entry of the log that is not what the copy has; -1 when there is none
// that both have.
func (m *Monitor) firstChanged(ctx context.Context, log *audit.Log) (changed int64, err error) {
	own, err := m.openCopy(ctx)
	if err != nil {
		return -1, err
	}
	changed = -1
	err = own.Entries(ctx, 0, min(own.Size, log.Size), func(from int64, _ []byte, _ merkle.Hash,
	) error {
		if from%merkle.TileWidth != 0 {
			return nil
		}
		kept, err := hashes(ctx, own, from)
		if err != nil {
			return err
		}
		now, err := hashes(ctx, log, from)
		if err != nil {
			return err
		}
		for i := range min(len(kept), len(now)) {
			if kept[i] != now[i] {
				changed = from + int64(i)
				return errFound
			}
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return changed, err
}

// hashes are those of the leaves of one bundle.
func hashes(ctx context.Context, log *audit.Log, from int64) (list []merkle.Hash, err error) {
	err = log.Entries(ctx, from, from+merkle.TileWidth, func(_ int64, _ []byte,
		h merkle.Hash,
	) error {
		list = append(list, h)
		return nil
	})
	return list, err
}

func (m *Monitor) openCopy(ctx context.Context) (*audit.Log, error) {
	return audit.OpenLog(ctx, audit.Dir(m.cfg.Dir), strings.Join(m.keys, "\n"))
}

// watch looks at the entries of the copy that were not looked at yet. After a start these are all.
func (m *Monitor) watch(ctx context.Context) error {
	own, err := m.openCopy(ctx)
	if err != nil {
		return fmt.Errorf("the copy of the log: %w", err)
	}
	m.own = own
	return own.Entries(ctx, m.next, own.Size, func(index int64, leaf []byte, _ merkle.Hash) error {
		entry, err := audit.ParseEntry(leaf)
		if err == nil {
			m.newest = entry.Time
			m.rotated(entry)
		}
		if index == 0 && err == nil && entry.Event == audit.EventRecover {
			m.continues = true
			m.cfg.Log.Warn("the log took the place of another one: what its accounts held is not " +
				"in it, so its entries are not held against the rules")
		}
		if !m.continues {
			if err := m.watcher.Entry(ctx, index, leaf); err != nil {
				return err
			}
		}
		m.next = index + 1
		return nil
	})
}

// rotated notes a key of the log that takes the place of one that is known.
func (m *Monitor) rotated(e *audit.Entry) {
	if r, is := audit.RotationOf(e); is {
		m.keys = checkpoint.Successors(m.keys, []checkpoint.Rotation{r})
	}
}

// leaf returns an entry of the copy.
func (m *Monitor) leaf(ctx context.Context, index int64) (leaf []byte, err error) {
	err = m.own.Entries(ctx, index, index+1, func(_ int64, found []byte, _ merkle.Hash) error {
		leaf = append(leaf, found...)
		return nil
	})
	return leaf, err
}

// pinned are the files of a log with the checkpoint that was read first.
type pinned struct {
	audit.Files
	signed []byte
}

// ReadFile implements audit.Files.
func (p pinned) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == checkpoint.File {
		return p.signed, nil
	}
	return p.Files.ReadFile(ctx, name, limit)
}

// remote is the log as the source of its copy.
type remote struct {
	log    *audit.Log
	signed []byte
}

// Signed implements audit.Source.
func (r *remote) Signed(context.Context) ([]byte, merkle.Head, error) {
	return r.signed, r.log.Head(), nil
}

// Base implements audit.Source. A monitor follows the log from its beginning.
func (r *remote) Base(context.Context) (int64, [][]merkle.Hash, error) { return 0, nil, nil }

// Entries implements audit.Source.
func (r *remote) Entries(ctx context.Context, from, to int64,
	yield func(index int64, leaf []byte) error,
) error {
	return r.log.Leaves(ctx, from, to, yield)
}
