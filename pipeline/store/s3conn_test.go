package store

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"time"
)

// Who writes on a connection that the reader found reset, and that was closed for
// that, is told of the reset.
func TestConnectionTellsWhyItEnded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		far, err := l.Accept()
		if err == nil {
			far.Read(make([]byte, 1))
			far.(*net.TCPConn).SetLinger(0) // its end is a reset
			far.Close()
		}
	}()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{Conn: near, stall: 10 * time.Second}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read: %v", err)
	}
	c.Close()
	if _, err := c.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write: %v", err)
	}
}
