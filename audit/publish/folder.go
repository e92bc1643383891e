package publish

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/internal/durable"
)

// A folder is the folder with the files of a published log.
type folder string

func (f folder) path(name string) string {
	return filepath.Join(string(f), filepath.FromSlash(name))
}

// read reads a file at the top level of the log.
func (f folder) read(name string) ([]byte, error) {
	return audit.Dir(f).ReadFile(context.Background(), name, checkpoint.MaxBytes)
}

// write writes a file at the top level of the log atomically, and syncs it.
func (f folder) write(name string, data []byte) error {
	return durable.WriteFile(f.path(name), data, 0o600)
}

// has reports whether the file of a tile exists.
func (f folder) has(t merkle.Tile) bool {
	_, err := os.Lstat(f.path(t.Path()))
	return err == nil
}

// missing returns the first file with entries from, from+1, … to-1 that a log of this size lacks
// or that has the wrong size, or "" if all files are present. It leaves out files that end before
// from, which a pruned log need not have.
func (f folder) missing(size, from, to int64) string {
	for level := merkle.EntriesLevel; level < merkle.Levels(size); level++ {
		end := (merkle.HashesAt(to, level) + merkle.TileWidth - 1) >> merkle.TileHeight
		for n := merkle.HashesAt(from, level) >> merkle.TileHeight; n < end; n++ {
			t := merkle.TileAt(size, level, n)
			info, err := os.Lstat(f.path(t.Path()))
			if err != nil || !info.Mode().IsRegular() || level >= 0 &&
				info.Size() != int64(t.Width*len(merkle.Hash{})) || info.Size() == 0 {
				return t.Path()
			}
		}
	}
	return ""
}

// edge reads the last tile of each level and checks that they hash to the root in claim.
func (f folder) edge(claim checkpoint.Checkpoint) ([][]merkle.Hash, error) {
	edge := make([][]merkle.Hash, merkle.Levels(claim.Size))
	for level := range edge {
		t := merkle.LastTile(claim.Size, level)
		if t.Width == 0 {
			continue // the level consists of complete tiles
		}
		data, err := audit.Dir(f).ReadFile(context.Background(), t.Path(), merkle.TileBytes)
		if err != nil {
			return nil, err
		}
		hashes, ok := merkle.SplitHashes(data, t.Width, t.Width)
		if !ok {
			return nil, &audit.FileError{Name: t.Path(), Err: errors.New("cut short")}
		}
		edge[level] = hashes
	}
	if merkle.RootOf(claim.Size, edge) != claim.Root {
		return nil, errors.New("the last tiles do not hash to the root in the checkpoint")
	}
	return edge, nil
}

// partials are the partial tiles in a folder. Tiles that a newer checkpoint does not need are
// kept for a while, because a reader may be using them.
type partials struct {
	folder  folder
	current []string  // of the last checkpoint
	retired []retired // of earlier checkpoints, the oldest first
}

// retired is a superseded partial tile.
type retired struct {
	path string
	at   time.Time
}

// supersede records the partial tiles of a new checkpoint.
func (p *partials) supersede(now []string) {
	at := time.Now()
	for _, path := range p.current {
		if !slices.Contains(now, path) {
			p.retired = append(p.retired, retired{path, at})
		}
	}
	p.current = now
	p.tidy(at.Add(-grace))
}

// tidy deletes the partial tiles that were superseded before then.
func (p *partials) tidy(then time.Time) {
	for len(p.retired) > 0 && p.retired[0].at.Before(then) {
		path := p.folder.path(p.retired[0].path)
		p.retired = p.retired[1:]
		if err := os.Remove(path); err == nil {
			os.Remove(filepath.Dir(path)) // fails while the folder is not empty
		}
	}
}

// adopt finds the partial tiles that an earlier process left in the folder of a log of this
// size. It keeps those of the last checkpoint and deletes older ones.
func (p *partials) adopt(size int64) {
	for level := merkle.EntriesLevel; level < merkle.Levels(size); level++ {
		last := merkle.LastTile(size, level)
		for n := max(0, last.N-1); n <= last.N; n++ {
			for width := 1; width < merkle.TileWidth; width++ {
				t := merkle.Tile{Level: level, N: n, Width: width}
				if t == last {
					p.current = append(p.current, t.Path())
				} else if p.folder.has(t) {
					p.retired = append(p.retired, retired{path: t.Path()})
				}
			}
		}
	}
	p.tidy(time.Now())
}
