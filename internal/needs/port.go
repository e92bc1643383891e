package needs

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// The ports that Port tries. They are below those that systems assign to clients, so that a
// server that was stopped finds its own port still free.
const firstPort, ports = 10_000, 22_000

var (
	portMu   sync.Mutex
	lastPort = rand.IntN(ports) // guarded by portMu; processes begin at different ones
	held     []net.PacketConn   // guarded by portMu; never closed
)

// Port returns a TCP port of this machine that nobody listens on. No test of any process is given
// the same one until this process ends, because it holds the UDP port of that number.
func Port() (string, error) {
	portMu.Lock()
	defer portMu.Unlock()
	for range ports {
		lastPort = (lastPort + 1) % ports
		port := strconv.Itoa(firstPort + lastPort)
		hold, err := net.ListenPacket("udp4", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp", "localhost:"+port)
		if err != nil {
			hold.Close()
			continue
		}
		held = append(held, hold)
		return port, l.Close()
	}
	return "", errors.New("there is no free port")
}
