//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// A connection is one to a server, and the newest answer on it.
type connection struct {
	server string
	config *tls.Config // nil for plain HTTP

	conn   net.Conn // nil when it is closed
	in     *bufio.Reader
	answer []byte
}

// dial makes the connection.
func (c *connection) dial(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.server)
	if err != nil {
		return err
	}
	c.conn = conn
	if c.config != nil {
		secured := tls.Client(conn, c.config)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return err
		}
		c.conn = secured
	}
	if c.in == nil {
		c.in = bufio.NewReaderSize(c.conn, 32<<10)
	}
	c.in.Reset(c.conn)
	return nil
}

func (c *connection) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// A head is what matters of the head of an answer.
type head struct {
	status    int
	challenge string
	last      bool // the server closes the connection
}

// read reads an answer, its body into c.answer.
func (c *connection) read() (head, error) {
	var h head
	length := -1
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(line) < 12 {
		return h, fmt.Errorf("no answer in HTTP: %q", line)
	}
	h.last = line[7] == '0'
	if h.status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return h, fmt.Errorf("no answer in HTTP: %q", line)
	}
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return h, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		switch name, value, _ := bytes.Cut(line, []byte(": ")); {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return h, err
			}
		case bytes.EqualFold(name, []byte("Connection")):
			h.last = h.last || string(value) == "close"
		case bytes.EqualFold(name, []byte("WWW-Authenticate")) && bytes.HasPrefix(value,
			[]byte("Digest ")):
			h.challenge = string(value)
		}
	}
	if length < 0 {
		return h, errors.New("an answer of no known length")
	}
	if cap(c.answer) < length {
		c.answer = make([]byte, length)
	}
	c.answer = c.answer[:length]
	_, err = io.ReadFull(c.in, c.answer)
	return h, err
}
