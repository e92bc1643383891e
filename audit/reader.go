package audit

import (
	"context"
	"errors"
	"fmt"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// A Log is a published log at one checkpoint, open for reading. Everything that it returns
// hashes to the signed root.
type Log struct {
	checkpoint.Checkpoint
	signed []byte
	files  Files
	edge   [][]merkle.Hash
	read   map[merkle.Tile][]merkle.Hash // cache of tiles that were read for proofs

	// Progress is called with the number of entries that Entries has read so far. Optional.
	Progress func(done, total int64)
}

// OpenLog verifies the checkpoint of a log with the public key vkey, or with several keys, one a
// line, as checkpoint.OpenEach does. It also verifies the last tile of each level.
func OpenLog(ctx context.Context, files Files, vkey string) (*Log, error) {
	signed, err := files.ReadFile(ctx, checkpoint.File, checkpoint.MaxBytes)
	if err != nil {
		return nil, err
	}
	return OpenLogAt(ctx, files, signed, vkey)
}

// OpenLogAt is OpenLog at a checkpoint that may be older than the one among the files.
func OpenLogAt(ctx context.Context, files Files, signed []byte, vkey string) (*Log, error) {
	c, err := checkpoint.Open(signed, vkey)
	if err != nil {
		return nil, err
	}
	w := walk{ctx: ctx, files: files, size: c.Size, root: c.Root}
	if _, _, err := w.readEdge(); err != nil {
		return nil, err
	}
	if w.edge == nil && c.Size > 0 {
		return nil, fmt.Errorf("the edge of the tree: %w", ErrDiffers)
	}
	return &Log{Checkpoint: c, signed: signed, files: files, edge: w.edge}, nil
}

// OpenLogBeside is OpenLog with the key beside the log, which an attacker who can replace the
// log can replace as well.
func OpenLogBeside(ctx context.Context, files Files) (*Log, error) {
	vkey, err := ReadKey(ctx, files)
	for try := 1; err == nil; try++ {
		var l *Log
		if l, err = OpenLog(ctx, files, vkey); !errors.Is(err, checkpoint.ErrSignature) ||
			try == maxTries {
			return l, err
		}
		// The key may have been rotated after ReadKey.
		now, failed := ReadKey(ctx, files)
		if failed != nil || now == vkey {
			return nil, err
		}
		vkey, err = now, nil
	}
	return nil, err
}

// ReadCheckpoint returns the checkpoint of a log and its content, without verifying the signature.
func ReadCheckpoint(ctx context.Context, files Files) ([]byte, checkpoint.Checkpoint, error) {
	signed, err := files.ReadFile(ctx, checkpoint.File, checkpoint.MaxBytes)
	if err != nil {
		return nil, checkpoint.Checkpoint{}, err
	}
	c, err := checkpoint.Parse(signed)
	return signed, c, err
}

// ReadKey returns the public key beside a log, which an attacker who can replace the log can
// replace as well.
func ReadKey(ctx context.Context, files Files) (string, error) {
	key, err := files.ReadFile(ctx, checkpoint.KeyFile, checkpoint.MaxBytes)
	return string(key), err
}

// Head is the tree that the checkpoint signs.
func (l *Log) Head() merkle.Head { return merkle.HeadOf(l.Size, l.edge) }

// Edge returns the hashes of the last, partial tile of each level that the log had at a smaller
// size, verified against the signed tree.
func (l *Log) Edge(ctx context.Context, size int64) ([][]merkle.Hash, error) {
	w := walk{ctx: ctx, files: l.files, size: l.Size, root: l.Root, edge: l.edge}
	edge := make([][]merkle.Hash, merkle.Levels(size))
	for level := range edge {
		t := merkle.LastTile(size, level)
		if t.Width == 0 {
			continue
		}
		hashes, bad, err := w.tile(level, t.N)
		switch {
		case err != nil:
			return nil, err
		case bad != nil:
			return nil, fmt.Errorf("%s at entry %d: %w", bad.File, *bad.Index, ErrDiffers)
		}
		edge[level] = hashes[:t.Width:t.Width]
	}
	return edge, nil
}

// Entries calls yield with the entries from, from+1, … to-1 in order, each verified against the
// signed tree. A leaf is valid only until yield returns. An error of yield ends the iteration
// and is returned.
func (l *Log) Entries(ctx context.Context, from, to int64, yield func(index int64, leaf []byte,
	h merkle.Hash) error,
) error {
	from, to = max(from, 0), min(to, l.Size)
	var stopped error
	w := walk{ctx: ctx, files: l.files, size: l.Size, root: l.Root, edge: l.edge}
	w.entry = func(index int64, leaf []byte, h merkle.Hash) {
		if stopped == nil && index >= from && index < to {
			stopped = yield(index, leaf, h)
		}
	}
	for n := from >> merkle.TileHeight; n<<merkle.TileHeight < to && stopped == nil; n++ {
		bad, err := w.bundle(n)
		switch {
		case stopped != nil:
			return stopped
		case errors.Is(err, ErrUnreachable):
			return fmt.Errorf("the entries from %d on: %w", max(from, n<<merkle.TileHeight), err)
		case err != nil:
			return err
		case bad != nil && *bad.Index < to:
			return fmt.Errorf("%s at entry %d: %w", bad.File, *bad.Index, ErrDiffers)
		}
		if l.Progress != nil {
			l.Progress(min((n+1)<<merkle.TileHeight, to)-from, to-from)
		}
	}
	return stopped
}

// Tiles calls yield with each bundle and each tile that is not in the log as it was with from
// entries, in order of their last entries, and with the last, partial ones. All are verified
// against the signed tree. yield may keep data. An error of yield ends the iteration and is
// returned.
func (l *Log) Tiles(ctx context.Context, from int64,
	yield func(t merkle.Tile, data []byte) error,
) error {
	type file struct {
		merkle.Tile
		data []byte
	}
	var files []file // of a bundle, and of the tiles above it that were read for it
	w := walk{ctx: ctx, files: l.files, size: l.Size, root: l.Root, edge: l.edge}
	w.file = func(t merkle.Tile, data []byte) { files = append(files, file{t, data}) }
	for n := from >> merkle.TileHeight; n<<merkle.TileHeight < l.Size; n++ {
		if err := errors.Join(ctx.Err(), l.bundle(&w, n)); err != nil {
			return err
		}
		for _, f := range files {
			if err := yield(f.Tile, f.data); err != nil {
				return err
			}
		}
		files = files[:0]
	}
	for level, hashes := range l.edge {
		if t := merkle.LastTile(l.Size, level); t.Width > 0 {
			if err := yield(t, merkle.JoinHashes(hashes)); err != nil {
				return err
			}
		}
	}
	return nil
}

// bundle is walk.bundle with an error for what differs.
func (l *Log) bundle(w *walk, n int64) error {
	bad, err := w.bundle(n)
	switch {
	case errors.Is(err, ErrUnreachable):
		return fmt.Errorf("the entries from %d on: %w", n<<merkle.TileHeight, err)
	case err != nil:
		return err
	case bad != nil:
		return fmt.Errorf("%s at entry %d: %w", bad.File, *bad.Index, ErrDiffers)
	}
	return nil
}

// Leaves is Entries as an EntryReader.
func (l *Log) Leaves(ctx context.Context, from, to int64,
	yield func(index int64, leaf []byte) error,
) error {
	return l.Entries(ctx, from, to, func(index int64, leaf []byte, _ merkle.Hash) error {
		return yield(index, leaf)
	})
}
