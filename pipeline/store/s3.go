package store

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3 is a store in a bucket of an S3 server. The key of an object is the prefix
// and its name; its SHA-256 is kept by the server as the checksum of the object
// (or of its parts) and by us in the metadata statelift-sha256.
//
// Every body is sent with its SHA-256 in the header, known beforehand, both as
// what the signature covers and as the checksum to keep. So the server refuses
// what did not arrive as it left, over http and https. ETags mean nothing here.
//
// It needs the permissions to list the bucket and to get and put objects; with
// those for multipart uploads, large objects resume.
type S3 struct {
	core minio.Core
	spec Spec
	o    Options
}

// digestKey is the metadata that holds the SHA-256 of an object's content. An
// object without it was not made by this program.
const digestKey = "statelift-sha256"

// awsEndpoint is where a bucket is when nobody says otherwise.
const awsEndpoint = "https://s3.amazonaws.com"

// OpenS3 opens the store in a bucket and tries to list it. Credentials come from
// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or from the
// profile AWS_PROFILE in ~/.aws; an endpoint and region that spec leaves open
// from AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION and AWS_DEFAULT_REGION.
func OpenS3(ctx context.Context, spec Spec, o Options) (*S3, error) {
	o = o.withDefaults()
	first := func(given string, names ...string) string {
		for _, n := range names {
			if given == "" {
				given = o.Environment(n)
			}
		}
		return given
	}
	endpoint := first(spec.Endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
	if endpoint == "" {
		endpoint = awsEndpoint
	}
	if err := validEndpoint(endpoint); err != nil {
		return nil, err
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("store: endpoint: %w", err)
	}
	creds, err := findCredentials(o.Environment)
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(u.Scheme == "https", o.Stall)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	core, err := minio.NewCore(u.Host, &minio.Options{
		Creds:     creds,
		Secure:    u.Scheme == "https",
		Region:    first(spec.Region, "AWS_REGION", "AWS_DEFAULT_REGION"),
		Transport: transport,
		// Retries are ours: they know when a fault lies with the source.
		MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s := &S3{core: *core, spec: spec, o: o}
	if _, err := s.page(ctx, "", "", 1); err != nil {
		s.Close()
		return nil, s.fail("open", "", err)
	}
	return s, nil
}

// ErrNoCredentials is wrapped when neither environment nor files have any for S3.
var ErrNoCredentials = errors.New("no credentials for S3")

// findCredentials takes those of the environment, else those of the files. The
// chain of the library would go on without any and fail later.
func findCredentials(env func(string) string) (*credentials.Credentials, error) {
	id, secret := env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY")
	if id != "" && secret != "" {
		return credentials.NewStaticV4(id, secret, env("AWS_SESSION_TOKEN")), nil
	}
	if id != "" || secret != "" {
		return nil, errors.New("store: only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set")
	}
	c := credentials.NewFileAWSCredentials("", "")
	v, err := c.GetWithContext(nil)
	if err != nil || v.AccessKeyID == "" || v.SecretAccessKey == "" {
		return nil, fmt.Errorf("store: %w: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile in ~/.aws/credentials", ErrNoCredentials)
	}
	return c, nil
}

// Credentials are what a bucket is opened with here, as the variables that say
// the same elsewhere: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where there
// are such, AWS_SESSION_TOKEN and AWS_REGION. env is os.Getenv or the like.
func Credentials(env func(string) string) (map[string]string, error) {
	c, err := findCredentials(env)
	if err != nil {
		return nil, err
	}
	v, err := c.GetWithContext(nil)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	out := map[string]string{"AWS_ACCESS_KEY_ID": v.AccessKeyID, "AWS_SECRET_ACCESS_KEY": v.SecretAccessKey}
	if v.SessionToken != "" {
		out["AWS_SESSION_TOKEN"] = v.SessionToken
	}
	for _, name := range []string{"AWS_REGION", "AWS_DEFAULT_REGION"} {
		if region := env(name); region != "" {
			out["AWS_REGION"] = region
			break
		}
	}
	return out, nil
}

// Stat implements [Store].
func (s *S3) Stat(ctx context.Context, name string) (Object, error) {
	if err := ValidName(name); err != nil {
		return Object{}, s.fail("stat", name, err)
	}
	info, err := s.head(ctx, name)
	if err != nil {
		return Object{}, s.fail("stat", name, err)
	}
	o, err := objectOf(name, info)
	return o, s.fail("stat", name, err)
}

func (s *S3) head(ctx context.Context, name string) (info minio.ObjectInfo, err error) {
	err = s.retry(ctx, func() error {
		info, err = s.core.StatObject(ctx, s.spec.Bucket, s.key(name), minio.StatObjectOptions{Checksum: true})
		return err
	})
	return info, err
}

// objectOf reads what the server says of an object. The checksum of a whole
// object must be the digest; that of a multipart upload is one of its parts'.
func objectOf(name string, info minio.ObjectInfo) (Object, error) {
	o := Object{Name: name, Size: info.Size}
	for k, v := range info.UserMetadata {
		k = strings.ToLower(k)
		plain, err := url.PathUnescape(v)
		if err != nil {
			plain = v
		}
		if k == digestKey {
			o.SHA256 = plain
			continue
		}
		if o.Metadata == nil {
			o.Metadata = map[string]string{}
		}
		o.Metadata[k] = plain
	}
	sum, err := base64.StdEncoding.DecodeString(info.ChecksumSHA256)
	if err != nil || len(sum) != 32 {
		return o, nil // none, or of parts: "…-N"
	}
	if o.SHA256 != "" && hex.EncodeToString(sum) != o.SHA256 {
		return Object{}, mismatch(o.SHA256, sum)
	}
	return o, nil
}

// List implements [Store].
func (s *S3) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		last := ""
		for {
			page, err := s.page(ctx, prefix, last, pageSize)
			if err != nil {
				yield(Object{}, s.fail("list", prefix, err))
				return
			}
			for _, info := range page {
				name := strings.TrimPrefix(info.Key, s.spec.Prefix)
				if ValidName(name) != nil {
					continue // an empty "folder" object, or not ours
				}
				if !yield(Object{Name: name, Size: info.Size}, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			if next := page[len(page)-1].Key; next > last {
				last = next
				continue
			}
			yield(Object{}, s.fail("list", prefix, errors.New("the server does not go on after what it listed")))
			return
		}
	}
}

// pageSize is the most that S3 lists at once.
const pageSize = 1000

// page lists what comes after the key last. The library's own iterator cannot
// go on after a fault, so it is used for one page at a time.
func (s *S3) page(ctx context.Context, prefix, last string, size int) (page []minio.ObjectInfo, err error) {
	err = s.retry(ctx, func() error {
		page = page[:0]
		for info := range s.core.ListObjectsIter(ctx, s.spec.Bucket, minio.ListObjectsOptions{
			Prefix: s.key(prefix), Recursive: true, StartAfter: last, MaxKeys: size,
		}) {
			if info.Err != nil {
				return info.Err
			}
			if page = append(page, info); len(page) == size {
				return nil
			}
		}
		return context.Cause(ctx)
	})
	return page, err
}

// Open implements [Store].
func (s *S3) Open(ctx context.Context, name string) (io.ReadCloser, Object, error) {
	if err := ValidName(name); err != nil {
		return nil, Object{}, s.fail("open", name, err)
	}
	r := &download{ctx: ctx, s: s, name: name}
	if err := s.retry(ctx, r.open); err != nil {
		return nil, Object{}, s.fail("open", name, err)
	}
	o, err := objectOf(name, r.info)
	if err != nil {
		r.Close()
		return nil, Object{}, s.fail("open", name, err)
	}
	return r, o, nil
}

// String implements [Store].
func (s *S3) String() string { return s.spec.String() }

// Close implements [Store].
func (s *S3) Close() error {
	s.core.CredContext().Client.CloseIdleConnections()
	return nil
}

func (s *S3) key(name string) string { return s.spec.Prefix + name }

// headers are the metadata of an object as S3 wants them: ASCII, so escaped.
func headers(o Object) map[string]string {
	m := map[string]string{http.CanonicalHeaderKey("X-Amz-Meta-" + digestKey): o.SHA256}
	for k, v := range o.Metadata {
		m[http.CanonicalHeaderKey("X-Amz-Meta-"+k)] = url.PathEscape(v)
	}
	return m
}
