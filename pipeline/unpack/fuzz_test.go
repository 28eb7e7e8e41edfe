package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// FuzzArchive unpacks anything, and looks that nothing outside changed.
func FuzzArchive(f *testing.F) {
	f.Add(pack(f, []entry{{name: "a", typ: tar.TypeDir}, {name: "a/f", body: "x"}, {name: "s", link: "../x", typ: tar.TypeSymlink}, {name: "h", link: "a/f", typ: tar.TypeLink}}))
	f.Add(pack(f, []entry{{name: "s", link: "..", typ: tar.TypeSymlink}, {name: "s/x", body: "y"}}))
	f.Add(pack(f, []entry{{name: "p", typ: tar.TypeFifo, pax: map[string]string{"SCHILY.acl.access": "u::rw-,g::r--,o::r--", "SCHILY.xattr.user.x": "y"}}}))
	f.Add(compress(f, "gzip", pack(f, []entry{{name: "a/b/c", body: "x"}})))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		root := filepath.Join(dir, "root")
		if err := os.Mkdir(root, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := Archive(context.Background(), bytes.NewReader(data), root, Limits{Bytes: 1 << 20, Entries: 1000})
		if err != nil && !errors.As(err, new(*EntryError)) {
			t.Errorf("an error of this machine: %v", err)
		}
		list, err := os.ReadDir(dir)
		if err != nil || len(list) != 1 {
			t.Errorf("beside the root: %v, %v", list, err)
		}
		// The directory can be entered and removed whatever modes it got.
		if err := os.RemoveAll(root); err != nil {
			t.Error(err)
		}
	})
}

type noNames struct{}

func (noNames) user(string) (uint32, bool)  { return 7, true }
func (noNames) group(string) (uint32, bool) { return 0, false }

func FuzzACL(f *testing.F) {
	f.Add("user::rw-,user:bob:r--:12,group::r--,mask::rw-,other::---")
	f.Add("u::rwx\ng:5:r-x # effective\ndefault:other:r--\n")
	f.Fuzz(func(t *testing.T, s string) {
		value, err := encodeACL(s, noNames{})
		if (err == nil) != (len(value) >= 12 && len(value)%8 == 4) {
			t.Errorf("%q: %x, %v", s, value, err)
		}
	})
}

func FuzzFormat(f *testing.F) {
	f.Add([]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00"))
	f.Add(pack(f, []entry{{name: "x"}}))
	f.Fuzz(func(t *testing.T, head []byte) {
		format, err := recognise(head)
		if (err == nil) != (format != "") || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%q, %v", format, err)
		}
		_ = checkXz(head)
	})
}
