package carrier_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/carrier/registryserver"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/store/storetest/faults"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// far is a real far side behind a proxy that can break what passes.
type far struct {
	kind  string
	proxy *faults.Proxy
	place carrier.Place // through the proxy
	o     carrier.Options
	// blob is the file in which the far side keeps a blob.
	blob   func(oci.Digest) string
	remove func(t *testing.T, d oci.Digest)
}

func (f *far) open(t *testing.T) carrier.Carrier {
	t.Helper()
	c, err := carrier.OpenCarrier(t.Context(), f.place, f.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// farSides starts one of each kind.
func farSides(t *testing.T) []*far {
	t.Helper()
	o := carrier.Options{Backoff: time.Millisecond, Stall: 2 * time.Second}
	reg := registryserver.Start(t)
	rp := faults.New(t, "http://"+reg.Host)
	s3 := s3server.Start(t)
	sp := faults.New(t, s3.Endpoint)
	bucket, err := carrier.InBucket(s3.Spec(sp.URL, "lift"))
	if err != nil {
		t.Fatal(err)
	}
	so := o
	so.Environment = s3.Environment
	object := func(d oci.Digest) string {
		return s3.Folder + "/lift/seeds/blobs/sha256/" + strings.TrimPrefix(string(d), "sha256:")
	}
	return []*far{
		{
			kind: "registry", proxy: rp, o: o,
			place:  carrier.InRegistry(strings.TrimPrefix(rp.URL, "http://") + "/lift"),
			blob:   func(d oci.Digest) string { return reg.Blob(string(d)) },
			remove: func(t *testing.T, d oci.Digest) { reg.Unlink(t, "lift/seeds", string(d)) },
		},
		{
			kind: "bucket", proxy: sp, o: so, place: bucket, blob: object,
			remove: func(t *testing.T, d oci.Digest) {
				if err := os.Remove(object(d)); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
}

func content(seed string, size int) ([]byte, oci.Descriptor) {
	b := make([]byte, size)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b)
	return b, describe(b, "application/octet-stream")
}

func describe(b []byte, media string) oci.Descriptor {
	return oci.Descriptor{MediaType: media, Digest: oci.DigestOf(sha256.Sum256(b)), Size: int64(len(b))}
}

func put(t *testing.T, c carrier.Carrier, b []byte, d oci.Descriptor) {
	t.Helper()
	var sent atomic.Int64
	if err := c.Put(t.Context(), d, bytes.NewReader(b), func(n int64) { sent.Add(n) }); err != nil {
		t.Fatal(err)
	}
	if sent.Load() != d.Size {
		t.Errorf("told of %d bytes of %d", sent.Load(), d.Size)
	}
}

func get(ctx context.Context, c carrier.Reader, d oci.Descriptor) ([]byte, error) {
	r, err := c.Open(ctx, d.Digest, d.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// sha256sum is what coreutils say of a file.
func sha256sum(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("sha256sum", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return "sha256:" + strings.Fields(string(out))[0]
}

func TestCarriers(t *testing.T) {
	for _, f := range farSides(t) {
		t.Run(f.kind, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, *far){
				"there and back":  thereAndBack,
				"only once":       onlyOnce,
				"nothing there":   nothingThere,
				"wrong content":   wrongContent,
				"manifests":       manifests,
				"damaged":         damagedBlobs,
				"removed":         removed,
				"resets":          resets,
				"broken download": brokenDownloads,
				"gives up":        givesUp,
				"cancelled":       cancelled,
			} {
				t.Run(name, func(t *testing.T) {
					t.Cleanup(func() { f.proxy.Decide(pass) })
					test(t, f)
				})
			}
		})
	}
}

func thereAndBack(t *testing.T, f *far) {
	c := f.open(t)
	for _, size := range []int{0, 1, 100_000, 20 << 20} {
		b, d := content(fmt.Sprint("size", size), size)
		put(t, c, b, d)
		if has, err := c.Has(t.Context(), d.Digest, d.Size); !has || err != nil {
			t.Errorf("%d bytes: has = %v, %v", size, has, err)
		}
		if has, err := c.Has(t.Context(), d.Digest, d.Size+1); has || err != nil {
			t.Errorf("%d bytes: of another size: has = %v, %v", size, has, err)
		}
		got, err := get(t.Context(), c, d)
		if err != nil || !bytes.Equal(got, b) {
			t.Errorf("%d bytes: read %d, %v", size, len(got), err)
		}
		if sum := sha256sum(t, f.blob(d.Digest)); sum != string(d.Digest) {
			t.Errorf("sha256sum of what the far side keeps says %s, not %s", sum, d.Digest)
		}
	}
}

func onlyOnce(t *testing.T, f *far) {
	b, d := content("once", 300_000)
	put(t, f.open(t), b, d)
	f.proxy.Requests()
	put(t, f.open(t), b, d)
	for _, r := range f.proxy.Requests() {
		if r.Method != "GET" && r.Method != "HEAD" {
			t.Errorf("the second time: %s %s", r.Method, r.URL)
		}
	}
}

func nothingThere(t *testing.T, f *far) {
	c := f.open(t)
	_, d := content("never put", 10)
	if has, err := c.Has(t.Context(), d.Digest, d.Size); has || err != nil {
		t.Errorf("has = %v, %v", has, err)
	}
	if _, err := c.SizeOf(t.Context(), d.Digest); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SizeOf: %v", err)
	}
	if _, err := get(t.Context(), c, d); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	for _, bad := range []oci.Digest{"", "sha256:../../x", "sha512:" + d.Digest[7:]} {
		if _, err := c.Open(t.Context(), bad, 1); !errors.Is(err, oci.ErrDigest) {
			t.Errorf("%q: %v", bad, err)
		}
		if err := c.Put(t.Context(), oci.Descriptor{Digest: bad}, bytes.NewReader(nil), func(int64) {}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// What is not what its digest says is not taken.
func wrongContent(t *testing.T, f *far) {
	c := f.open(t)
	b, _ := content("wrong", 100_000)
	_, d := content("right", 100_000)
	for _, media := range []string{d.MediaType, oci.MediaManifest} {
		d.MediaType = media
		if err := c.Put(t.Context(), d, bytes.NewReader(b), func(int64) {}); err == nil {
			t.Errorf("%s with other content was taken", media)
		}
		if has, err := c.Has(t.Context(), d.Digest, d.Size); has || err != nil {
			t.Errorf("has = %v, %v", has, err)
		}
	}
}

func manifests(t *testing.T, f *far) {
	c := f.open(t)
	layer, ld := content("layer", 1000)
	config := []byte(`{"some":"config"}`)
	cd := describe(config, "application/vnd.statelift.seed.config.v1+json")
	put(t, c, layer, ld)
	put(t, c, config, cd)
	raw, err := oci.Marshal(oci.Manifest{SchemaVersion: 2, MediaType: oci.MediaManifest, ArtifactType: "application/vnd.example", Config: cd, Layers: []oci.Descriptor{ld}})
	if err != nil {
		t.Fatal(err)
	}
	md := describe(raw, oci.MediaManifest)
	put(t, c, raw, md)
	index, err := oci.Marshal(oci.Index{SchemaVersion: 2, MediaType: oci.MediaIndex, Manifests: []oci.Descriptor{md}})
	if err != nil {
		t.Fatal(err)
	}
	id := describe(index, oci.MediaIndex)
	put(t, c, index, id)
	put(t, c, index, id)
	for _, d := range []oci.Descriptor{md, id} {
		got, err := get(t.Context(), c, d)
		if err != nil || oci.DigestOf(sha256.Sum256(got)) != d.Digest {
			t.Errorf("%s: %v", d.MediaType, err)
		}
		if size, err := c.SizeOf(t.Context(), d.Digest); size != d.Size || err != nil {
			t.Errorf("SizeOf %s: %d, %v", d.MediaType, size, err)
		}
	}
}

// A flipped byte and a lost end are found, and the blob is named.
func damagedBlobs(t *testing.T, f *far) {
	for name, spoil := range map[string]func(b []byte) []byte{
		"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)-7] },
		"longer":    func(b []byte) []byte { return append(b, 0) },
		"empty":     func([]byte) []byte { return nil },
	} {
		c := f.open(t)
		b, d := content("damage "+name, 200_000)
		put(t, c, b, d)
		// In place: the server keeps more about the file in its attributes.
		file, err := os.OpenFile(f.blob(d.Digest), os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(spoil(bytes.Clone(b))); err != nil {
			t.Fatal(err)
		}
		file.Close()
		got, err := get(t.Context(), c, d)
		var damaged *oci.Damaged
		if !errors.As(err, &damaged) || damaged.Digest != d.Digest || !strings.Contains(err.Error(), f.place.Kind) && !strings.Contains(err.Error(), "s3://") {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
		if name == "flipped" {
			continue // nobody sees that without reading
		}
		if has, err := c.Has(t.Context(), d.Digest, d.Size); has || err != nil {
			t.Errorf("%s: has = %v, %v", name, has, err)
		}
		// Put again, it is made good, or said that it cannot be.
		err = c.Put(t.Context(), d, bytes.NewReader(b), func(int64) {})
		if err == nil {
			if got, err := get(t.Context(), c, d); err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: after another Put: %v", name, err)
			}
		} else if !strings.Contains(err.Error(), "damaged there") || !strings.Contains(err.Error(), string(d.Digest)) {
			t.Errorf("%s: Put: %v", name, err)
		}
	}
}

func removed(t *testing.T, f *far) {
	b, d := content("removed", 5000)
	put(t, f.open(t), b, d)
	f.remove(t, d.Digest)
	c := f.open(t)
	if has, err := c.Has(t.Context(), d.Digest, d.Size); has || err != nil {
		t.Errorf("has = %v, %v", has, err)
	}
	put(t, c, b, d)
	if got, err := get(t.Context(), c, d); err != nil || !bytes.Equal(got, b) {
		t.Errorf("sent again: %v", err)
	}
}
