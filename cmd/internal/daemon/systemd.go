package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// Under systemd the sockets may be there before the server, and outlive it: who
// connects between a stop and the next start waits, and is not refused. See
// systemd.socket(5) and sd_notify(3).

// Names of sockets (FileDescriptorName=) that the server takes over.
const (
	rpcSocket   = "atmserver"
	adminSocket = "atmserver-admin"
)

// inherited returns the sockets that a supervisor handed over; nil for none.
func inherited() (map[string]net.Listener, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("inherited sockets: %w", err)
	}
	sockets := make(map[string]net.Listener, len(named))
	for name, list := range named {
		if name != rpcSocket && name != adminSocket || len(list) != 1 || sockets[name] != nil {
			return nil, fmt.Errorf("%w: a socket named %q was handed over; there is one named "+
				"%s, and %s for the operator's", datadir.ErrUsage, name, rpcSocket, adminSocket)
		}
		sockets[name] = list[0]
	}
	return sockets, nil
}

// notify tells systemd something; without it nobody listens.
func (h *Server) notify(state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		h.opts.Log.Warn("telling systemd", slog.String("state", state), slog.Any("error", err))
	}
}

// readyEvery is how often a server that is not ready yet looks again.
const readyEvery = 50 * time.Millisecond

// report tells systemd when the server is ready, and that it is alive while it
// does not hang in a commit.
func (h *Server) report(ctx context.Context) {
	for !h.ready() {
		select {
		case <-time.After(readyEvery):
		case <-ctx.Done():
			return
		}
	}
	h.notify(systemd.SdNotifyReady)
	every, err := systemd.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		return
	}
	tick := time.NewTicker(every / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if busy := h.ledger.Busy(); busy < every {
			h.notify(systemd.SdNotifyWatchdog)
		} else {
			h.opts.Log.Error("a commit takes very long", slog.Duration("so_far", busy))
		}
	}
}

func (h *Server) ready() bool {
	for _, part := range h.parts() {
		if part.Err != nil {
			return false
		}
	}
	return true
}
