package server

import (
	"crypto/tls"
	"net"
)

// A conn is a connection below TLS. HTTP is read by net/http and TLS by crypto/tls:
// a conn only knows what net/http is doing with it.
type conn struct {
	net.Conn
	doing connState
}

// connOf returns the connection below one that net/http serves.
func connOf(c net.Conn) *conn {
	return c.(*tls.Conn).NetConn().(*conn) // Serve accepts nothing else
}

// A connListener accepts conns.
type connListener struct {
	net.Listener
}

// Accept implements net.Listener.
func (l *connListener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &conn{Conn: accepted}, nil
}
