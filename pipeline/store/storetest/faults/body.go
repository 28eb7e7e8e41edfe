package faults

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
)

type faultKey struct{}

type bodyFault struct {
	fault Fault
	done  <-chan struct{}
}

func withFault(ctx context.Context, f Fault, done <-chan struct{}) context.Context {
	return context.WithValue(ctx, faultKey{}, bodyFault{f, done})
}

// spoil breaks the body of an answer as its request was told to.
func spoil(resp *http.Response) error {
	f, ok := resp.Request.Context().Value(faultKey{}).(bodyFault)
	if !ok {
		return nil
	}
	if f.fault == NoChecksums {
		maps.DeleteFunc(resp.Header, func(k string, _ []string) bool { return strings.HasPrefix(k, "X-Amz-Checksum-") })
		return nil
	}
	if resp.Request.Method == http.MethodHead {
		return nil
	}
	half := resp.ContentLength / 2
	switch f.fault {
	case Truncate:
		resp.Body = &cut{ReadCloser: resp.Body, left: half}
	case StallBody:
		resp.Body = &cut{ReadCloser: resp.Body, left: half, wait: func() {
			select {
			case <-f.done:
			case <-resp.Request.Context().Done():
			}
		}}
	case Corrupt:
		resp.Body = &flip{ReadCloser: resp.Body, at: half}
	}
	return nil
}

// cut ends a body early, the length in the header notwithstanding.
type cut struct {
	io.ReadCloser
	left int64
	wait func()
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		if c.wait != nil {
			c.wait()
		}
		return 0, errors.New("cut")
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// flip changes one bit of the byte at.
type flip struct {
	io.ReadCloser
	at, off int64
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if i := f.at - f.off; i >= 0 && i < int64(n) {
		p[i] ^= 1
	}
	f.off += int64(n)
	return n, err
}
