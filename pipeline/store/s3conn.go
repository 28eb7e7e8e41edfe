package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/minio/minio-go/v7"
)

// newTransport is the library's, with connections that notice a stall. There is
// no limit to how long a request may take, only to how long nothing happens.
func newTransport(secure bool, stall time.Duration) (*http.Transport, error) {
	t, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	t.ResponseHeaderTimeout = 0
	dial := (&net.Dialer{Timeout: min(30*time.Second, stall), KeepAlive: 30 * time.Second}).DialContext
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &conn{Conn: c, stall: stall}, nil
	}
	return t, nil
}

// conn is a connection on which something has to happen: each byte written or
// read gives another stall's time to both directions, since a server says
// nothing while it is sent a long body.
type conn struct {
	net.Conn
	stall   time.Duration
	stalled atomic.Bool
	broken  atomic.Pointer[error] // by what the connection ended
}

func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, c.explain(err)
	}
	n, err := c.Conn.Read(p)
	return n, c.explain(err)
}

// writeSize bounds one write, so that a slow one counts as progress.
const writeSize = 64 << 10

func (c *conn) Write(p []byte) (n int, err error) {
	for {
		if err := c.SetDeadline(time.Now().Add(c.stall)); err != nil {
			return n, c.explain(err)
		}
		m, err := c.Conn.Write(p[n:min(len(p), n+writeSize)])
		n += m
		if err != nil || n == len(p) {
			return n, c.explain(err)
		}
	}
}

// explain says by what the connection ended, also to the other direction, which
// finds it closed: that it was a stall, or what the first error was.
func (c *conn) explain(err error) error {
	switch first := c.broken.Load(); {
	case err == nil:
		return nil
	case !errors.Is(err, net.ErrClosed):
		c.broken.CompareAndSwap(nil, &err)
	case first != nil:
		err = *first
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.stalled.Store(true)
	}
	if c.stalled.Load() {
		return fmt.Errorf("nothing happened for %s: %w", c.stall, err)
	}
	return err
}
