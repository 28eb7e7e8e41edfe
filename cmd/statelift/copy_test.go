package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/carrier/registryserver"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/store/storetest/faults"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// journey is a seed at one place, behind a proxy that can break what passes.
type journey struct {
	source string // the tree
	seed   string // for --seed
	proxy  *faults.Proxy
	blob   func(oci.Digest) string // the file in which the far side keeps it
	blobs  []oci.Descriptor
}

// journeys are one seed in a registry, in a bucket, and in a directory.
func journeys(t *testing.T) map[string]*journey {
	t.Helper()
	source, layout := t.TempDir(), t.TempDir()
	if err := trees.Every(source); err != nil {
		t.Fatal(err)
	}
	b := seedtest.Build(t, source, layout, seed.Options{Limits: seedtest.Small()})
	blobs := seedtest.Open(t, layout).Blobs()
	reg, s3 := registryserver.Start(t), s3server.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	rp, sp := faults.New(t, "http://"+reg.Host), faults.New(t, s3.Endpoint)
	bucket, err := carrier.InBucket(s3.Spec(sp.URL, "lift"))
	if err != nil {
		t.Fatal(err)
	}
	local := func(d oci.Digest) string {
		name, err := carrier.BlobFile(layout, d)
		if err != nil {
			t.Fatal(err)
		}
		return name
	}
	all := map[string]*journey{
		"registry": {
			seed: carrier.InRegistry(strings.TrimPrefix(rp.URL, "http://") + "/lift").String(), proxy: rp,
			blob: func(d oci.Digest) string { return reg.Blob(string(d)) },
		},
		"bucket": {
			seed: bucket.String(), proxy: sp,
			blob: func(d oci.Digest) string { return filepath.Join(s3.Folder, "lift/seeds/blobs/sha256", string(d[7:])) },
		},
		"dir": {seed: "dir:" + layout, blob: local},
	}
	for kind, j := range all {
		if kind != "dir" {
			carry(t, j.seed, blobs, local)
		}
		j.source, j.blobs = source, blobs
		j.seed += "@" + string(b.Manifest.Digest)
	}
	return all
}

// carry brings blobs to a place. Manifests come first in blobs.
func carry(t *testing.T, place string, blobs []oci.Descriptor, file func(oci.Digest) string) {
	t.Helper()
	p, err := carrier.ParsePlace(place)
	if err != nil {
		t.Fatal(err)
	}
	c, err := carrier.OpenCarrier(t.Context(), p, carrier.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := len(blobs) - 1; i >= 0; i-- {
		f, err := os.Open(file(blobs[i].Digest))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Put(t.Context(), blobs[i], f, func(int64) {}); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

// copies runs the command, and returns what it printed and its exit code.
func copies(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(t.Context(), append([]string{"copy"}, args...), streams{out: &out, err: &err})
	return out.String(), err.String(), code
}

// receiptIn is the receipt in what was printed: the last line.
func receiptIn(t *testing.T, stdout string) handoff.Receipt {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	text, ok := strings.CutPrefix(lines[len(lines)-1], "receipt: ")
	var r handoff.Receipt
	if err := json.Unmarshal([]byte(text), &r); !ok || err != nil {
		t.Fatalf("no receipt at the end of %q: %v", stdout, err)
	}
	return r
}

func rsync(t *testing.T, want, got string) {
	t.Helper()
	if out := sh.Run(t, "/", `rsync -aHAXnic --numeric-ids --delete "$1/" "$2/"`, want, got); out != "" {
		t.Errorf("rsync finds differences:\n%s", out)
	}
}

// butMark compares receipts but for their mark, a time of the volume's own file
// system.
var butMark = cmpopts.IgnoreFields(handoff.Receipt{}, "Mark")

// The same seed from each place: an equal copy and the same receipt, again and
// again, by shards, and from a mount that is read-only.
func TestCopyFromEachPlace(t *testing.T) {
	receipts := map[string]handoff.Receipt{}
	for kind, j := range journeys(t) {
		target := t.TempDir()
		last := filepath.Join(t.TempDir(), "termination-log")
		if err := os.WriteFile(last, []byte("what was there before, and is longer than what comes, as a file of Kubernetes never is: "+strings.Repeat("x", 500)), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"--seed", j.seed, "--to", target, "--volume", "data", "--termination-log", last}
		stdout, stderr, code := copies(t, args...)
		if code != exitOK {
			t.Fatalf("%s: exit code %d: %s", kind, code, stderr)
		}
		r := receiptIn(t, stdout)
		if r.Mark == 0 {
			t.Errorf("%s: no mark", kind)
		}
		r.Mark = 0
		receipts[kind] = r
		if !r.Proved || r.Volume != "data" || r.Listing != "data.listing" || !strings.HasSuffix(j.seed, r.Seed) {
			t.Errorf("%s: receipt %+v", kind, r)
		}
		rsync(t, j.source, target)
		want := fmt.Sprintf(`{"volume":"data","seed":%q,"copyTree":%q,"proved":true,"differences":0}`+"\n", r.Seed, r.CopyTree)
		if got, err := os.ReadFile(last); err != nil || string(got) != want {
			t.Errorf("%s: last words %q, %v", kind, got, err)
		}
		again, stderr, code := copies(t, args...)
		if code != exitOK || !cmp.Equal(receiptIn(t, again), r, butMark) {
			t.Errorf("%s: again: %d, %s%s", kind, code, again, stderr)
		}
		readOnly := t.TempDir()
		sh.Run(t, "/", `mount --bind "$1" "$2"; mount -o remount,ro,bind "$2"`, target, readOnly)
		checked, stderr, code := copies(t, "--check", "--seed", j.seed, "--to", readOnly)
		sh.Run(t, "/", `umount "$1"`, readOnly)
		if code != exitOK || !cmp.Equal(receiptIn(t, checked), r) {
			t.Errorf("%s: check: %d, %s%s", kind, code, checked, stderr)
		}
		sh.Run(t, target, `printf x | dd of=files/text bs=1 conv=notrunc status=none`)
		checked, stderr, code = copies(t, "--check", "--seed", j.seed, "--to", target)
		if r := receiptIn(t, checked); code != exitNotProved || r.Proved || !strings.Contains(stderr, "volume data differs") || !strings.Contains(stderr, "/files/text") {
			t.Errorf("%s: check of an altered file: %d, %s, %+v", kind, code, stderr, r)
		}
		sharded := t.TempDir()
		for i := range 3 {
			t.Setenv("JOB_COMPLETION_INDEX", fmt.Sprint(i))
			stdout, stderr, code := copies(t, "--shards", "3", "--seed", j.seed, "--to", sharded, "--termination-log", last)
			words := fmt.Sprintf(`{"volume":"data","seed":%q,"shard":"%d/3"}`+"\n", r.Seed, i)
			if code != exitOK || !strings.HasSuffix(stdout, "shard: "+words) {
				t.Errorf("%s: shard %d: %d, %s%s", kind, i, code, stdout, stderr)
			}
			if got, err := os.ReadFile(last); err != nil || string(got) != words {
				t.Errorf("%s: shard %d: last words %q, %v", kind, i, got, err)
			}
		}
		stdout, stderr, code = copies(t, "--seed", j.seed, "--to", sharded)
		if code != exitOK || !cmp.Equal(receiptIn(t, stdout), r, butMark) {
			t.Errorf("%s: after the shards: %d, %s", kind, code, stderr)
		}
		rsync(t, j.source, sharded)
	}
	if diff := cmp.Diff(receipts["registry"], receipts["bucket"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(receipts["dir"], receipts["bucket"]); diff != "" {
		t.Error(diff)
	}
}

// With one request of ten broken the copy is the same, in shards that run side
// by side, too.
func TestCopyThroughBadNetworks(t *testing.T) {
	for kind, j := range journeys(t) {
		if j.proxy == nil {
			continue
		}
		dice := rand.New(rand.NewPCG(7, 7))
		kinds := []faults.Fault{faults.Reset, faults.Truncate, faults.Unavailable}
		j.proxy.Decide(func(*http.Request) faults.Fault {
			if dice.IntN(10) == 0 {
				return kinds[dice.IntN(len(kinds))]
			}
			return faults.None
		})
		target := t.TempDir()
		var shards sync.WaitGroup
		for i := range 2 {
			shards.Go(func() {
				if _, stderr, code := copies(t, "--shard", fmt.Sprintf("%d/2", i), "--seed", j.seed, "--to", target); code != exitOK {
					t.Errorf("%s: shard %d: %d, %s", kind, i, code, stderr)
				}
			})
		}
		shards.Wait()
		for _, dir := range []string{target, t.TempDir()} {
			stdout, stderr, code := copies(t, "--seed", j.seed, "--to", dir)
			if code != exitOK || !receiptIn(t, stdout).Proved {
				t.Errorf("%s: %d, %s", kind, code, stderr)
			}
			rsync(t, j.source, dir)
		}
		broken := 0
		for _, r := range j.proxy.Requests() {
			if r.Fault != faults.None {
				broken++
			}
		}
		if broken < 5 {
			t.Errorf("%s: only %d requests were broken", kind, broken)
		}
	}
}

// Each damaged blob is found and named with the volume; what was written of it
// is gone, and once the blob is good again, the copy goes on to its end.
func TestCopyOfDamagedBlobs(t *testing.T) {
	for kind, j := range journeys(t) {
		for name, spoil := range map[string]func([]byte) []byte{
			"flipped":   func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
			"truncated": func(b []byte) []byte { return b[:len(b)-1] },
			"gone":      nil,
		} {
			seen := map[string]bool{}
			for _, d := range j.blobs {
				if seen[d.MediaType] {
					continue
				}
				seen[d.MediaType] = true
				good, err := os.ReadFile(j.blob(d.Digest))
				if err != nil {
					t.Fatal(err)
				}
				if spoil == nil {
					err = os.Rename(j.blob(d.Digest), j.blob(d.Digest)+".away")
				} else {
					err = os.WriteFile(j.blob(d.Digest), spoil(bytes.Clone(good)), 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				target := t.TempDir()
				_, stderr, code := copies(t, "--seed", j.seed, "--to", target, "--attempts", "2")
				// What to try again does not mend has a code by which a Job knows.
				// (A registry does not tell a damaged manifest from other faults.)
				want := exitNotProved
				if spoil == nil || kind == "registry" && d.MediaType == oci.MediaManifest {
					want = exitFailure
				}
				if code != want || !strings.Contains(stderr, string(d.Digest[7:])) {
					t.Errorf("%s: %s %s: exit code %d, %s", kind, name, d.MediaType, code, stderr)
				}
				if pack := strings.Contains(d.MediaType, "pack") || strings.Contains(d.MediaType, "part"); pack && !strings.Contains(stderr, "volume data") {
					t.Errorf("%s: %s %s: the volume is not named: %s", kind, name, d.MediaType, stderr)
				}
				if spoil == nil {
					err = os.Rename(j.blob(d.Digest)+".away", j.blob(d.Digest))
				} else {
					err = os.WriteFile(j.blob(d.Digest), good, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
				stdout, stderr, code := copies(t, "--seed", j.seed, "--to", target)
				if code != exitOK || !receiptIn(t, stdout).Proved {
					t.Errorf("%s: %s %s: when it is good again: %d, %s", kind, name, d.MediaType, code, stderr)
				}
			}
			if len(seen) < 6 {
				t.Errorf("only %d kinds of blobs", len(seen))
			}
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	all := journeys(t)
	j := all["dir"]
	digest := j.seed[strings.LastIndex(j.seed, "@"):]
	full := t.TempDir()
	sh.Run(t, full, "echo foreign > file")
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{}, exitUsage, "--seed and --to"},
		{[]string{"--seed", "nonsense", "--to", full}, exitUsage, "digest is missing"},
		{[]string{"--seed", "ftp:x" + digest, "--to", full}, exitUsage, "registry:HOST/PREFIX/seeds"},
		{[]string{"--seed", j.seed, "--to", full, "--volume", "other"}, exitUsage, "the seed is of volume data"},
		{[]string{"--seed", j.seed, "--to", full, "--shard", "2/2"}, exitUsage, "no shard I/N"},
		{[]string{"--seed", j.seed, "--to", full, "--shards", "2"}, exitUsage, "JOB_COMPLETION_INDEX"},
		{[]string{"--seed", j.seed, "--to", full, "--shards", "2", "--shard", "0/2"}, exitUsage, "give one"},
		{[]string{"--seed", j.seed, "--to", full, "--check", "--shard", "0/2"}, exitUsage, "--check"},
		{[]string{"--seed", j.seed, "--to", full, "--memory", "lots"}, exitUsage, "--memory"},
		{[]string{"--seed", j.seed, "--to", "/nowhere"}, exitFailure, "/nowhere"},
		{[]string{"--seed", j.seed, "--to", full}, exitBlocked, "empty it, or choose another volume"},
		{[]string{"--seed", "dir:/nowhere" + digest, "--to", full}, exitFailure, "/nowhere"},
	} {
		if _, stderr, code := copies(t, c.args...); code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%q: exit code %d, %s", c.args, code, stderr)
		}
	}
	for kind, j := range all {
		place := j.seed[:strings.LastIndex(j.seed, "@")]
		_, stderr, code := copies(t, "--seed", place+"@sha256:"+strings.Repeat("0", 64), "--to", t.TempDir())
		if code != exitFailure || !strings.Contains(stderr, "sha256:000") || !strings.Contains(stderr, place) {
			t.Errorf("%s: a seed that is not there: %d, %s", kind, code, stderr)
		}
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "not the right one")
	_, stderr, code := copies(t, "--seed", all["bucket"].seed, "--to", t.TempDir())
	if code != exitFailure || !strings.Contains(stderr, "access denied: check the credentials") || strings.Contains(stderr, "not the right one") {
		t.Errorf("wrong credentials: %d, %s", code, stderr)
	}
	t.Setenv("DOCKER_AUTH_CONFIG", "hunter2")
	_, stderr, code = copies(t, "--seed", all["registry"].seed, "--to", t.TempDir())
	if code != exitFailure || !strings.Contains(stderr, "DOCKER_AUTH_CONFIG") || strings.Contains(stderr, "hunter2") {
		t.Errorf("a configuration that is none: %d, %s", code, stderr)
	}
}

// A process that may not change owners, as on NFS that squashes root, says so
// before it writes a file.
func TestCopyWithoutTheRightToChown(t *testing.T) {
	j := journeys(t)["dir"]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The test binary is statelift when it is called so.
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "statelift")); err != nil {
		t.Fatal(err)
	}
	for _, shard := range []string{"", "--shard 0/2"} {
		target := t.TempDir()
		cmd := exec.Command("capsh", "--drop=cap_chown", "--", "-c", bin+"/statelift copy "+shard+" --seed "+j.seed+" --to "+target)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != exitBlocked || !strings.Contains(string(out), "no_root_squash") {
			t.Errorf("%v: %s", err, out)
		}
		if n := sh.Run(t, target, "find . -type f ! -name '.statelift*' | wc -l"); n != "0\n" {
			t.Errorf("it wrote %s files", n)
		}
	}
}
