package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"example.com/atm/cmd/internal/datadir"
	"github.com/coreos/go-systemd/v22/activation"
	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// Under systemd the sockets may exist before the server and outlive it, so a client that
// connects between a stop and the next start waits and is not refused. See systemd.socket(5)
// and sd_notify(3).

// Names (FileDescriptorName=) of sockets that the server takes over.
const (
	rpcSocket   = "atmserver"
	adminSocket = "atmserver-admin"
)

// inherited returns the sockets from a supervisor, or nil if there are none.
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

// notify sends systemd a state. Without systemd it does nothing.
func notify(state string, log *slog.Logger) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("telling systemd", slog.String("state", state), slog.Any("error", err))
	}
}

// reportToSystemd tells systemd when the server is ready, that it is alive, and, when ctx is
// done, that it stops. It runs until stop is called.
func (s *Server) reportToSystemd(ctx context.Context) (stop func()) {
	stopping := context.AfterFunc(ctx, func() { notify(systemd.SdNotifyStopping, s.opts.Log) })
	alive, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { s.reportAlive(alive) })
	return func() {
		stopping()
		cancel()
		wg.Wait()
	}
}

// readyEvery is how often a server checks whether it has become ready.
const readyEvery = 50 * time.Millisecond

// reportAlive tells systemd when the server is ready, and then that it is alive, unless a
// commit hangs.
func (s *Server) reportAlive(ctx context.Context) {
	for !s.installation.ready() {
		select {
		case <-time.After(readyEvery):
		case <-ctx.Done():
			return
		}
	}
	notify(systemd.SdNotifyReady, s.opts.Log)
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
		if busy := s.ledger.Busy(); busy < every {
			notify(systemd.SdNotifyWatchdog, s.opts.Log)
		} else {
			s.opts.Log.Error("a commit takes very long", slog.Duration("so_far", busy))
		}
	}
}
