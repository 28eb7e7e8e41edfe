package layer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/tree"
)

// An item comes out of a plan's file as it went in, whatever its names are.
func FuzzItem(f *testing.F) {
	f.Add("/usr/bin/x", "target", "user.a", []byte("v"), uint32(0o4755), int64(-5))
	f.Add("/a\xff\n", "../\xfe", "user.a=b", []byte{0, 255}, uint32(0), int64(1)<<62)
	f.Fuzz(func(t *testing.T, path, target, name string, value []byte, mode uint32, mtime int64) {
		if strings.ContainsRune(path, 0) || !strings.HasPrefix(strings.ToValidUTF8(name, ""), name) {
			return
		}
		in := Item{Role: Parent, Entry: tree.Entry{
			Path: hostpath.Clean(path), Type: tree.Symlink, Target: target, Mode: mode, Mtime: mtime,
			Xattrs: []tree.Xattr{{Name: name, Value: value}},
		}}
		data, err := in.marshal()
		if err != nil {
			t.Fatal(err)
		}
		if bytes.ContainsRune(data, '\n') {
			t.Errorf("%q takes several lines", data)
		}
		out, err := unmarshal(data)
		if err != nil {
			t.Fatal(err)
		}
		if len(value) == 0 {
			in.Xattrs[0].Value, out.Xattrs[0].Value = nil, nil
		}
		if diff := cmp.Diff(in, out); diff != "" {
			t.Error(diff)
		}
	})
}

// noFiles is a source without any.
type noFiles struct{}

func (noFiles) Open(e tree.Entry) (*content.File, error) {
	return nil, &content.Changed{Path: e.Path, What: "gone"}
}

// Whatever a registry or a disk gives instead of a layer is a fault, not a
// crash and never the layer.
func FuzzCheck(f *testing.F) {
	dir := f.TempDir()
	d, err := Begin(filepath.Join(dir, "plan"))
	if err != nil {
		f.Fatal(err)
	}
	for _, i := range []Item{
		{Entry: tree.Entry{Path: "/", Type: tree.Directory, Mode: 0o755}},
		{Role: Made, Data: []byte("made"), Entry: tree.Entry{Path: "/file", Type: tree.Regular, Size: 4, Mtime: 1}},
		{Entry: tree.Entry{Path: "/link", Type: tree.Symlink, Target: "file", Xattrs: []tree.Xattr{{Name: "user.a=b", Value: []byte("v")}}}},
	} {
		if err := d.Add(i); err != nil {
			f.Fatal(err)
		}
	}
	plan, err := d.End()
	if err != nil {
		f.Fatal(err)
	}
	for _, c := range []Compression{Zstd, Gzip} {
		blob, err := Write(context.Background(), filepath.Join(dir, "blob"), plan, noFiles{}, c, func(int64) {})
		if err != nil {
			f.Fatal(err)
		}
		good, err := os.ReadFile(filepath.Join(dir, "blob"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(good, c == Gzip)
		f.Add(good[:len(good)/2], c == Gzip)
		if err := Check(context.Background(), bytes.NewReader(good), blob, plan, nil); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, gzip bool) {
		want := Blob{Digest: "sha256:none", DiffID: "sha256:none", Size: int64(len(data)), MediaType: Zstd.MediaType()}
		if gzip {
			want.MediaType = Gzip.MediaType()
		}
		var faults *Faults
		if err := Check(t.Context(), bytes.NewReader(data), want, plan, nil); !errors.As(err, &faults) {
			t.Errorf("error = %v, want faults", err)
		}
	})
}
