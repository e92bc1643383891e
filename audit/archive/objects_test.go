package archive_test

import (
	"context"
	"sync"
	"testing"

	"example.com/atm/audit/archive"
	"example.com/atm/audit/archive/archivetest"
)

// serial is an archive that writes one object after the other.
type serial struct {
	archive.Objects
	mu sync.Mutex
}

func (s *serial) Put(ctx context.Context, name string, content archive.Content) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Objects.Put(ctx, name, content)
}

func TestFolderPassesTheSuite(t *testing.T) {
	t.Parallel()
	archivetest.Run(t, func(t *testing.T) (archive.Objects, func() archive.Objects) {
		root := t.TempDir()
		return archive.NewFolder(root), func() archive.Objects { return archive.NewFolder(root) }
	})
}
