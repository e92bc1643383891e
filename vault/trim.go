package vault

import (
	"errors"
	"fmt"

	"example.com/atm/audit/merkle"
)

// ErrTrimmed reports entries that a journal has had, and does not keep any more.
var ErrTrimmed = errors.New("the journal does not go back that far")

// A Base is where a journal begins that was trimmed. The zero Base is that of a whole journal.
//
// What was before it is in the archive of the audit log. A journal is trimmed behind a snapshot:
// a vault with all records as they were after the entries before State. So everything that a
// store holds can be worked out from the snapshot and the entries from State on.
type Base struct {
	Index JournalIndex // of the first entry that is kept
	State JournalIndex // how many entries the snapshot has seen; Index or a little more
	Sum   merkle.Hash  // SHA-256 of the snapshot

	// Edge has, for each level, the hashes of the last, partial tile of the audit log that has
	// the entry at Index, as it was before that entry. So the files of the log can be published
	// from there on. In that log, Index is a multiple of the width of a tile.
	Edge [][]merkle.Hash
}

// Follows returns an error unless a journal of these logs and this size can be trimmed to b, when
// its base was before.
func (b *Base) Follows(before Base, logs []JournalIndex, size JournalIndex) error {
	in := InLog(logs, b.Index)
	switch {
	case b.Index < before.Index || b.State < b.Index || b.State > size:
		return fmt.Errorf("a journal of entries %d to %d cannot begin at entry %d, with the "+
			"records as of entry %d", before.Index, size, b.Index, b.State)
	case in%merkle.TileWidth != 0:
		return fmt.Errorf("entry %d is not the first one of a bundle", b.Index)
	}
	for level := range max(len(b.Edge), merkle.Levels(in)) {
		if level >= len(b.Edge) || len(b.Edge[level]) != merkle.LastTile(in, level).Width {
			return fmt.Errorf("the edge of the tree at entry %d is of another size", b.Index)
		}
	}
	return nil
}

// Tree is the tree of a log that began at an index, as it was before the first entry that is
// kept: empty when the log began after that.
func (b *Base) Tree(log JournalIndex) merkle.Head {
	if b.Index <= log {
		return merkle.Head{}
	}
	return merkle.HeadOf(int64(b.Index-log), b.Edge)
}

// NotKept is what a caller is told of an entry of the audit log that is before the base.
func NotKept(index int64) string {
	return fmt.Sprintf("This server does not keep entry %d any more", index)
}

// Trimmed is an error that is ErrTrimmed, of an entry that was asked for.
func (b *Base) Trimmed(index JournalIndex) error {
	return fmt.Errorf("entry %d: %w; it begins with entry %d", index, ErrTrimmed, b.Index)
}
