package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
)

var (
	errDenied         = errors.New("access denied: check the credentials and what they may do in this bucket")
	errNoBucket       = errors.New("the bucket does not exist")
	errNoUpload       = errors.New("the multipart upload does not exist")
	errNotImplemented = errors.New("the server does not know this request")
)

// noSuchUser is what versitygw says of an access key that it does not know, with
// the status 404; S3's own InvalidAccessKeyId comes with 403.
const noSuchUser = "XAdminUserNotFound"

// maxPause is the longest wait between two attempts.
const maxPause = 10 * time.Second

// retry calls f until it succeeds, fails for good, or the attempts are used up.
func (s *S3) retry(ctx context.Context, f func() error) error {
	began := time.Now()
	for attempt := 1; ; attempt++ {
		err := plain(f())
		switch {
		case err == nil:
			return nil
		case context.Cause(ctx) != nil:
			return context.Cause(ctx)
		case !transient(err):
			return err
		case attempt >= s.o.Attempts:
			return fmt.Errorf("given up after %d attempts: %w (all within %s)", attempt, err, time.Since(began).Round(100*time.Millisecond))
		}
		if err := s.pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// pause waits before the next attempt: twice as long each time, and not all
// clients at once.
func (s *S3) pause(ctx context.Context, attempt int) error {
	d := min(s.o.Backoff<<min(attempt-1, 20), maxPause)
	d = d/2 + rand.N(d/2+1)
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// plain turns what the library and net/http say into the errors of this package.
// It keeps what it does not know.
func plain(err error) error {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		// The URL in it names nothing that our own message does not.
		if u := (*url.Error)(nil); errors.As(err, &u) {
			return u.Err
		}
		return err
	}
	var kind error
	switch {
	case r.Code == minio.NoSuchBucket:
		kind = errNoBucket
	case r.Code == minio.NoSuchUpload:
		kind = errNoUpload
	case r.Code == minio.NoSuchKey || r.Code == "NotFound":
		kind = ErrNotFound
	case r.Code == minio.NotImplemented || r.StatusCode == http.StatusNotImplemented || r.StatusCode == http.StatusMethodNotAllowed:
		kind = errNotImplemented
	case r.Code == "RequestTimeTooSkewed":
		kind = errors.New("the clocks of this machine and of the server differ too much")
	case r.StatusCode == http.StatusPreconditionFailed:
		kind = fmt.Errorf("the object was replaced meanwhile: %w", ErrMismatch)
	case r.StatusCode == http.StatusForbidden || r.StatusCode == http.StatusUnauthorized || r.Code == noSuchUser:
		kind = errDenied
	default:
		return &response{ErrorResponse: r}
	}
	return &response{ErrorResponse: r, kind: kind}
}

// response is a server's refusal in our words and in its own.
type response struct {
	minio.ErrorResponse
	kind error
}

func (r *response) Error() string {
	own := strings.TrimSpace(strings.ToValidUTF8(r.Message, "?"))
	if len(own) > 300 {
		own = own[:300] + "…"
	}
	if r.kind == nil {
		return fmt.Sprintf("the server answered %d %s: %s", r.StatusCode, r.Code, own)
	}
	return fmt.Sprintf("%s (%d %s: %s)", r.kind, r.StatusCode, r.Code, own)
}

func (r *response) Unwrap() error { return r.kind }

// digestFaults are the codes of a body that is not what its headers say.
var digestFaults = []string{"BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest", "IncompleteBody"}

func isDigestFault(err error) bool {
	var r minio.ErrorResponse
	if !errors.As(err, &r) {
		if p := (*response)(nil); errors.As(err, &p) {
			r = p.ErrorResponse
		}
	}
	for _, code := range digestFaults {
		if r.Code == code {
			return true
		}
	}
	return false
}

// transient reports whether the same request may succeed later. An answer is,
// when it says so; a lost or broken connection is; a certificate that is not
// trusted is not.
func transient(err error) bool {
	if errors.Is(err, ErrMismatch) || errors.Is(err, context.Canceled) || errors.Is(err, errOtherUpload) {
		return false
	}
	if e := (*sourceError)(nil); errors.As(err, &e) {
		return false
	}
	if errors.Is(err, errNotYet) {
		return true
	}
	if p := (*response)(nil); errors.As(err, &p) {
		switch p.Code {
		case "SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "RequestTimeout", "ServiceUnavailable",
			"Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled", "OperationAborted":
			return true
		}
		if p.kind != nil {
			return false
		}
		return isDigestFault(err) || p.StatusCode >= 500 || p.StatusCode == http.StatusTooManyRequests ||
			p.StatusCode == http.StatusRequestTimeout || p.StatusCode < 400
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *tls.CertificateVerificationError
		record    tls.RecordHeaderError
	)
	for _, final := range []any{&authority, &host, &invalid, &verify, &record} {
		if errors.As(err, final) {
			return false
		}
	}
	return !strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// fail says where and what for.
func (s *S3) fail(verb, name string, err error) error {
	if err == nil {
		return nil
	}
	if name != "" {
		name = " " + name
	}
	return fmt.Errorf("store %s: %s%s: %w", s, verb, name, err)
}
