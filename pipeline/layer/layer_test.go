package layer_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// everything plans one layer of all that root has, but for sockets.
func everything(t *testing.T, root string) layer.Plan {
	t.Helper()
	env := hosttest.Env(t, t.TempDir())
	hosttest.Inventory(t, env, root, func(tree.Entry) hosttest.Place { return hosttest.Place{Class: claim.Image} })
	c, err := catalog.Open(t.Context(), env.Workspace.Path(workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d, err := layer.Begin(filepath.Join(t.TempDir(), "plan"))
	if err != nil {
		t.Fatal(err)
	}
	var links layer.Links
	for e, err := range c.Entries(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type == tree.Socket {
			continue
		}
		i := layer.Item{Entry: e.Entry.Entry}
		links.Resolve(&i)
		if err := d.Add(i); err != nil {
			t.Fatal(err)
		}
	}
	p, err := d.End()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t *testing.T, root string, p layer.Plan, c layer.Compression) (string, layer.Blob, error) {
	t.Helper()
	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	files := content.NewReader(r)
	defer files.Close()
	name := filepath.Join(t.TempDir(), "blob")
	b, err := layer.Write(t.Context(), name, p, files, c, func(int64) {})
	return name, b, err
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, stderr.String())
	}
	return string(out)
}

// known is what a layer does not carry, in the words of rsync --itemize-changes:
// hard links between symlinks and between FIFOs, sockets, and (for GNU tar, which passes
// over libarchive's records) an attribute with '=' in its name.
const known = `.f........x attrs/user
cS+++++++++ special/socket
`

// What tar(1) unpacks from a layer is what rsync(1) calls the same tree.
func TestTarUnpacksTheSource(t *testing.T) {
	root := t.TempDir()
	if err := trees.Every(root); err != nil {
		t.Fatal(err)
	}
	plan := everything(t, root)
	for c, flag := range map[layer.Compression]string{layer.Zstd: "--zstd", layer.Gzip: "--gzip"} {
		t.Run(string(c), func(t *testing.T) {
			name, blob, err := write(t, root, plan, c)
			if err != nil {
				t.Fatal(err)
			}
			if got := "sha256:" + run(t, "sha256sum", name)[:64]; got != blob.Digest {
				t.Errorf("digest = %s, sha256sum says %s", blob.Digest, got)
			}
			if got := "sha256:" + run(t, "sh", "-c", string(c)+` -dc <"$1" | sha256sum`, "sh", name)[:64]; got != blob.DiffID {
				t.Errorf("diffID = %s, sha256sum says %s", blob.DiffID, got)
			}
			to := t.TempDir()
			run(t, "tar", "-C", to, "-xpf", name, flag, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore")
			diff := run(t, "rsync", "-aHAXnic", "--numeric-ids", "--delete", "--no-devices", "--devices", root+"/", to+"/")
			if diff := cmp.Diff(known, diff); diff != "" {
				t.Errorf("what rsync finds:\n%s", diff)
			}
		})
	}
}

// Times of access and change, places and names of this machine are not in it.
func TestSameBytesElsewhereAndLater(t *testing.T) {
	var blobs []layer.Blob
	for range 2 {
		root := t.TempDir()
		if err := trees.Every(root); err != nil {
			t.Fatal(err)
		}
		_, b, err := write(t, root, everything(t, root), layer.Zstd)
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, b)
	}
	if diff := cmp.Diff(blobs[0], blobs[1]); diff != "" {
		t.Errorf("two equal trees give different layers:\n%s", diff)
	}
}

// A file that is not as the scan saw it is named, all such files are, and no
// layer is written.
func TestChangedFiles(t *testing.T) {
	root := t.TempDir()
	for name, data := range map[string]string{"a": "one", "b": "two", "c": "three", "d": "four", "e": "five"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plan := everything(t, root)
	run(t, "sh", "-c", `cd "$1"; echo more >>a; rm c; rm d; mkfifo d; touch -r b x; printf TWO >b; touch -r x b`, "sh", root)
	name, _, err := write(t, root, plan, layer.Zstd)
	var unusable *layer.Unusable
	if !errors.As(err, &unusable) {
		t.Fatalf("error = %v, want Unusable", err)
	}
	var got []string
	for _, c := range unusable.Files {
		got = append(got, c.Path.String())
	}
	if diff := cmp.Diff([]string{"/a", "/b", "/c", "/d"}, got); diff != "" {
		t.Errorf("files that changed:\n%s", diff)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a layer is there: %v", err)
	}
}

func check(t *testing.T, name string, want layer.Blob, p layer.Plan) error {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return layer.Check(t.Context(), f, want, p, nil)
}

// Check sees every kind of difference between a layer and what it should be.
func TestCheck(t *testing.T) {
	root := t.TempDir()
	if err := trees.Every(root); err != nil {
		t.Fatal(err)
	}
	plan := everything(t, root)
	name, blob, err := write(t, root, plan, layer.Zstd)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(t, name, blob, plan); err != nil {
		t.Fatalf("a good layer: %v", err)
	}
	t.Run("damage", func(t *testing.T) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(t.TempDir(), "bad")
		for what, change := range map[string]func([]byte) []byte{
			"flipped bit": func(d []byte) []byte { d[len(d)/2] ^= 4; return d },
			"truncated":   func(d []byte) []byte { return d[:len(d)-10] },
			"longer":      func(d []byte) []byte { return append(d, 0) },
			"empty":       func(d []byte) []byte { return nil },
		} {
			if err := os.WriteFile(bad, change(bytes.Clone(data)), 0o600); err != nil {
				t.Fatal(err)
			}
			var faults *layer.Faults
			if err := check(t, bad, blob, plan); !errors.As(err, &faults) {
				t.Errorf("%s: error = %v, want faults", what, err)
			}
		}
	})
	for _, change := range []struct {
		want string
		do   string
	}{
		{"mode is", `chmod 700 "$1/file"`},
		{"uid is", `chown 7 "$1/file"`},
		{"gid is", `chgrp 7 "$1/file"`},
		{"size is", `echo more >>"$1/file"`},
		{"mtime is", `touch -d @1 "$1/file"`},
		{"type is", `rm "$1/file"; mkdir "$1/file"`},
		{"xattrs is", `setfattr -n user.new -v x "$1/file"`},
		{"target is", `ln -sfn elsewhere "$1/link"`},
		{"hard link is", `cp --preserve=all --remove-destination "$1/one" "$1/two.x"; mv "$1/two.x" "$1/two"`},
		{"where the plan has", `touch "$1/another"`},
		{"missing", `touch "$1/zzz"`},
		{"not in its plan", `rm "$1/two"; `},
	} {
		t.Run(change.want, func(t *testing.T) {
			root := t.TempDir()
			run(t, "sh", "-c", `cd "$1"; echo x >file; ln -s target link; echo y >one; ln one two`, "sh", root)
			name, blob, err := write(t, root, everything(t, root), layer.Zstd)
			if err != nil {
				t.Fatal(err)
			}
			run(t, "sh", "-c", change.do, "sh", root)
			if err := check(t, name, blob, everything(t, root)); err == nil || !strings.Contains(err.Error(), change.want) {
				t.Errorf("error = %v, want one with %q", err, change.want)
			}
		})
	}
}

// A name that would delete a path of a lower layer is refused.
func TestWhiteoutName(t *testing.T) {
	root := t.TempDir()
	run(t, "sh", "-c", `touch "$1/.wh.passwd"`, "sh", root)
	if _, _, err := write(t, root, everything(t, root), layer.Zstd); !errors.Is(err, layer.ErrNoLayer) {
		t.Errorf("error = %v, want ErrNoLayer", err)
	}
}

func TestStopped(t *testing.T) {
	root := t.TempDir()
	run(t, "sh", "-c", `echo x >"$1/file"`, "sh", root)
	plan := everything(t, root)
	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	name := filepath.Join(t.TempDir(), "blob")
	_, err = layer.Write(ctx, name, plan, content.NewReader(r), layer.Zstd, func(int64) {})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
}
