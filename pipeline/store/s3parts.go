package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/minio/minio-go/v7"
	"golang.org/x/sync/errgroup"
)

// errOtherUpload: the parts of an unfinished upload are not of this content.
var errOtherUpload = errors.New("the unfinished upload is of other content")

// putParts uploads in parts, and goes on with an upload that was not finished.
// Such an upload is found by its key, and belongs to this content when each of
// its parts has the size and the SHA-256 of ours; else it is given up.
func (s *S3) putParts(ctx context.Context, name string, src *source, o Object, partSize int64) error {
	id, err := s.unfinished(ctx, name)
	if err != nil {
		return err
	}
	if id != "" {
		err := s.putUpload(ctx, name, src, o, partSize, id)
		switch {
		case err == nil, !errors.Is(err, errOtherUpload) && !errors.Is(err, errNoUpload):
			return err
		}
		if err := s.abort(ctx, name, id); err != nil {
			return err
		}
	}
	opts := minio.PutObjectOptions{UserMetadata: headers(o)}
	opts.UserMetadata[checksumAlgorithm] = "SHA256"
	err = s.retry(ctx, func() (err error) {
		id, err = s.core.NewMultipartUpload(ctx, s.spec.Bucket, s.key(name), opts)
		return err
	})
	if err != nil {
		return fmt.Errorf("begin a multipart upload: %w", err)
	}
	return s.putUpload(ctx, name, src, o, partSize, id)
}

// unfinished is the newest upload of the key that was not completed, "" when
// there is none or the server does not tell. Older ones are given up: only one
// can be completed, and they cost the owner of the bucket.
func (s *S3) unfinished(ctx context.Context, name string) (id string, err error) {
	var newest minio.ObjectMultipartInfo
	keyMarker, idMarker := "", ""
	for {
		var page minio.ListMultipartUploadsResult
		err := s.retry(ctx, func() (err error) {
			page, err = s.core.ListMultipartUploads(ctx, s.spec.Bucket, s.key(name), keyMarker, idMarker, "", pageSize)
			return err
		})
		if errors.Is(err, errDenied) || errors.Is(err, errNotImplemented) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("list unfinished uploads: %w", err)
		}
		for _, u := range page.Uploads {
			if u.Key != s.key(name) {
				continue
			}
			if newest.UploadID == "" {
				newest = u
				continue
			}
			old := u
			if u.Initiated.After(newest.Initiated) {
				old, newest = newest, u
			}
			if err := s.abort(ctx, name, old.UploadID); err != nil {
				return "", err
			}
		}
		if !page.IsTruncated || page.NextKeyMarker == keyMarker && page.NextUploadIDMarker == idMarker {
			return newest.UploadID, nil
		}
		keyMarker, idMarker = page.NextKeyMarker, page.NextUploadIDMarker
	}
}

func (s *S3) abort(ctx context.Context, name, id string) error {
	err := s.retry(ctx, func() error {
		return s.core.AbortMultipartUpload(ctx, s.spec.Bucket, s.key(name), id)
	})
	if err != nil && !errors.Is(err, errNoUpload) && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("give up an unfinished upload: %w", err)
	}
	return nil
}

// putUpload sends the parts that upload id lacks and completes it. The source is
// summed from start to end in one goroutine, parts are sent from others.
func (s *S3) putUpload(ctx context.Context, name string, src *source, o Object, partSize int64, id string) error {
	have, err := s.parts(ctx, name, id)
	if err != nil {
		return err
	}
	whole, ofParts := sha256.New(), sha256.New()
	done := make([]minio.CompletePart, (o.Size+partSize-1)/partSize)
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(s.o.Parallel)
	sum := func() error {
		for i := range done {
			off := int64(i) * partSize
			size := min(partSize, o.Size-off)
			sum, err := sumSection(gctx, src, off, size, whole)
			if err != nil {
				return err
			}
			ofParts.Write(sum)
			p, listed := have[i+1]
			if listed && (p.Size != size || p.ChecksumSHA256 != base64.StdEncoding.EncodeToString(sum)) {
				return errOtherUpload
			}
			if listed {
				done[i] = completed(p, sum)
				s.o.Progress(size)
				continue
			}
			group.Go(func() (err error) {
				done[i], err = s.putPart(gctx, name, src, id, i+1, off, size, sum)
				return err
			})
		}
		return nil
	}
	sumErr := sum()
	// A part that failed ends gctx and with it the summing: its error says why.
	if err := errors.Join(group.Wait(), ignoreCancelled(gctx, sumErr)); err != nil {
		return s.giveUp(ctx, name, id, err)
	}
	if got := whole.Sum(nil); hex.EncodeToString(got) != o.SHA256 {
		return s.giveUp(ctx, name, id, mismatch(o.SHA256, got))
	}
	return s.complete(ctx, name, o, id, done, ofParts.Sum(nil))
}

func ignoreCancelled(ctx context.Context, err error) error {
	if context.Cause(ctx) != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// giveUp aborts an upload that can never become the object; any other stays for
// the next Put.
func (s *S3) giveUp(ctx context.Context, name, id string, err error) error {
	if errors.Is(err, ErrMismatch) {
		return errors.Join(err, s.abort(ctx, name, id))
	}
	return err
}

// parts lists what the server has of upload id, by number.
func (s *S3) parts(ctx context.Context, name, id string) (map[int]minio.ObjectPart, error) {
	parts := map[int]minio.ObjectPart{}
	marker := 0
	for {
		var page minio.ListObjectPartsResult
		err := s.retry(ctx, func() (err error) {
			page, err = s.core.ListObjectParts(ctx, s.spec.Bucket, s.key(name), id, marker, pageSize)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list the parts of an unfinished upload: %w", err)
		}
		for _, p := range page.ObjectParts {
			parts[p.PartNumber] = p
		}
		if !page.IsTruncated || page.NextPartNumberMarker <= marker {
			return parts, nil
		}
		marker = page.NextPartNumberMarker
	}
}

func (s *S3) putPart(ctx context.Context, name string, src *source, id string, number int, off, size int64, sum []byte) (minio.CompletePart, error) {
	checksum := base64.StdEncoding.EncodeToString(sum)
	var part minio.ObjectPart
	err := s.send(ctx, src, off, size, sum, func(body io.Reader) (err error) {
		part, err = s.core.PutObjectPart(ctx, s.spec.Bucket, s.key(name), id, number, body, size, minio.PutObjectPartOptions{
			Sha256Hex:            hex.EncodeToString(sum),
			CustomHeader:         http.Header{checksumHeader: {checksum}},
			DisableContentSha256: true, // we give it; the library would sign chunk by chunk
		})
		return err
	})
	if err != nil {
		return minio.CompletePart{}, fmt.Errorf("part %d: %w", number, err)
	}
	if part.ChecksumSHA256 != "" && part.ChecksumSHA256 != checksum {
		return minio.CompletePart{}, fmt.Errorf("part %d: the store's checksum is %s, not %s: %w", number, part.ChecksumSHA256, checksum, ErrMismatch)
	}
	s.o.Progress(size)
	return completed(part, sum), nil
}

// completed names a part with our own sum: a server need not repeat it, but may
// ask for it.
func completed(p minio.ObjectPart, sum []byte) minio.CompletePart {
	return minio.CompletePart{PartNumber: p.PartNumber, ETag: p.ETag, ChecksumSHA256: base64.StdEncoding.EncodeToString(sum)}
}

// complete makes the object of the parts. When the answer is lost the upload may
// be complete all the same, so what counts is what confirm finds.
func (s *S3) complete(ctx context.Context, name string, o Object, id string, parts []minio.CompletePart, ofParts []byte) error {
	err := s.retry(ctx, func() error {
		_, err := s.core.CompleteMultipartUpload(ctx, s.spec.Bucket, s.key(name), id, parts, minio.PutObjectOptions{})
		return err
	})
	if err != nil && !errors.Is(err, errNoUpload) {
		return fmt.Errorf("complete the upload: %w", err)
	}
	return s.confirm(ctx, name, o, ofParts)
}
