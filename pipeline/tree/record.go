package tree

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Record is a line of a listing.
type Record struct {
	Entry
	// Link is the first path of the listing with the same inode, "" when this is
	// the first.
	Link hostpath.Path
	// SHA256 is of the content of a regular file.
	SHA256 [32]byte
}

// AppendText appends the line of r with its newline. It never fails.
func (r Record) AppendText(b []byte) ([]byte, error) {
	b = append(b, r.Type...)
	b = append(b, '\t')
	for shift := 9; shift >= 0; shift -= 3 {
		b = append(b, '0'+byte(r.Mode>>shift&7))
	}
	b = append(b, '\t')
	b = strconv.AppendUint(b, uint64(r.UID), 10)
	b = append(b, '\t')
	b = strconv.AppendUint(b, uint64(r.GID), 10)
	b = append(b, '\t')
	b = strconv.AppendInt(b, r.Size, 10)
	b = append(b, '\t')
	b = strconv.AppendInt(b, r.Mtime, 10)
	b = append(b, '\t')
	if r.Type == Char || r.Type == Block {
		b = strconv.AppendUint(b, uint64(unix.Major(r.Rdev)), 10)
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(unix.Minor(r.Rdev)), 10)
	} else {
		b = append(b, '-')
	}
	b = append(b, '\t')
	if r.Link != "" {
		b = append(b, r.Link.String()...)
	} else {
		b = append(b, '-')
	}
	b = append(b, '\t')
	b = appendXattrs(b, r.Xattrs)
	b = append(b, '\t')
	if r.Type == Regular {
		b = hex.AppendEncode(b, r.SHA256[:])
	} else {
		b = append(b, '-')
	}
	b = append(b, '\t')
	b = append(b, r.Path.String()...)
	if r.Type == Symlink {
		b = append(b, '\t')
		b = append(b, hostpath.Quote(r.Target)...)
	}
	return append(b, '\n'), nil
}

func appendXattrs(b []byte, list []Xattr) []byte {
	if len(list) == 0 {
		return append(b, '-')
	}
	for i, x := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, quoteName(x.Name)...)
		b = append(b, '=')
		b = base64.StdEncoding.AppendEncode(b, x.Value)
	}
	return b
}

func quoteName(name string) string {
	name = hostpath.Quote(name)
	if strings.ContainsAny(name, "=,") {
		name = strings.ReplaceAll(strings.ReplaceAll(name, "=", `\x3d`), ",", `\x2c`)
	}
	return name
}

// UnmarshalText reads the line of one record, with or without its newline. It
// accepts only what AppendText writes, so that a tree has one digest.
func (r *Record) UnmarshalText(line []byte) error {
	line = bytes.TrimSuffix(line, []byte("\n"))
	got, err := parse(string(line))
	if err != nil {
		return err
	}
	again, _ := got.AppendText(make([]byte, 0, len(line)+1))
	if !bytes.Equal(again[:len(again)-1], line) {
		return errors.New("not in canonical form")
	}
	*r = got
	return nil
}

func parse(line string) (Record, error) {
	f := strings.Split(line, "\t")
	if want := 11; len(f) != want && (len(f) != want+1 || f[0] != string(Symlink)) {
		return Record{}, fmt.Errorf("%d fields", len(f))
	}
	var r Record
	var errs []error
	number := func(name, s string, base, bits int) uint64 {
		n, err := strconv.ParseUint(s, base, bits)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		return n
	}
	r.Type = Type(f[0])
	r.Mode = uint32(number("mode", f[1], 8, 12))
	r.UID = uint32(number("uid", f[2], 10, 32))
	r.GID = uint32(number("gid", f[3], 10, 32))
	r.Size = int64(number("size", f[4], 10, 63))
	var err error
	if r.Mtime, err = strconv.ParseInt(f[5], 10, 64); err != nil {
		errs = append(errs, fmt.Errorf("mtime: %w", err))
	}
	if major, minor, ok := strings.Cut(f[6], ":"); ok {
		r.Rdev = unix.Mkdev(uint32(number("device", major, 10, 32)), uint32(number("device", minor, 10, 32)))
	}
	if f[7] != "-" {
		if r.Link, err = cleanPath(f[7]); err != nil {
			errs = append(errs, fmt.Errorf("link: %w", err))
		}
	}
	if r.Xattrs, err = parseXattrs(f[8]); err != nil {
		errs = append(errs, fmt.Errorf("xattrs: %w", err))
	}
	if r.Type == Regular {
		if n, err := hex.Decode(r.SHA256[:], []byte(f[9][:min(len(f[9]), 64)])); err != nil || n != 32 {
			errs = append(errs, errors.New("sha256: 64 hexadecimal digits expected"))
		}
	}
	if r.Path, err = cleanPath(f[10]); err != nil {
		errs = append(errs, fmt.Errorf("path: %w", err))
	}
	if len(f) == 12 {
		if r.Target, err = hostpath.Unquote(f[11]); err != nil {
			errs = append(errs, fmt.Errorf("target: %w", err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, r.check())
	}
	return r, errors.Join(errs...)
}

// cleanPath reads an escaped path and refuses one that is not clean already:
// "/../x" must not become something else.
func cleanPath(s string) (hostpath.Path, error) {
	raw, err := hostpath.Unquote(s)
	if err != nil {
		return "", err
	}
	p := hostpath.Path(raw)
	if strings.IndexByte(raw, 0) >= 0 || hostpath.Clean(raw) != p {
		return "", fmt.Errorf("%q is not an absolute, clean path", s)
	}
	return p, nil
}

func parseXattrs(s string) ([]Xattr, error) {
	if s == "-" {
		return nil, nil
	}
	var out []Xattr
	for item := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(item, "=")
		if !ok {
			return nil, fmt.Errorf("%q has no value", item)
		}
		var x Xattr
		var err error
		if x.Name, err = hostpath.Unquote(name); err != nil {
			return nil, err
		}
		if x.Value, err = base64.StdEncoding.DecodeString(value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if x.Name == "" || strings.IndexByte(x.Name, 0) >= 0 || len(x.Name) > 255 || len(x.Value) > xattrValueMax {
			return nil, fmt.Errorf("%q: no attribute can have this name or size", name)
		}
		if n := len(out); n > 0 && out[n-1].Name >= x.Name {
			return nil, fmt.Errorf("%q is not in order", name)
		}
		out = append(out, x)
	}
	return out, nil
}

// check refuses what no entry of that type can have.
func (r Record) check() error {
	switch {
	case !r.Type.valid():
		return fmt.Errorf("unknown type %q", r.Type)
	case r.Type == Symlink && (r.Target == "" || len(r.Target) > unix.PathMax || strings.IndexByte(r.Target, 0) >= 0):
		return errors.New("a symlink has a target")
	case r.Type == Symlink && r.Size != int64(len(r.Target)):
		return errors.New("the size of a symlink is the length of its target")
	case r.Type != Regular && r.Type != Symlink && r.Size != 0:
		return fmt.Errorf("type %s has a size", r.Type)
	case r.Link != "" && (r.Type == Directory || hostpath.Compare(r.Link, r.Path) >= 0):
		return errors.New("a link leads to an earlier path that is no directory")
	case r.Path == hostpath.Root && r.Type != Directory:
		return errors.New("the root is a directory")
	}
	return nil
}

func (t Type) valid() bool {
	switch t {
	case Regular, Directory, Symlink, FIFO, Socket, Char, Block:
		return true
	}
	return false
}
