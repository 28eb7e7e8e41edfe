package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// Options of the stage.
type Options struct {
	// Spec is "/", a directory, an archive, or the URL of an archive (http,
	// https, file), whose query may hold checksum=TYPE:HEX as go-getter takes it.
	Spec string `json:"spec"`
	// Checksum of the archive, TYPE:HEX with md5, sha1, sha256 or sha512, or the
	// bare hexadecimal of one of them; "" for none.
	Checksum string `json:"checksum,omitempty"`
	// MaxBytes bounds what an archive unpacks to, and a download; the free space
	// of the workspace when 0.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	// MaxRatio bounds the unpacked size by the packed one; 2000 when 0.
	MaxRatio int64 `json:"maxRatio,omitempty"`
}

// Stage opens one source.
type Stage struct{ Options }

// New makes the stage.
func New(o Options) *Stage { return &Stage{o} }

// Run finds the source. A source that cannot be used is a *pipeline.InputError.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env) (handoff.Source, error) {
	if s.Spec == "" {
		return handoff.Source{}, &pipeline.InputError{What: "source", Err: errors.New("none was given: name /, a directory, an archive, or the URL of one")}
	}
	place, err := s.locate()
	if err != nil {
		return handoff.Source{}, s.input(err)
	}
	if place.url != nil {
		return s.remote(ctx, env, place)
	}
	fi, err := os.Stat(place.file)
	switch {
	case err != nil:
		return handoff.Source{}, s.input(bare(err))
	case fi.IsDir() && s.Checksum != "":
		return handoff.Source{}, s.input(errors.New("a checksum is for archives, and this is a directory"))
	case fi.IsDir():
		return s.directory(place.file)
	case !fi.Mode().IsRegular():
		return handoff.Source{}, s.input(fmt.Errorf("neither a directory nor an archive (%s)", kindOf(fi.Mode())))
	}
	return s.archive(ctx, env, place.file, place.checksum)
}

// input names the source, without credentials, in front of what is wrong.
func (s *Stage) input(err error) error {
	return &pipeline.InputError{What: "source " + Redact(s.Spec), Err: err}
}

// bare drops the path from an error of the operating system.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a special file"
}

// directory makes the hand-off for a live root or a directory.
func (s *Stage) directory(name string) (handoff.Source, error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return handoff.Source{}, s.input(err)
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return handoff.Source{}, s.input(bare(err))
	}
	if err := looksLikeRoot(abs); err != nil {
		return handoff.Source{}, s.input(err)
	}
	if sameFile(abs, "/") {
		return handoff.Source{Spec: Redact(s.Spec), Kind: "root", Root: "/"}, nil
	}
	return handoff.Source{Spec: Redact(s.Spec), Kind: "directory", Root: abs}, nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// looksLikeRoot reports what a root file system has and dir has not.
func looksLikeRoot(dir string) error {
	root, err := rootfs.Open(dir)
	if err != nil {
		return bare(err)
	}
	defer root.Close()
	if _, err := root.ReadDir("/"); err != nil {
		return fmt.Errorf("it cannot be read: %w", bare(err))
	}
	var missing []string
	if fi, err := root.Stat("/etc"); err != nil || !fi.IsDir() {
		missing = append(missing, "/etc")
	}
	if !anyOf(root, "/usr", "/bin", "/var") {
		missing = append(missing, "/usr, /bin or /var")
	}
	if !anyOf(root, "/etc/os-release", "/usr/lib/os-release", "/etc/passwd") {
		missing = append(missing, "/etc/os-release or /etc/passwd")
	}
	if len(missing) > 0 {
		return fmt.Errorf("not a root file system: it has no %s", strings.Join(missing, ", and no "))
	}
	return nil
}
