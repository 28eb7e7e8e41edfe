package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// ruled is a transport that speaks plain http to this machine and to the host
// plain only, and gives a request up when no byte moves for too long.
type ruled struct {
	next  http.RoundTripper
	plain string // HOST[:PORT]
	stall time.Duration
}

// stalledError is worth another attempt, so it is Temporary.
type stalledError struct{ after time.Duration }

func (e stalledError) Error() string   { return fmt.Sprintf("nothing moved for %v", e.after) }
func (e stalledError) Temporary() bool { return true }
func (e stalledError) Timeout() bool   { return true }

// RoundTrip implements http.RoundTripper.
func (t *ruled) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && req.URL.Host != t.plain && !thisMachine(req.URL.Hostname()) {
		return nil, fmt.Errorf("%s speaks plain %s, which only a registry on this machine may, or one that is given as http://%s", req.URL.Host, req.URL.Scheme, req.URL.Host)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	stalled := stalledError{t.stall}
	watch := &watchdog{timer: time.AfterFunc(t.stall, func() { cancel(stalled) }), every: t.stall}
	end := func() { watch.timer.Stop(); cancel(nil) }
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watched{ReadCloser: req.Body, dog: watch}
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		end()
		if context.Cause(ctx) == error(stalled) {
			err = stalled
		}
		return nil, err
	}
	resp.Body = &watched{ReadCloser: resp.Body, dog: watch, end: end, fault: func(err error) error {
		if context.Cause(ctx) == error(stalled) {
			return stalled
		}
		return err
	}}
	return resp, nil
}

type watchdog struct {
	timer *time.Timer
	every time.Duration
}

// watched tells the watchdog that bytes move.
type watched struct {
	io.ReadCloser
	dog   *watchdog
	end   func()
	fault func(error) error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.dog.timer.Reset(w.dog.every)
	}
	if err != nil && err != io.EOF && w.fault != nil {
		err = w.fault(err)
	}
	return n, err
}

func (w *watched) Close() error {
	err := w.ReadCloser.Close()
	if w.end != nil {
		w.end()
	}
	return err
}

func thisMachine(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// bound gives a context to requests of code that takes none.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b bound) RoundTrip(req *http.Request) (*http.Response, error) {
	return b.next.RoundTrip(req.WithContext(b.ctx))
}

// patient tries requests again after faults that pass.
func (r *Registry) patient(next http.RoundTripper) http.RoundTripper {
	return transport.NewRetry(next, transport.WithRetryBackoff(r.backoff),
		transport.WithRetryPredicate(passes), transport.WithRetryStatusCodes(passing...))
}

// passing are the answers after which the same request may succeed later.
var passing = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// passes reports whether the same request may succeed later: a connection that
// was lost, a server that said nothing, or one of the answers above.
func passes(err error) bool {
	var temporary interface{ Temporary() bool }
	if errors.As(err, &temporary) && temporary.Temporary() {
		return true
	}
	for _, lost := range []error{io.ErrUnexpectedEOF, io.EOF, syscall.EPIPE, syscall.ECONNRESET, net.ErrClosed} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return false
}
