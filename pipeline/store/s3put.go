package store

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/minio/minio-go/v7"
)

// Amazon S3's limits ("Multipart upload limits" in its User Guide).
const (
	minPart  = 5 << 20
	maxPart  = 5 << 30
	maxParts = 10_000
)

// Put implements [Store].
func (s *S3) Put(ctx context.Context, name string, r io.ReaderAt, o Object) (reused bool, err error) {
	defer func() { err = s.fail("put", name, err) }()
	if err := o.valid(name); err != nil {
		return false, err
	}
	if len(s.key(name)) > maxName {
		return false, fmt.Errorf("the key with its prefix is longer than %d bytes", maxName)
	}
	have, err := s.there(ctx, name)
	if err != nil {
		return false, err
	}
	if have.same(o) {
		s.o.Progress(o.Size)
		return true, nil
	}
	src := &source{r: r}
	partSize := s.partSize(o.Size)
	switch {
	case partSize > maxPart:
		return false, fmt.Errorf("%d bytes are more than %d parts of 5 GiB", o.Size, maxParts)
	case o.Size <= partSize:
		err = s.putWhole(ctx, name, src, o)
	default:
		err = s.putParts(ctx, name, src, o, partSize)
	}
	return false, err
}

// there is what has the name already. Only what this program put may be replaced.
func (s *S3) there(ctx context.Context, name string) (Object, error) {
	info, err := s.head(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return Object{}, nil
	}
	if err != nil {
		return Object{}, err
	}
	have, err := objectOf(name, info)
	if errors.Is(err, ErrMismatch) {
		return Object{}, nil // ours, and damaged
	}
	if err == nil && have.SHA256 == "" {
		return Object{}, errors.New("there is an object of that name that statelift did not put there; it is left alone")
	}
	return have, err
}

// partSize is a function of the size alone, so that a later run cuts an object
// the same way.
func (s *S3) partSize(size int64) int64 {
	const unit = 1 << 20
	least := (size + maxParts - 1) / maxParts
	return max(s.o.PartSize, (least+unit-1)/unit*unit)
}

func (s *S3) putWhole(ctx context.Context, name string, src *source, o Object) error {
	sum, err := sumSection(ctx, src, 0, o.Size)
	if err != nil {
		return err
	}
	if hex.EncodeToString(sum) != o.SHA256 {
		return mismatch(o.SHA256, sum)
	}
	opts := minio.PutObjectOptions{UserMetadata: headers(o), DisableContentSha256: true}
	opts.UserMetadata[checksumHeader] = base64.StdEncoding.EncodeToString(sum)
	err = s.send(ctx, src, 0, o.Size, sum, func(body io.Reader) error {
		_, err := s.core.PutObject(ctx, s.spec.Bucket, s.key(name), body, o.Size, "", o.SHA256, opts)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.confirm(ctx, name, o, sum); err != nil {
		return err
	}
	s.o.Progress(o.Size)
	return nil
}

var (
	checksumHeader    = http.CanonicalHeaderKey("X-Amz-Checksum-Sha256")
	checksumAlgorithm = http.CanonicalHeaderKey("X-Amz-Checksum-Algorithm")
)

// send makes a request with a section of the source as its body, again after
// transient faults. When the server says that the body was not what the header
// said, the section is read again: it may have changed since it was summed.
func (s *S3) send(ctx context.Context, src *source, off, size int64, sum []byte, request func(io.Reader) error) error {
	return s.retry(ctx, func() error {
		err := request(io.NewSectionReader(src, off, size))
		if fault := src.fault(); fault != nil {
			return fault // whatever the client made of it
		}
		if err == nil || !isDigestFault(err) {
			return err
		}
		now, rerr := sumSection(ctx, src, off, size)
		if rerr != nil {
			return rerr
		}
		if !bytes.Equal(now, sum) {
			return mismatch(hex.EncodeToString(sum), now)
		}
		return err
	})
}

// confirm asks the server what it has now. A server that keeps no checksums has
// to give the object back: it is read and summed here.
func (s *S3) confirm(ctx context.Context, name string, o Object, sum []byte) error {
	var info minio.ObjectInfo
	err := s.retry(ctx, func() (err error) {
		info, err = s.core.StatObject(ctx, s.spec.Bucket, s.key(name), minio.StatObjectOptions{Checksum: true})
		if errors.Is(plain(err), ErrNotFound) {
			return errNotYet
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("confirm: %w", err)
	}
	have, err := objectOf(name, info)
	switch {
	case err != nil:
		return fmt.Errorf("confirm: %w", err)
	case have.Size != o.Size:
		return fmt.Errorf("confirm: the store has %d bytes, not %d: %w", have.Size, o.Size, ErrMismatch)
	case have.SHA256 != o.SHA256:
		// A continued upload that began for other content says so only now.
		return fmt.Errorf("confirm: the store says SHA-256 %q, not %s: %w: %w", have.SHA256, o.SHA256, ErrMismatch, errOtherUpload)
	case info.ChecksumSHA256 == "":
		return s.readBack(ctx, name, o)
	}
	kept, _, _ := strings.Cut(info.ChecksumSHA256, "-")
	if kept != base64.StdEncoding.EncodeToString(sum) {
		return fmt.Errorf("confirm: the store's checksum %s is not %s: %w", kept, base64.StdEncoding.EncodeToString(sum), ErrMismatch)
	}
	return nil
}

// errNotYet: what was put is not there at once on stores without read-after-write.
var errNotYet = errors.New("the store does not show the object after it took it")

func (s *S3) readBack(ctx context.Context, name string, o Object) error {
	r, _, err := s.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	sum, err := sumStream(ctx, r)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if hex.EncodeToString(sum) != o.SHA256 {
		return fmt.Errorf("read back: %w", mismatch(o.SHA256, sum))
	}
	return nil
}

// source remembers the fault of the reader below, which an HTTP client would
// take for one of the network.
type source struct {
	r  io.ReaderAt
	mu sync.Mutex
	e  *sourceError
}

// sourceError is a fault of what is read, never of the store.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return "read the source: " + e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// ReadAt implements [io.ReaderAt].
func (s *source) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.e = &sourceError{err}
	return n, s.e
}

func (s *source) fault() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.e == nil {
		return nil
	}
	return s.e
}
