package daemon

import (
	"context"
	"io"

	"example.com/atm/cmd/internal/backup"
	"example.com/atm/cmd/internal/storage"
)

// Backup writes a backup of the running server. It holds everything that was
// answered before it began.
func (h *Server) Backup(ctx context.Context, w io.Writer) error {
	return backup.Write(ctx, w, h.dir, &h.keys, h.snapshot)
}

// snapshot writes the vault as it is at one moment to a file. What is in a
// database goes into a vault of the same key: a backup is restored without one.
// The caller holds keys.
func (h *Server) snapshot(ctx context.Context, file string) error {
	if h.file != nil {
		return h.file.Snapshot(file)
	}
	return storage.Export(ctx, h.store, file, h.key.Secret)
}
