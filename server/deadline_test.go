package server

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// TestDeadline moves a deadline as net/http does, and lets it be reached.
func TestDeadline(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	conn := tls.Server(ours, &tls.Config{})
	now, never := time.Now(), time.Time{}
	w := watch{begun: now}
	at := func(after time.Duration) int64 { return w.of(now.Add(after)) }
	d := deadline{set: (*tls.Conn).SetReadDeadline, at: w.of(never)}
	move := func(after time.Duration) { d.move(conn, now.Add(after), &w) }
	reached := func() bool {
		read := make(chan error, 1)
		go func() { _, err := ours.Read(make([]byte, 1)); read <- err }()
		go theirs.Write([]byte{1}) // what is not read is read by the next one
		return errors.Is(<-read, os.ErrDeadlineExceeded)
	}

	move(time.Minute)
	if d.look(conn, at(59*time.Second)); reached() {
		t.Error("ended before it was reached")
	}
	if d.look(conn, at(time.Minute)); !reached() {
		t.Error("went on after it was reached")
	}
	move(2 * time.Minute)
	if d.look(conn, at(time.Minute)); reached() {
		t.Error("ended after it was moved on")
	}
	if move(-time.Minute); !reached() {
		t.Error("one in the past did not count at once")
	}
	d.move(conn, never, &w)
	if d.look(conn, at(time.Hour)); reached() {
		t.Error("ended without one")
	}
}
