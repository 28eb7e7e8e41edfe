package layer

import (
	"archive/tar"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// The PAX records of extended attributes. Everything reads the first one. It
// cannot say a name with '=', so such a name travels as libarchive writes it
// (tar(5), LIBARCHIVE.xattr: the name URL-encoded, the value in base64), which
// bsdtar restores and container runtimes pass over.
const (
	schily     = "SCHILY.xattr."
	libarchive = "LIBARCHIVE.xattr."
)

// ErrNoLayer is wrapped when a path cannot be in any layer.
var ErrNoLayer = errors.New("cannot be in an image")

// whiteout marks, in a layer, names that delete what lower layers have.
const whiteout = ".wh."

// Whiteout reports whether a path can be in no layer: a name of it says that
// something is deleted (OCI image-spec layer.md, "Whiteouts").
func Whiteout(p hostpath.Path) bool { return strings.Contains(string(p), "/"+whiteout) }

// header is the tar header of an item (pax(1), OCI image-spec layer.md).
func header(i Item) (*tar.Header, error) {
	if Whiteout(i.Path) {
		return nil, fmt.Errorf("%s %w: the name is a whiteout, which deletes", i.Path, ErrNoLayer)
	}
	h := &tar.Header{
		Format:  tar.FormatPAX,
		Name:    i.Path.Rel(),
		Mode:    int64(i.Mode & 0o7777),
		Uid:     int(i.UID),
		Gid:     int(i.GID),
		ModTime: time.Unix(0, i.Mtime),
	}
	switch {
	case i.Link != "":
		// What link(2) does is the same for a file, a symlink or a FIFO, and who
		// unpacks does no more.
		h.Typeflag, h.Linkname = tar.TypeLink, i.Link.Rel()
	case i.Type == tree.Regular:
		h.Typeflag, h.Size = tar.TypeReg, i.Size
	case i.Type == tree.Directory:
		h.Typeflag = tar.TypeDir
		h.Name += "/"
	case i.Type == tree.Symlink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, i.Target
	case i.Type == tree.FIFO:
		h.Typeflag = tar.TypeFifo
	case i.Type == tree.Char, i.Type == tree.Block:
		h.Typeflag = tar.TypeChar
		if i.Type == tree.Block {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = major(i.Rdev), minor(i.Rdev)
	default:
		return nil, fmt.Errorf("%s %w: tar has no type for %q", i.Path, ErrNoLayer, string(i.Type))
	}
	for _, x := range i.Xattrs {
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string, len(i.Xattrs))
		}
		if strings.Contains(x.Name, "=") {
			h.PAXRecords[libarchive+strings.ReplaceAll(url.PathEscape(x.Name), "=", "%3D")] = base64.RawStdEncoding.EncodeToString(x.Value)
			continue
		}
		h.PAXRecords[schily+x.Name] = string(x.Value)
	}
	return h, nil
}

// entryOf reads a header back into what the layer says about the path. Data is
// left out, and so is what a hard link leads to.
func entryOf(h *tar.Header) (Item, error) {
	i := Item{Entry: tree.Entry{
		Path:  hostpath.Clean(h.Name),
		Mode:  uint32(h.Mode) & 0o7777,
		UID:   uint32(h.Uid),
		GID:   uint32(h.Gid),
		Mtime: h.ModTime.UnixNano(),
	}}
	switch h.Typeflag {
	case tar.TypeReg:
		i.Type, i.Size = tree.Regular, h.Size
	case tar.TypeLink:
		i.Type, i.Link = tree.Regular, hostpath.Clean(h.Linkname)
	case tar.TypeDir:
		i.Type = tree.Directory
	case tar.TypeSymlink:
		i.Type, i.Target, i.Size = tree.Symlink, h.Linkname, int64(len(h.Linkname))
	case tar.TypeFifo:
		i.Type = tree.FIFO
	case tar.TypeChar:
		i.Type, i.Rdev = tree.Char, device(h.Devmajor, h.Devminor)
	case tar.TypeBlock:
		i.Type, i.Rdev = tree.Block, device(h.Devmajor, h.Devminor)
	default:
		return i, fmt.Errorf("%s: unexpected type %q in a layer", i.Path, h.Typeflag)
	}
	for key, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(key, schily); ok {
			i.Xattrs = append(i.Xattrs, tree.Xattr{Name: name, Value: []byte(value)})
		}
		if enc, ok := strings.CutPrefix(key, libarchive); ok {
			name, err := url.PathUnescape(enc)
			if err != nil {
				return i, fmt.Errorf("%s: xattr: %w", i.Path, err)
			}
			v, err := base64.RawStdEncoding.DecodeString(value)
			if err != nil {
				return i, fmt.Errorf("%s: xattr %s: %w", i.Path, name, err)
			}
			i.Xattrs = append(i.Xattrs, tree.Xattr{Name: name, Value: v})
		}
	}
	slices.SortFunc(i.Xattrs, func(a, b tree.Xattr) int { return cmp.Compare(a.Name, b.Name) })
	return i, nil
}

// The numbering of devices on Linux, makedev(3).
func major(dev uint64) int64 { return int64(unix.Major(dev)) }
func minor(dev uint64) int64 { return int64(unix.Minor(dev)) }

func device(major, minor int64) uint64 { return unix.Mkdev(uint32(major), uint32(minor)) }
