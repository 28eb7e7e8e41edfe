package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Spec is where a store is.
type Spec struct {
	Dir string // a directory; empty for S3

	Bucket   string
	Prefix   string // "" or ends in a slash
	Endpoint string // http://… or https://…; "" for AWS or what the environment says
	Region   string
}

// Options are how a store works; the zero value is good for most.
type Options struct {
	Attempts    int           // of one request before its fault is final; 8
	Backoff     time.Duration // before the second attempt, doubled for each more, at most 10 s; 200 ms
	Stall       time.Duration // without a byte in either direction, after which a request has failed; 2 min
	PartSize    int64         // of multipart uploads, in bytes, at least 5 MiB; 16 MiB, more for objects over 156 GiB
	Parallel    int           // parts sent at once; 4
	Progress    func(n int64) // told of n more bytes confirmed; may be called from several goroutines
	Environment func(string) string
}

func (o Options) withDefaults() Options {
	set(&o.Attempts, 8)
	set(&o.Backoff, 200*time.Millisecond)
	set(&o.Stall, 2*time.Minute)
	set(&o.PartSize, 16<<20)
	o.PartSize = max(o.PartSize, minPart)
	set(&o.Parallel, 4)
	if o.Progress == nil {
		o.Progress = func(int64) {}
	}
	if o.Environment == nil {
		o.Environment = os.Getenv
	}
	return o
}

func set[T int | int64 | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Default is [Open] with its default options.
func Default(ctx context.Context, spec string) (Store, error) { return Open(ctx, spec, Options{}) }

// Open opens the store that spec names, see [ParseSpec]. A bucket must exist and
// be readable, which Open tries; a directory is made.
func Open(ctx context.Context, spec string, o Options) (Store, error) {
	s, err := ParseSpec(spec)
	if err != nil {
		return nil, err
	}
	if s.Dir != "" {
		return opened(OpenDir(s.Dir))
	}
	return opened(OpenS3(ctx, s, o))
}

// opened leaves no nil pointer in the interface, which callers compare with nil.
func opened[S Store](s S, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// ParseSpec reads what a user gives as a store: a directory as a path or as
// file:///path, or a bucket as
//
//	s3://BUCKET[/PREFIX][?endpoint=http://HOST:PORT&region=REGION]
//
// Credentials are never part of it.
func ParseSpec(spec string) (Spec, error) {
	scheme, _, isURL := strings.Cut(spec, "://")
	switch {
	case strings.ContainsRune(spec, 0):
		return Spec{}, errors.New("store: a NUL byte is in the name")
	case spec == "":
		return Spec{}, errors.New("store: the name is empty")
	case !isURL:
		return Spec{Dir: filepath.Clean(spec)}, nil
	}
	u, err := url.Parse(spec)
	if err != nil {
		// The error of url.Parse repeats the URL, which may hold a password.
		return Spec{}, errors.New("store: this is no URL that can be read")
	}
	if u.User != nil {
		return Spec{}, errors.New("store: credentials do not belong into the URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use ~/.aws/credentials")
	}
	if u.Fragment != "" {
		return Spec{}, errors.New("store: a # in the URL must be written %23")
	}
	switch scheme {
	case "file":
		return parseFile(u)
	case "s3":
		return parseS3(u)
	}
	return Spec{}, fmt.Errorf("store: %.20q is no kind of store; give a directory or s3://BUCKET/PREFIX", scheme)
}

func parseFile(u *url.URL) (Spec, error) {
	if u.Host != "" || u.RawQuery != "" || !filepath.IsAbs(u.Path) {
		return Spec{}, errors.New("store: a directory as URL is file:///absolute/path")
	}
	if strings.ContainsRune(u.Path, 0) {
		return Spec{}, errors.New("store: a NUL byte is in the name")
	}
	return Spec{Dir: filepath.Clean(u.Path)}, nil
}

// bucketName is Amazon S3's rule for general purpose buckets.
var bucketName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{1,61})[a-z0-9]$`)

func parseS3(u *url.URL) (Spec, error) {
	s := Spec{Bucket: u.Host}
	if !bucketName.MatchString(s.Bucket) || strings.Contains(s.Bucket, "..") {
		return Spec{}, fmt.Errorf("store: %.80q is no name of a bucket (3 to 63 of a-z, 0-9, - and .)", s.Bucket)
	}
	if p := strings.Trim(u.Path, "/"); p != "" {
		if err := ValidName(p); err != nil {
			return Spec{}, fmt.Errorf("store: prefix: %w", err)
		}
		s.Prefix = p + "/"
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Spec{}, errors.New("store: what follows the ? cannot be read")
	}
	for key, values := range query {
		if len(values) != 1 || values[0] == "" {
			return Spec{}, fmt.Errorf("store: %.20q needs one value", key)
		}
		switch key {
		case "endpoint":
			if err := validEndpoint(values[0]); err != nil {
				return Spec{}, err
			}
			s.Endpoint = strings.TrimSuffix(values[0], "/")
		case "region":
			if !regionName.MatchString(values[0]) {
				return Spec{}, fmt.Errorf("store: %.40q is no region", values[0])
			}
			s.Region = values[0]
		default:
			return Spec{}, fmt.Errorf("store: %.40q is unknown; known are endpoint and region", key)
		}
	}
	return s, nil
}

var regionName = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func validEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case strings.ContainsAny(endpoint, "&+;%#?"):
		return errors.New("store: an endpoint is http://HOST[:PORT] or https://HOST[:PORT], nothing more")
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return errors.New("store: an endpoint is http://HOST[:PORT] or https://HOST[:PORT]")
	case u.User != nil:
		return errors.New("store: credentials do not belong into the endpoint")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("store: nothing can follow the host and port of an endpoint")
	}
	return nil
}

// String is the spec as [ParseSpec] reads it.
func (s Spec) String() string {
	if s.Dir != "" {
		return s.Dir
	}
	u := url.URL{Scheme: "s3", Host: s.Bucket, Path: strings.TrimSuffix("/"+s.Prefix, "/")}
	// Neither has a character with a meaning in a query, see ParseSpec.
	var query []string
	if s.Endpoint != "" {
		query = append(query, "endpoint="+s.Endpoint)
	}
	if s.Region != "" {
		query = append(query, "region="+s.Region)
	}
	u.RawQuery = strings.Join(query, "&")
	return u.String()
}
