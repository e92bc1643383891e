package dynstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/replicated"
	"example.com/atm/vault/secrets"
)

// files are the files that all replicas share: keys and certificates of the installation.
type files struct {
	table *table.Table
	chain *chain.Chain
	keys  *secrets.Keys
	tell  func([]replicated.File) error

	adopting sync.Mutex    // held while files are adopted
	adopted  atomic.Uint64 // version of the newest file that was adopted
}

const inFiles = "file"

// A sealed file begins with whether it is there at all.
const (
	fileGone  = 0
	fileThere = 1
)

// sealFile returns the item of a file.
func sealFile(k *secrets.Keys, f replicated.File) table.Item {
	plain := []byte{fileGone}
	if f.Data != nil {
		plain = append([]byte{fileThere}, f.Data...)
	}
	return table.Item{
		Key:  table.Key{PK: inFiles, SK: textSK([]byte(f.Name))},
		Data: k.Seal(secrets.File, f.Name, plain),
	}
}

func openFile(k *secrets.Keys, i *table.Item) (f replicated.File, err error) {
	name, err := textOf(i.SK, nil)
	if err != nil {
		return f, fmt.Errorf("file, key %s: %w", i.SK, err)
	}
	f.Name = string(name)
	plain, err := k.Open(secrets.File, f.Name, i.Data)
	if err == nil && len(plain) > 0 && plain[0] == fileThere {
		f.Data = plain[1:]
	}
	return f, err
}

// put changes files, together.
func (f *files) put(ctx context.Context, list []replicated.File) error {
	return f.chain.Change(ctx, func(now *chain.State, next *chain.Head) ([]chain.Write, error) {
		next.Files = now.Version + 1
		writes := make([]chain.Write, len(list))
		for i := range list {
			writes[i].Item = sealFile(f.keys, list[i])
		}
		return writes, nil
	})
}

// since returns the files that changed after a version of the head, in the order of the changes,
// and the version of the newest.
func (f *files) since(ctx context.Context, version uint64) (list []replicated.File, newest uint64,
	err error,
) {
	items, err := f.table.List(ctx, inFiles, table.Range{})
	if err != nil {
		return nil, 0, err
	}
	items = slices.DeleteFunc(items, func(i *table.Item) bool { return i.Version <= version })
	slices.SortFunc(items, func(a, b *table.Item) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.SK, b.SK))
	})
	for _, item := range items {
		file, err := openFile(f.keys, item)
		if err != nil {
			return nil, 0, err
		}
		list, newest = append(list, file), item.Version
	}
	return list, newest, nil
}

// adopt tells of files that are new, if newest, the version of the newest file, says that there
// are any.
func (f *files) adopt(ctx context.Context, newest uint64) error {
	if newest <= f.adopted.Load() {
		return nil
	}
	f.adopting.Lock()
	defer f.adopting.Unlock()
	list, version, err := f.since(ctx, f.adopted.Load())
	if err != nil || len(list) == 0 {
		return err
	}
	if err := f.tell(list); err != nil {
		return fmt.Errorf("files of another replica: %w", err)
	}
	f.adopted.Store(version)
	return nil
}

// PutFiles implements replicated.Files.
func (s *Store) PutFiles(ctx context.Context, list ...replicated.File) error {
	return s.files.put(ctx, list)
}

// AllFiles implements replicated.Files.
func (s *Store) AllFiles(ctx context.Context) ([]replicated.File, error) {
	list, _, err := s.files.since(ctx, 0)
	return list, err
}
