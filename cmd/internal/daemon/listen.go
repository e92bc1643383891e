package daemon

import (
	"fmt"
	"net"
	"strings"

	"example.com/atm/cmd/internal/datadir"
)

// Listen has the listeners of a server.
type Listen struct {
	RPC     net.Listener
	Admin   net.Listener // nil if switched off
	Console net.Listener // for the console alone; nil if it is where RPC is, or off
	Metrics net.Listener // for the metrics alone, on any address; nil for none
}

// Close closes the listeners.
func (l Listen) Close() {
	l.RPC.Close()
	for _, other := range []net.Listener{l.Admin, l.Console, l.Metrics} {
		if other != nil {
			other.Close()
		}
	}
}

// OpenConsole opens a listener for the console alone.
func (l *Listen) OpenConsole(address string) (err error) {
	l.Console, err = open(address)
	return err
}

// OpenMetrics opens a listener for the metrics alone.
func (l *Listen) OpenMetrics(address string) (err error) {
	l.Metrics, err = open(address)
	return err
}

// open opens a listener; an error comes with the nil interface.
func open(address string) (net.Listener, error) {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return nil, fmt.Errorf("%w: %q is not an address to listen on: %w", datadir.ErrUsage,
			address, err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

// Addresses opens the listeners for both addresses. An empty admin address switches those
// endpoints off. Sockets from a supervisor take precedence over addresses. The admin endpoints
// have no sign-in, so they must be on loopback.
func Addresses(rpc, admin string) (Listen, error) {
	var listen Listen
	if _, _, err := net.SplitHostPort(rpc); err != nil {
		return Listen{}, fmt.Errorf("%w: %q is not an address to listen on: %w", datadir.ErrUsage,
			rpc, err)
	}
	if admin != "" {
		if err := onLoopback(admin); err != nil {
			return Listen{}, err
		}
	}
	sockets, err := inherited()
	if err != nil {
		return Listen{}, err
	}
	if listen.RPC = sockets[rpcSocket]; listen.RPC == nil {
		if listen.RPC, err = net.Listen("tcp", rpc); err != nil {
			return Listen{}, fmt.Errorf("listen on %s: %w", rpc, err)
		}
	}
	switch listen.Admin = sockets[adminSocket]; {
	case admin == "":
		if listen.Admin != nil { // switched off, although the supervisor made the socket
			listen.Admin.Close()
			listen.Admin = nil
		}
		return listen, nil
	case listen.Admin != nil:
		if err := onLoopback(listen.Admin.Addr().String()); err != nil &&
			listen.Admin.Addr().Network() != "unix" {
			listen.Close()
			return Listen{}, fmt.Errorf("the socket %s that was handed over: %w", adminSocket, err)
		}
		return listen, nil
	}
	if listen.Admin, err = net.Listen("tcp", admin); err != nil {
		listen.RPC.Close()
		return Listen{}, fmt.Errorf("listen on %s: %w", admin, err)
	}
	return listen, nil
}

func onLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%w: %q is not an address to listen on: %w", datadir.ErrUsage, address,
			err)
	}
	local := strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
	if ip := net.ParseIP(host); !local && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%w: the admin endpoints have no sign-in and listen on loopback only, "+
			"not on %q", datadir.ErrUsage, address)
	}
	return nil
}
