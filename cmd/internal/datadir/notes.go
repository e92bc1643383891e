package datadir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"example.com/atm/internal/durable"
	"github.com/BurntSushi/toml"
)

// A Note is a small file that a process leaves for a later one.
type Note[T any] struct{ path string }

// Read returns the content of the note, or nil if there is none.
func (n Note[T]) Read() (*T, error) {
	if !Exists(n.path) {
		return nil, nil
	}
	var v T
	if _, err := toml.DecodeFile(n.path, &v); err != nil {
		return nil, fmt.Errorf("%s: %w", n.path, err)
	}
	return &v, nil
}

// Write stores v. If v is nil, it removes the note.
func (n Note[T]) Write(v *T) error {
	if v == nil {
		if err := os.Remove(n.path); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, durable.SyncDir(filepath.Dir(n.path)))
		}
		return nil
	}
	text, err := toml.Marshal(v)
	if err != nil {
		return err
	}
	return durable.WriteFile(n.path, text, 0o600)
}

// Plan is the note of a recovery, from before its first step until after its last.
func (p Paths) Plan() Note[Plan] { return Note[Plan]{p.Path("recover.toml")} }

// Shared is the note of the hashes of the files that several servers share, as of the last
// synchronisation.
func (p Paths) Shared() Note[map[string]string] {
	return Note[map[string]string]{p.Path("shared.toml")}
}

// Seen is the note of a database that was rolled back.
func (p Paths) Seen() Note[Seen] { return Note[Seen]{p.Path("seen.toml")} }

// Watched says when somebody outside has seen the audit log last: an auditor who read its
// checkpoint, or witnesses who cosigned it.
type Watched struct {
	At time.Time `toml:"at"`
}

// Watched is the note of it.
func (p Paths) Watched() Note[Watched] { return Note[Watched]{p.Path("watched.toml")} }

// Archived says where the part of the audit log is that the folder no longer has.
type Archived struct {
	Location string `toml:"location"` // a folder, or s3://BUCKET/PREFIX
}

// Archived is the note of it, of the last start of the server.
func (p Paths) Archived() Note[Archived] { return Note[Archived]{p.Path("archive.toml")} }

// A Plan is the plan of a recovery of the audit log. It is on disk from before the first step
// until after the last one, so that an interrupted recovery is completed by the next.
type Plan struct {
	Origin string `toml:"origin"` // of the new log
	Logs   int    `toml:"logs"`   // number of logs that the journal had before

	// The last checkpoint of the old log.
	OldOrigin string `toml:"old_origin"`
	OldSize   int64  `toml:"old_size"`
	OldRoot   string `toml:"old_root"`

	Behind int64    `toml:"behind"` // entries that the vault lacks
	Looked []string `toml:"looked"` // copies of the old log that were read
	Missed []string `toml:"missed"` // replicas that have seen more of the old log
}

// ErrPlan reports a folder whose recovery was interrupted.
var ErrPlan = errors.New("a recovery of the audit log was interrupted; run atmctl audit recover " +
	"again")

// Seen is an acknowledged state of the audit log, kept because the database was rolled back
// behind it. No start accepts a smaller state.
type Seen struct {
	Origin string `toml:"origin"`
	Size   int64  `toml:"size"`
	Root   string `toml:"root"` // base64
}
