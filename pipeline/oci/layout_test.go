package oci_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/oci"
)

func create(t *testing.T) (*oci.Layout, string) {
	t.Helper()
	dir := t.TempDir()
	l, err := oci.Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l, dir
}

func write(t *testing.T, l *oci.Layout, data string) oci.Digest {
	t.Helper()
	w, err := l.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, c := range []byte(data) {
		if _, err := w.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
	}
	d, n, err := w.Commit()
	if err != nil || n != int64(len(data)) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	return d
}

func TestDigestIsWhatSha256sumSays(t *testing.T) {
	l, dir := create(t)
	d := write(t, l, "some content")
	hex, err := d.Hex()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sha256sum", filepath.Join(dir, "blobs/sha256", hex)).Output()
	if err != nil || !strings.HasPrefix(string(out), hex) {
		t.Errorf("%s: %s, %v", d, out, err)
	}
	for _, bad := range []oci.Digest{"", "sha256:", "sha512:" + oci.Digest(hex), oci.Digest(hex), "sha256:" + oci.Digest(strings.ToUpper(hex)), "sha256:../../etc/passwd", d + "0"} {
		if _, err := bad.Hex(); !errors.Is(err, oci.ErrDigest) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := l.Open(t.Context(), bad, 1); err == nil {
			t.Errorf("%q was opened", bad)
		}
	}
}

func TestOpenComparesTheDigest(t *testing.T) {
	l, dir := create(t)
	d := write(t, l, "some content")
	hex, _ := d.Hex()
	read := func(size int64) (string, error) {
		r, err := l.Open(t.Context(), d, size)
		if err != nil {
			return "", err
		}
		defer r.Close()
		data, err := io.ReadAll(r)
		return string(data), err
	}
	if got, err := read(12); err != nil || got != "some content" {
		t.Errorf("%q, %v", got, err)
	}
	for _, size := range []int64{0, 11, 13} {
		if _, err := read(size); !errors.Is(err, oci.ErrDamaged) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "blobs/sha256", hex), []byte("some c0ntent"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(12); !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), hex) {
		t.Errorf("damaged: %v", err)
	}
	write(t, l, "some content") // replaces the damaged one
	if _, err := read(12); err != nil {
		t.Error(err)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	l, dir := create(t)
	w, err := l.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
		t.Fatal(err)
	}
	w.Abort()
	out, err := exec.Command("find", dir, "-size", "+1", "-type", "f").Output()
	if err != nil || len(out) > 0 {
		t.Errorf("left: %s %v", out, err)
	}
}

func TestPruneAndIndex(t *testing.T) {
	l, dir := create(t)
	keep, drop := write(t, l, "keep"), write(t, l, "drop")
	if err := l.SetIndex([]oci.Descriptor{{MediaType: oci.MediaManifest, Digest: keep, Size: 4}}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blobs/sha256/.left-over"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Prune(func(d oci.Digest) bool { return d == keep }); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if ok, err := l.Has(t.Context(), keep, 4); err != nil || !ok {
		t.Errorf("kept: %v, %v", ok, err)
	}
	if ok, err := l.Has(t.Context(), drop, 4); err != nil || ok {
		t.Errorf("dropped: %v, %v", ok, err)
	}
	if list, _ := os.ReadDir(filepath.Join(dir, "blobs/sha256")); len(list) != 1 {
		t.Errorf("blobs: %v", list)
	}
	again, err := oci.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	ix, err := again.Index()
	if err != nil || len(ix.Manifests) != 1 || ix.Manifests[0].Digest != keep {
		t.Errorf("index = %+v, %v", ix, err)
	}
	if _, err := oci.Open(t.TempDir()); err == nil {
		t.Error("an empty directory is a layout")
	}
}
