package copier_test

import (
	"context"
	"io"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

// once are blobs of which the content of one arrives altered the first time.
type once struct {
	oci.Blobs
	digest oci.Digest
	opened atomic.Int32
}

func (o *once) Open(ctx context.Context, d oci.Digest, size int64) (io.ReadCloser, error) {
	in, err := o.Blobs.Open(ctx, d, size)
	if err != nil || d != o.digest || o.opened.Add(1) > 1 {
		return in, err
	}
	return &altered{in}, nil
}

type altered struct{ io.ReadCloser }

func (a *altered) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if n > 0 {
		p[n/2] ^= 1
	}
	return n, err
}

func (a *altered) SizeOnly() {
	if s, ok := a.ReadCloser.(oci.SizeOnly); ok {
		s.SizeOnly()
	}
}

// What was altered on the way shows when the file is read back, and is fetched
// again.
func TestWhatWasAlteredOnTheWayIsFetchedAgain(t *testing.T) {
	dir, layout := every(t)
	l, err := oci.Open(layout)
	if err != nil {
		t.Fatal(err)
	}
	found := seedtest.Open(t, layout)
	tried := 0
	for _, d := range found.Blobs() {
		if d.MediaType != seed.MediaPart {
			continue
		}
		tried++
		blobs := &once{Blobs: l, digest: d.Digest}
		s, err := seed.Open(t.Context(), blobs, found.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		target := t.TempDir()
		r, err := copier.Copy(t.Context(), s, target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2})
		if err != nil || !r.Proved {
			t.Fatalf("%s: %v, %v", d.Digest, r.Differences, err)
		}
		if blobs.opened.Load() < 2 {
			t.Errorf("%s was fetched %d times", d.Digest, blobs.opened.Load())
		}
		if got := sh.Run(t, "/", `rsync -naHAXc --delete --itemize-changes "$1/" "$2/"`, dir, target); len(got) != 0 {
			t.Errorf("%s: rsync finds\n%s", d.Digest, got)
		}
	}
	if tried == 0 {
		t.Fatal("the seed has no parts")
	}
}
