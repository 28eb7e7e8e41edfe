package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Open streams a blob from its start. A connection that breaks or says nothing
// is made again, and goes on where it was (RFC 9110 section 14, range requests).
// The caller closes it, and verifies size and digest. The error is
// fs.ErrNotExist when the registry has no such blob.
func (p *Repository) Open(ctx context.Context, digest string) (io.ReadCloser, error) {
	d := &download{ctx: ctx, p: p, digest: digest}
	if err := d.open(); err != nil {
		return nil, p.registry.explain(err)
	}
	return d, nil
}

type download struct {
	ctx    context.Context
	p      *Repository
	digest string
	body   io.ReadCloser
	off    int64
	faults int
	sound  int64 // bytes since the last fault
}

// forgiven is how much has to arrive before earlier faults are forgotten.
const forgiven = 8 << 20

// open asks for the blob from off on.
func (d *download) open() error {
	resp, err := d.p.blob(d.ctx, http.MethodGet, d.digest, d.off)
	if err != nil {
		return err
	}
	switch {
	case d.off == 0:
	case resp.StatusCode == http.StatusOK:
		// A server that knows no ranges: what is known already passes by.
		if _, err := io.CopyN(io.Discard, resp.Body, d.off); err != nil {
			resp.Body.Close()
			return fmt.Errorf("blob %s: %w", d.digest, err)
		}
	case !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.off)):
		resp.Body.Close()
		return fmt.Errorf("blob %s: the registry sends %q, not what follows byte %d", d.digest, resp.Header.Get("Content-Range"), d.off)
	}
	d.body = resp.Body
	return nil
}

// Read implements io.Reader.
func (d *download) Read(b []byte) (int, error) {
	for {
		n, err := d.body.Read(b)
		d.off += int64(n)
		if d.sound += int64(n); d.sound > forgiven {
			d.faults = 0
		}
		switch {
		case n > 0:
			return n, nil // the fault, if any, comes back with the next read
		case err == nil:
			continue
		case err == io.EOF:
			return 0, io.EOF
		}
		if err := d.again(err); err != nil {
			return 0, d.p.registry.explain(fmt.Errorf("blob %s after %d bytes: %w", d.digest, d.off, err))
		}
	}
}

// again connects anew, a bounded number of times.
func (d *download) again(err error) error {
	for {
		d.body.Close()
		d.body = http.NoBody
		d.sound = 0
		if d.ctx.Err() != nil {
			return context.Cause(d.ctx)
		}
		if d.faults++; d.faults >= d.p.registry.backoff.Steps || !passes(err) {
			return err
		}
		if err := d.pause(); err != nil {
			return err
		}
		if err = d.open(); err == nil {
			return nil
		}
	}
}

func (d *download) pause() error {
	wait := time.NewTimer(d.p.registry.backoff.Duration << min(d.faults-1, 5))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-d.ctx.Done():
		return errors.Join(d.ctx.Err(), context.Cause(d.ctx))
	}
}

// Close implements io.Closer.
func (d *download) Close() error { return d.body.Close() }
