package publish

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"example.com/atm/audit"
	"example.com/atm/audit/archive"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// Prune removes the bundles and the tiles of level 0 whose entries are all before base, as C2SP
// tlog-tiles describes for pruned logs. The tiles above them stay, because later tiles are
// authenticated through them. base must not be beyond the base of the source, which has archived
// those entries.
//
// The file "pruned" says where the log begins before the first file is removed. A crash leaves some
// of the files, which the next call removes.
func (p *Publisher) Prune(ctx context.Context, base int64) error {
	begins, _, err := p.cfg.Source.Base(ctx)
	if err != nil {
		return err
	}
	if base > begins || base%merkle.TileWidth != 0 {
		return fmt.Errorf("pruning before %d: the vault's entries begin at %d", base, begins)
	}
	if err := p.folder.notePruned(base); err != nil {
		return err
	}
	for n := int64(0); n<<merkle.TileHeight < base; n += pruneAtOnce {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := min(n+pruneAtOnce, base>>merkle.TileHeight)
		for _, level := range []int{merkle.EntriesLevel, 0} {
			if err := p.prune(level, n, end); err != nil {
				return err
			}
		}
	}
	return nil
}

// pruneAtOnce is how many tiles of a level are removed between two rounds. It is a thousand,
// because the files of a thousand tiles are in one folder.
const pruneAtOnce = 1000

// prune removes the tiles n, n+1, … end-1 of a level.
func (p *Publisher) prune(level int, n, end int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	whole := func(n int64) string {
		return p.folder.path(merkle.Tile{Level: level, N: n, Width: merkle.TileWidth}.Path())
	}
	dir := filepath.Dir(whole(n))
	there, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed before
	}
	if err != nil {
		return err
	}
	for _, file := range there {
		name, partial := strings.CutSuffix(file.Name(), ".p")
		number, err := strconv.ParseUint(name, 10, 16)
		if err != nil || n+int64(number) >= end || name != filepath.Base(whole(n+int64(number))) {
			continue // of later tiles, or no tile
		}
		remove := os.Remove
		if partial { // superseded partial tiles
			remove = os.RemoveAll
		}
		err = remove(filepath.Join(dir, file.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	os.Remove(dir) // fails while the folder is not empty
	return nil
}

// notePruned notes that the log begins at base, unless it begins later.
func (f folder) notePruned(base int64) error {
	noted, err := archive.ReadPruned(context.Background(), audit.Dir(f))
	var unusable *audit.FileError
	if err != nil && !errors.As(err, &unusable) {
		return err
	}
	if err == nil && noted >= base {
		return nil
	}
	return f.write(checkpoint.PrunedFile, fmt.Appendf(nil, "%d\n", base))
}

// start returns where writing begins, and the hashes of the last tiles there: at the first entry of
// the last, partial bundle, which is written again as a whole. If the source no longer has that
// entry, writing begins where the source does. The caller holds p.mu.
func (p *Publisher) start(ctx context.Context) (next int64, edge [][]merkle.Hash, err error) {
	base, baseEdge, err := p.cfg.Source.Base(ctx)
	if err != nil {
		return 0, nil, err
	}
	if next = p.written.size &^ (merkle.TileWidth - 1); next >= base {
		if edge = cloneEdge(p.written.edge); len(edge) > 0 {
			edge[0] = edge[0][:0]
		}
		return next, edge, nil
	}
	if p.newest.Size > 0 && p.newest.Size <= base {
		if err := p.checkArchived(ctx, p.newest, base, baseEdge); err != nil {
			return 0, nil, err
		}
	}
	p.written = written{}
	return base, cloneEdge(baseEdge), p.folder.notePruned(base)
}

// checkArchived checks that a state from before the source's entries is one of this log. edge has
// the hashes of the last tiles at base.
func (p *Publisher) checkArchived(ctx context.Context, claim checkpoint.Checkpoint, base int64,
	edge [][]merkle.Hash,
) error {
	if claim.Size == base {
		if root := merkle.RootOf(base, edge); root != claim.Root {
			return contradiction(claim, root)
		}
		return nil
	}
	if p.cfg.Archived == nil {
		return fmt.Errorf("the published audit log has %d entries, the vault those from %d on; "+
			"the archive, in which they could be compared, is not named", claim.Size, base)
	}
	log, err := audit.OpenLog(ctx, p.cfg.Archived, strings.Join(p.cfg.Keys(), "\n"))
	if err != nil {
		return fmt.Errorf("the archive of the audit log: %w", err)
	}
	if log.Size < base {
		return fmt.Errorf("the archive of the audit log has %d entries, the vault those from %d on",
			log.Size, base)
	}
	rootAt := func(size int64) (merkle.Hash, error) {
		edge, err := log.Edge(ctx, size)
		return merkle.RootOf(size, edge), err
	}
	archived, err := rootAt(base)
	root, failed := rootAt(claim.Size)
	switch err := errors.Join(err, failed); {
	case err != nil:
		return fmt.Errorf("the archive of the audit log: %w", err)
	case archived != merkle.RootOf(base, edge):
		return fmt.Errorf("%w: at %d entries its root is not that of the vault",
			archive.ErrOtherLog, base)
	case root != claim.Root:
		return contradiction(claim, root)
	}
	return nil
}
