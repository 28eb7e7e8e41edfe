package main

import (
	"path/filepath"
	"testing"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// statelift copy --delta brings a volume up to date from a bucket, carries over
// what was proved, and proves all of it when told to.
func TestCopyWithDeltas(t *testing.T) {
	source, place, target := trees.New(t), t.TempDir(), t.TempDir()
	rounds := filepath.Join(t.TempDir(), "rounds")
	root, err := rootfs.Open(source)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	kept, err := delta.Record(t.Context(), rounds, root, hostpath.Root)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	built := seedtest.Build(t, source, place, seed.Options{Limits: seedtest.Small(), Taken: kept.Taken})
	if err := kept.Commit(built); err != nil {
		t.Fatal(err)
	}
	layout, err := oci.Open(place)
	if err != nil {
		t.Fatal(err)
	}
	s3 := s3server.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	bucket, err := carrier.InBucket(s3.Spec(s3.Endpoint, "lift"))
	if err != nil {
		t.Fatal(err)
	}
	file := func(d oci.Digest) string {
		name, err := carrier.BlobFile(place, d)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	carry(t, bucket.String(), seedtest.Open(t, place).Blobs(), file)
	args := []string{"--seed", bucket.String() + "@" + string(built.Manifest.Digest), "--to", target}
	stdout, stderr, code := copies(t, args...)
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	last := receiptIn(t, stdout)
	for _, change := range []string{`echo new > new; mv new newer; echo more >> newer`, `rm newer; mkdir newer; echo x > newer/x`} {
		sh.Run(t, source, change)
		made, err := delta.Make(t.Context(), delta.MakeOptions{Volume: "data", Root: hostpath.Root, Source: root, Dir: rounds, Layout: layout, Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		d, err := delta.Open(t.Context(), layout, made.Delta)
		if err != nil {
			t.Fatal(err)
		}
		carry(t, bucket.String(), d.Blobs(), file)
		if err := made.Confirm(); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--delta", string(made.Delta.Digest))
		stdout, stderr, code := copies(t, append(args, "--proved", delta.ProofOf(last).String())...)
		if code != exitOK {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		rsync(t, source, target)
		last = receiptIn(t, stdout)
		if !last.Proved || last.Carried == 0 || len(last.Deltas) != len(args)/2-2 || last.Mark == 0 {
			t.Errorf("receipt %+v", last)
		}
	}
	stdout, stderr, code = copies(t, append(args, "--proved", delta.ProofOf(last).String(), "--prove", "all")...)
	if r := receiptIn(t, stdout); code != exitOK || r.Carried != 0 || !r.Proved {
		t.Errorf("exit code %d, %s: %+v", code, stderr, r)
	}
	sh.Run(t, target, `echo written > by-a-workload`)
	stdout, _, code = copies(t, append(args, "--check")...)
	if r := receiptIn(t, stdout); code == exitOK || r.Proved || r.DifferenceCount == 0 {
		t.Errorf("exit code %d: %+v", code, r)
	}
	for _, bad := range [][]string{{"--prove", "some"}, {"--proved", "x"}, {"--shard", "0/2"}} {
		if _, _, code := copies(t, append(args, bad...)...); code != exitUsage {
			t.Errorf("%v: exit code %d", bad, code)
		}
	}
}
