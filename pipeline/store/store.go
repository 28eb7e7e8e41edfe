// Package store keeps what a host's files of class object become: named,
// immutable objects with their SHA-256, in a directory or in an S3 bucket.
//
// [Open] makes a [Store] of what the user gave with --store. Both kinds pass the
// same conformance suite, package storetest.
package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Store keeps named, immutable objects with their SHA-256. Its methods may be
// called from several goroutines.
//
// Transient faults (a reset, a stall, 5xx, SlowDown) are retried inside, a
// bounded number of times; so every error that comes out is final for this run.
// Errors name the store and the object, and never hold credentials.
type Store interface {
	// Put stores o.Size bytes from r under name. o.SHA256 says what they are:
	// content that differs gives [ErrMismatch], and nothing is stored. Nothing
	// is visible under name unless it is complete, and Put returns nil only
	// after the far side confirmed size and checksum.
	//
	// When the store has name with this size and digest already, Put reads
	// nothing and says reused. Another object under name that this program put
	// there is replaced; one that it did not is an error.
	//
	// A Put that was stopped, even by a kill, is continued by the next Put of
	// the same name and content: what had been confirmed is not sent again.
	// r is read from start to end, some ranges twice. o.Name is ignored.
	Put(ctx context.Context, name string, r io.ReaderAt, o Object) (reused bool, err error)

	// Open streams an object; the caller closes it, and verifies what it read
	// against the SHA256 of the Object. [ErrNotFound] when there is none.
	Open(ctx context.Context, name string) (io.ReadCloser, Object, error)

	// Stat tells what is stored under name without reading it: the size is the
	// real one, the digest the one that was confirmed by Put. [ErrNotFound]
	// when there is nothing or only a part, [ErrMismatch] when size or checksum
	// are not as they were.
	Stat(ctx context.Context, name string) (Object, error)

	// List yields the objects whose name starts with prefix, in no particular
	// order, with name and size; SHA256 and Metadata may be empty. It ends
	// after the first error.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]

	// String names the store for people, without credentials.
	String() string

	// Close lets go of connections and handles. Objects stay.
	Close() error
}

// Object is what is known of one object.
type Object struct {
	Name     string            `json:"name"`
	Size     int64             `json:"size"`   // in bytes
	SHA256   string            `json:"sha256"` // of the content, 64 lower-case hexadecimal digits
	Metadata map[string]string `json:"metadata,omitempty"`
}

var (
	// ErrNotFound says that the store has no complete object of that name.
	ErrNotFound = errors.New("no such object")

	// ErrMismatch says that content is not what its size or digest says: at
	// Put a source that changed while it was read, later a damaged object.
	ErrMismatch = errors.New("content is not what its digest says")
)

// reserved is the folder of a directory store's own files.
const reserved = ".statelift"

// The limits of names and metadata are the smallest of all stores, so that what
// fits one fits the others: 1,024 bytes for a key and 2 KiB for all metadata in
// S3 (Amazon S3 User Guide, "Naming" and "Working with object metadata"), 255
// bytes between two slashes on Linux file systems.
const (
	maxName     = 1024
	maxElement  = 255
	maxMetadata = 1900
)

// ValidName says why name cannot be the name of an object. Names are slash
// separated, valid UTF-8 without control characters, have no empty, "." or ".."
// element, at most 255 bytes in each and 1,024 in all. Names of files, which are
// bytes, are escaped by the caller. As with files, a name cannot be both an
// object and the folder of others.
func ValidName(name string) error {
	fault := ""
	switch {
	case name == "":
		fault = "is empty"
	case len(name) > maxName:
		fault = fmt.Sprintf("is longer than %d bytes", maxName)
	case !utf8.ValidString(name):
		fault = "is not UTF-8"
	case strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff }):
		fault = "has a control character"
	}
	for i, e := range strings.Split(name, "/") {
		switch {
		case fault != "":
		case e == "" || e == "." || e == "..":
			fault = fmt.Sprintf("has the element %q", e)
		case len(e) > maxElement:
			fault = fmt.Sprintf("has an element longer than %d bytes", maxElement)
		case i == 0 && e == reserved:
			fault = "begins with the reserved " + reserved
		}
	}
	if fault != "" {
		return fmt.Errorf("object name %.80q %s", name, fault)
	}
	return nil
}

// metadataKey is what survives as part of a header's name everywhere.
var metadataKey = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?$`)

// valid checks what Put is given.
func (o Object) valid(name string) error {
	if err := ValidName(name); err != nil {
		return err
	}
	if sum, err := hex.DecodeString(o.SHA256); err != nil || len(sum) != 32 || strings.ToLower(o.SHA256) != o.SHA256 {
		return fmt.Errorf("object %s: %q is no SHA-256 in lower-case hexadecimal", name, o.SHA256)
	}
	if o.Size < 0 {
		return fmt.Errorf("object %s: the size %d is negative", name, o.Size)
	}
	total := 0
	for k, v := range o.Metadata {
		if !metadataKey.MatchString(k) || k == digestKey {
			return fmt.Errorf("object %s: metadata key %q is not of a-z, 0-9 and -", name, k)
		}
		if v == "" || !utf8.ValidString(v) {
			return fmt.Errorf("object %s: the value of metadata %s is empty or not UTF-8", name, k)
		}
		total += len(k) + len(url.PathEscape(v))
	}
	if total > maxMetadata {
		return fmt.Errorf("object %s: %d bytes of metadata are more than %d", name, total, maxMetadata)
	}
	return nil
}

// Verify reads the object o.Name back from s and compares it with o: size and
// digest of every byte. It gives [ErrNotFound] or [ErrMismatch].
func Verify(ctx context.Context, s Store, o Object) error {
	r, have, err := s.Open(ctx, o.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	if !have.same(o) {
		return fmt.Errorf("store %s: verify %s: it says %d bytes and SHA-256 %s, not %d and %s: %w",
			s, o.Name, have.Size, have.SHA256, o.Size, o.SHA256, ErrMismatch)
	}
	sum, err := sumStream(ctx, r)
	if err != nil {
		return fmt.Errorf("store %s: verify %s: %w", s, o.Name, err)
	}
	if hex.EncodeToString(sum) != o.SHA256 {
		return fmt.Errorf("store %s: verify %s: %w", s, o.Name, mismatch(o.SHA256, sum))
	}
	return nil
}

// same reports whether a Put of o would change nothing.
func (o Object) same(other Object) bool { return o.Size == other.Size && o.SHA256 == other.SHA256 }
