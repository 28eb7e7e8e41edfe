package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/statelift/statelift/pipeline"
)

var (
	errTooLarge = errors.New("it is larger than there is room for")
	errNoRange  = errors.New("the server did not go on where the download was")
	errStalled  = errors.New("the server stopped sending")
)

// guard is what go-getter lacks: it ends a download that stalls or grows without
// end, and refuses to append a whole file, or a part of another version, to a
// part of this one (go-getter takes 200 for 206).
type guard struct {
	next      http.RoundTripper
	silence   time.Duration
	limit     int64
	progress  pipeline.Progress
	validator string // strong ETag or date of what is on the disk
	resumed   bool   // whether the last request went on
}

// transport is that of net/http, which never unpacks: an archive is wanted as it
// is.
func transport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: silence,
		DisableCompression:    true,
		ForceAttemptHTTP2:     true,
	}
}

// noDowngrade follows redirects as browsers do, but never from https to http.
func noDowngrade(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return errors.New("a redirect from https to " + req.URL.Scheme)
	}
	return nil
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	req = req.Clone(ctx)
	ranged := req.Header.Get("Range") != ""
	if ranged && g.validator != "" {
		req.Header.Set("If-Range", g.validator)
	}
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	redirect := resp.StatusCode >= 300 && resp.StatusCode < 400
	switch {
	case ranged && !redirect && resp.StatusCode < 500 && resp.StatusCode != http.StatusPartialContent:
		err = errNoRange
	case !ranged && resp.StatusCode == http.StatusPartialContent:
		err = errors.New("a part of the file, which was not asked for")
	case resp.ContentLength > g.limit && req.Method == http.MethodGet:
		err = fmt.Errorf("%d bytes: %w (%d bytes)", resp.ContentLength, errTooLarge, g.limit)
	}
	if err != nil {
		resp.Body.Close()
		cancel(nil)
		return nil, err
	}
	if req.Method != http.MethodGet || redirect {
		resp.Body = &guarded{ReadCloser: resp.Body, cancel: cancel, guard: g, left: g.limit}
		return resp, nil
	}
	g.resumed = ranged
	g.progress.Begin("download", "bytes", max(resp.ContentLength, 0))
	b := &guarded{ReadCloser: resp.Body, cancel: cancel, guard: g, left: g.limit, ctx: ctx, reports: true}
	b.timer = time.AfterFunc(g.silence, func() { cancel(errStalled) })
	resp.Body = b
	return resp, nil
}

// guarded is a body under watch.
type guarded struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	guard   *guard
	timer   *time.Timer
	left    int64
	reports bool
}

func (b *guarded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.timer != nil {
		b.timer.Reset(b.guard.silence)
	}
	if b.left -= int64(n); b.left < 0 {
		return n, errTooLarge
	}
	if b.reports {
		b.guard.progress.Add(int64(n))
	}
	if err != nil && err != io.EOF && b.ctx != nil && errors.Is(context.Cause(b.ctx), errStalled) {
		err = errStalled
	}
	return n, err
}

func (b *guarded) Close() error {
	if b.timer != nil {
		b.timer.Stop()
	}
	if b.reports {
		b.guard.progress.End()
		b.reports = false
	}
	b.cancel(nil)
	return b.ReadCloser.Close()
}
