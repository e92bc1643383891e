package daemon

import (
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	// lookEach is how often the vault is looked for where it should be.
	lookEach = 500 * time.Millisecond

	// endWithin is how long a stop may take after the vault was lost or a commit has
	// failed. What waits for a lock that nobody lets go of waits for good.
	endWithin = 4 * time.Second
)

// watch ends the process when its vault is lost or cannot commit: it calls stop, and if
// that was not enough, the process ends without it. It goes on until the function that it
// returns is called.
func (h *Server) watch(stop func()) (end func()) {
	ended, failed := make(chan struct{}), h.ledger.Failed() // which Close puts away
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-failed: // which has told why
			h.noteRollback()
		case <-h.gone(ended):
			h.opts.Log.Error("the vault is lost; the process must end", slog.Any("error", h.lost()))
		case <-ended:
			return
		}
		stop()
		select {
		case <-time.After(endWithin):
			h.opts.Log.Error("the stop takes too long; the process ends without it")
			os.Exit(1)
		case <-ended:
		}
	})
	return func() {
		close(ended)
		wg.Wait()
	}
}

// gone is closed when the vault is lost. It looks for it until ended is closed.
func (h *Server) gone(ended <-chan struct{}) <-chan struct{} {
	if h.file == nil {
		return nil
	}
	file := h.file
	go func() {
		each := time.NewTicker(lookEach)
		defer each.Stop()
		for file.Look() == nil {
			select {
			case <-each.C:
			case <-file.Lost():
			case <-ended:
				return
			}
		}
	}()
	return file.Lost()
}

// lost says why the vault in the folder is lost; nil while it is not.
func (h *Server) lost() error {
	if h.file == nil {
		return nil
	}
	return h.file.LostBecause()
}
