package offline

import (
	"context"
	"errors"
	"log/slog"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/inbox"
)

// Issue issues a client certificate in a data folder. The server that runs on the folder
// does it; without one, Issue opens the folder itself. Somebody who is disabled is enabled.
//
// The owner of the disk needs no credential for it: this is the way back when no operator
// has a good one. It is an act of administration as any other, with an entry in the log.
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
