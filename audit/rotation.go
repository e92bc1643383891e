package audit

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// The names of the arguments of an entry key.rotate.
const (
	argOld       = "old"
	argNew       = "new"
	argSignature = "signature"
)

// RotationArgs returns the arguments of the entry that records r.
func RotationArgs(r checkpoint.Rotation) []Arg {
	return []Arg{
		{Name: argOld, Value: r.Old},
		{Name: argNew, Value: r.New},
		{Name: argSignature, Value: r.Signature},
	}
}

// RotationOf reads a rotation of the log's key from an entry. It reports false for entries of
// other keys, of tokens and of authorities, which are rotated by the same event.
func RotationOf(e *Entry) (checkpoint.Rotation, bool) {
	var r checkpoint.Rotation
	for _, arg := range e.Args {
		switch arg.Name {
		case argOld:
			r.Old = arg.Value
		case argNew:
			r.New = arg.Value
		case argSignature:
			r.Signature = arg.Value
		}
	}
	from, err := checkpoint.OriginOf(r.Old)
	if err != nil {
		return r, false
	}
	to, err := checkpoint.OriginOf(r.New)
	return r, err == nil && from == to && e.Event == EventKeyRotate
}

const (
	// maxRotations bounds the rotations that are read from one log, and maxGone the missing bundles
	// after which reading stops.
	maxRotations = 10_000
	maxGone      = 1_000
)

// Rotated returns keys, and those that follow from them by rotations in the entries of the log from
// an index on, and the size up to which it has read. It reads nothing of a log of another origin.
func Rotated(ctx context.Context, files Files, keys []string, from int64) (all []string, to int64,
	err error,
) {
	signed, err := files.ReadFile(ctx, checkpoint.File, checkpoint.MaxBytes)
	if err != nil {
		return keys, from, err
	}
	c, err := checkpoint.Parse(signed)
	if err != nil || c.Size <= from || !slices.ContainsFunc(keys, func(key string) bool {
		origin, err := checkpoint.OriginOf(key)
		return err == nil && origin == c.Origin
	}) {
		return keys, from, nil
	}
	rotations, err := scanRotations(ctx, files, from, c.Size)
	if err != nil {
		return keys, from, err
	}
	return checkpoint.Successors(keys, rotations), c.Size, nil
}

// scanRotations reads the rotations in the entries of a log of this size, in the bundles from that
// of an index on. The entries are not authenticated: a caller must check Rotation.Signed, or verify
// the log.
func scanRotations(ctx context.Context, files Files, from, size int64) ([]checkpoint.Rotation,
	error,
) {
	var (
		wg         sync.WaitGroup
		next, gone atomic.Int64
		mu         sync.Mutex
		found      = make(map[checkpoint.Rotation]bool) // guarded by mu
		failed     error                                // guarded by mu
	)
	caller := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	next.Store(from >> merkle.TileHeight)
	bundle := func(n int64) error {
		t := merkle.TileAt(size, merkle.EntriesLevel, n)
		data, held, err := readTile(ctx, files, t)
		var file *FileError
		if errors.As(err, &file) {
			if gone.Add(1) > maxGone {
				stop()
			}
			return nil // verifying reports it missing
		}
		if err != nil || !bytes.Contains(data, []byte(EventKeyRotate)) {
			return err
		}
		_, err = merkle.ReadBundle(data, t.Width, held, func(_ int, leaf []byte) error {
			entry, err := ParseEntry(leaf)
			if err != nil {
				return nil // an entry of another version has no rotation
			}
			if r, is := RotationOf(entry); is {
				mu.Lock()
				defer mu.Unlock()
				if len(found) < maxRotations {
					found[r] = true
				}
			}
			return nil
		})
		if errors.Is(err, merkle.ErrBundle) {
			return nil // verifying reports it malformed
		}
		return err
	}
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for n := next.Add(1) - 1; n<<merkle.TileHeight < size &&
				ctx.Err() == nil; n = next.Add(1) - 1 {
				if err := bundle(n); err != nil && ctx.Err() == nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					stop()
				}
			}
		})
	}
	wg.Wait()
	if failed == nil {
		failed = caller.Err()
	}
	return slices.Collect(maps.Keys(found)), failed
}
