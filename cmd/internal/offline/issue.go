package offline

import (
	"context"
	"errors"
	"log/slog"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/inbox"
)

// Issue issues a client certificate in a data folder. If a server runs on the folder, the
// server issues it; otherwise Issue opens the folder itself. A disabled subject is enabled.
//
// The owner of the disk needs no credential for this. It is the way back if no operator has a
// good credential. Like every act of administration, it has an entry in the log.
func (f Folder) Issue(ctx context.Context, request inbox.Issuing, log *slog.Logger) (inbox.Issued,
	error,
) {
	dir, _, err := f.lock(ctx)
	if errors.Is(err, datadir.ErrInUse) {
		running := datadir.At(f.Data)
		return inbox.Ask(ctx, running.Requests(), request)
	}
	if err != nil {
		return inbox.Issued{}, err
	}
	if err := dir.Close(); err != nil {
		return inbox.Issued{}, err
	}
	srv, err := daemon.Open(ctx, daemon.Options{
		Data: f.Data, Store: f.Store, Passphrase: f.Passphrase, Log: log,
	})
	if err != nil {
		return inbox.Issued{}, err
	}
	answer, err := srv.Issue(ctx, request)
	return answer, errors.Join(err, srv.Close())
}
