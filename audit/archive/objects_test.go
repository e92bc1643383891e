package archive_test

import (
	"context"
	"sync"

	"example.com/atm/audit/archive"
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
