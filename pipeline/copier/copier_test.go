package copier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/tree"
)

// every is a tree with every kind of entry, and a layout with its seed.
func every(t *testing.T) (dir, layout string) {
	t.Helper()
	dir, layout = t.TempDir(), t.TempDir()
	if err := trees.Every(dir); err != nil {
		t.Fatal(err)
	}
	seedtest.Build(t, dir, layout, seed.Options{Limits: seedtest.Small()})
	return dir, layout
}

func mustCopy(t *testing.T, layout, target string) handoff.Receipt {
	t.Helper()
	r, err := copier.Copy(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "data.listing"), copier.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Proved {
		t.Fatalf("not proved: %+v", r.Differences)
	}
	return r
}

// equal compares two trees with public tools: rsync for metadata, attributes,
// links and content; find for times in nanoseconds, getfacl, getcap, getfattr.
func equal(t *testing.T, want, got string) {
	t.Helper()
	if out := sh.Run(t, "/", `rsync -aHAXnic --numeric-ids --delete "$1/" "$2/"`, want, got); out != "" {
		t.Errorf("rsync finds differences:\n%s", out)
	}
	for _, script := range []string{
		`find . -printf '%y %m %U %G %T@ %n %l %P\0' | sort -z`,
		`find . -type f -printf '%s %P\0' | sort -z | xargs -0 -n1 echo`,
		`find . ! -type l -print0 | sort -z | xargs -0 getfacl -pn 2>&1`,
		`getcap -r . 2>&1 | sort`,
		`find . -print0 | sort -z | xargs -0 getfattr -hd -m - -e hex 2>&1`,
		`find . \( -type b -o -type c \) -exec stat -c '%n %t %T' {} + | sort`,
	} {
		a, b := sh.Run(t, want, script), sh.Run(t, got, script)
		if a != b {
			t.Errorf("%s: %s", script, cmp.Diff(strings.Split(a, "\n"), strings.Split(b, "\n")))
		}
	}
}

func TestCopyIsEqualInEveryRespect(t *testing.T) {
	dir, layout := every(t)
	target := t.TempDir()
	r := mustCopy(t, layout, target)
	equal(t, dir, target)
	if r.SourceTree != r.CopyTree || r.DifferenceCount != 0 || r.Entries == 0 {
		t.Errorf("receipt = %+v", r)
	}
	// Holes: the copy takes no more than the source.
	for _, name := range []string{"sparse/all", "sparse/large", "sparse/middle", "sparse/ends"} {
		a, b := sh.Run(t, dir, "du -k "+name+" | cut -f1"), sh.Run(t, target, "du -k "+name+" | cut -f1")
		if a != b {
			t.Errorf("%s takes %s KiB, at the source %s", name, b, a)
		}
	}
	if _, err := os.Stat(filepath.Join(target, copier.Marker)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the marker is still there: %v", err)
	}
}

// The listing beside a receipt is what sha256sum -c checks, and its sum is the
// tree's digest.
func TestReceiptIsCheckedWithPublicTools(t *testing.T) {
	_, layout := every(t)
	target, listing := t.TempDir(), filepath.Join(t.TempDir(), "data.listing")
	r, err := copier.Copy(t.Context(), seedtest.Open(t, layout), target, listing, copier.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(sh.Run(t, "/", `sha256sum "$1"`, listing))[0]; got != r.CopyTree || got != r.ListingSHA {
		t.Errorf("sha256sum says %s, the receipt %+v", got, r)
	}
	f, err := os.Open(listing)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var sums bytes.Buffer
	if err := tree.Sums(t.Context(), &sums, tree.NewReader(f)); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "sums")
	if err := os.WriteFile(name, sums.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sh.Run(t, target, `sha256sum --quiet --strict -c "$1"`, name)
}

// unmarked is the receipt without the moment of the file system's clock.
func unmarked(r handoff.Receipt) string {
	if r.Mark == 0 {
		return "no mark"
	}
	r.Mark = 0
	text, _ := json.Marshal(r)
	return string(text)
}

func TestReceiptsAreTheSameBytes(t *testing.T) {
	_, layout := every(t)
	target := t.TempDir()
	one, two := unmarked(mustCopy(t, layout, target)), unmarked(mustCopy(t, layout, t.TempDir()))
	again := unmarked(mustCopy(t, layout, target)) // adopted
	if one != two || one != again {
		t.Errorf("receipts differ:\n%s\n%s\n%s", one, two, again)
	}
}

func TestProveNamesWhatChanged(t *testing.T) {
	_, layout := every(t)
	target := t.TempDir()
	mustCopy(t, layout, target)
	sh.Run(t, target, `
		printf X | dd of=files/large-noise bs=1 seek=5000000 conv=notrunc status=none
		touch -d '2020-01-01' files/text
		setfattr -x user.comment attrs/user; setcap -r attrs/capable; chown 1 links/dangling -h
		rm special/socket; mkdir stray`)
	r, err := copier.Prove(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range r.Differences {
		got = append(got, d.Path.String()+" "+d.What)
	}
	want := []string{
		"/ mtime", "/attrs/capable xattrs", "/attrs/user xattrs", "/files/large-noise content", "/files/large-noise mtime", "/files/text mtime",
		"/links/dangling owner", "/links/hard-large content", "/links/hard-large mtime", "/links/hard-symlink owner",
		"/special mtime", "/special/socket missing", "/stray extra",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.Proved || r.DifferenceCount != int64(len(want)) {
		t.Errorf("receipt = %+v", r)
	}
}

func TestForeignContentIsLeftAlone(t *testing.T) {
	_, layout := every(t)
	target := t.TempDir()
	if err := os.WriteFile(filepath.Join(target, "mine"), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := copier.Copy(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "l"), copier.Options{})
	if !errors.Is(err, copier.ErrOccupied) || !strings.Contains(err.Error(), target) {
		t.Errorf("err = %v", err)
	}
	if out := sh.Run(t, target, "ls -A; cat mine"); out != "mine\nprecious" {
		t.Errorf("the directory has now %q", out)
	}
	// An interrupted copy of another seed is foreign too.
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, copier.Marker), []byte("sha256:"+strings.Repeat("0", 64)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := copier.Copy(t.Context(), seedtest.Open(t, layout), other, filepath.Join(t.TempDir(), "l"), copier.Options{}); !errors.Is(err, copier.ErrOccupied) {
		t.Errorf("err = %v", err)
	}
}

// A new ext4 file system on a loop device, with its lost+found, as a volume.
func TestCopyToANewFileSystem(t *testing.T) {
	dir, layout := every(t)
	target, image := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	sh.Run(t, "/", `truncate -s 200M "$1"; mkfs.ext4 -q -b 4096 -I 256 "$1"; mount -o loop "$1" "$2"`, image, target)
	defer sh.Run(t, "/", `umount "$1"`, target)
	// lost+found is not of the copy, and the receipt says so; nor is it with
	// anything else in it, or of other rights: then it is a difference.
	r := mustCopy(t, layout, target)
	if diff := cmp.Diff([]string{"/lost+found"}, r.NotCompared); diff != "" {
		t.Error(diff)
	}
	for _, change := range []string{"touch lost+found/x", "rm lost+found/x; chmod 0755 lost+found", "chmod 0700 lost+found; chown 1 lost+found"} {
		sh.Run(t, target, change)
		r, err := copier.Prove(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "l"), copier.Options{})
		if err != nil || r.Proved {
			t.Errorf("%s: %+v, %v", change, r, err)
		}
	}
	sh.Run(t, target, "rmdir lost+found; touch -r \"$1\" .", dir)
	equal(t, dir, target)
}

// What was read back while it was written is read again when somebody touches it
// before the proof, even when he gives it its old time.
func TestAlteredBetweenCopyAndProof(t *testing.T) {
	_, layout := every(t)
	for _, alter := range []string{
		`f=sparse/large; touch -r $f ../ref; printf x | dd of=$f bs=1 seek=5 conv=notrunc status=none; touch -r ../ref $f`,
		`f=$(find . -type f -size +300k ! -path './sparse/*' | sort | head -1); touch -r $f ../ref; printf x | dd of=$f bs=1 seek=5 conv=notrunc status=none; touch -r ../ref $f`,
		`f=files/text; touch -r $f ../ref; printf '\001' | dd of=$f bs=1 seek=5 conv=notrunc status=none; touch -r ../ref $f`,
		`f=files/text; cp -p $f ../twin; printf '\001' | dd of=../twin bs=1 seek=5 conv=notrunc status=none; touch -r $f ../twin; mv ../twin $f`,
		`f=$(find . -type f -size +300k ! -path './sparse/*' | sort | head -1); cp -p $f ../twin; printf x | dd of=../twin bs=1 seek=5 conv=notrunc status=none; touch -r $f ../twin; mv ../twin $f`,
	} {
		target := filepath.Join(t.TempDir(), "copy")
		if err := os.Mkdir(target, 0o700); err != nil {
			t.Fatal(err)
		}
		c, err := copier.Start(t.Context(), seedtest.Open(t, layout), target, copier.Options{Workers: 2})
		if err != nil {
			t.Fatal(err)
		}
		sh.Run(t, target, alter)
		r, err := c.Prove(t.Context(), filepath.Join(t.TempDir(), "l"))
		c.Close()
		found := false
		for _, d := range r.Differences {
			found = found || d.What == "content"
		}
		if err != nil || r.Proved || !found {
			t.Errorf("%s: %+v, %v", alter, r, err)
		}
	}
}

func TestNotComparedIsDeclared(t *testing.T) {
	_, layout := every(t)
	target := t.TempDir()
	mustCopy(t, layout, target)
	sh.Run(t, target, `setfattr -n user.added -v x files/text; setfattr -n trusted.host -v x files/one`)
	prove := func(patterns ...string) handoff.Receipt {
		r, err := copier.Prove(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "l"), copier.Options{NotCompared: patterns})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := prove(); r.Proved || r.DifferenceCount != 2 {
		t.Errorf("undeclared: %+v", r)
	}
	if r := prove("user.*", "trusted.*"); !r.Proved || len(r.NotCompared) != 2 || r.SourceTree != r.CopyTree {
		t.Errorf("declared: %+v", r)
	}
	if r := prove("trusted.host"); r.Proved || r.DifferenceCount != 1 {
		t.Errorf("half declared: %+v", r)
	}
}

func TestADamagedBlobLeavesNoContent(t *testing.T) {
	_, layout := every(t)
	l, err := oci.Open(layout)
	if err != nil {
		t.Fatal(err)
	}
	s := seedtest.Open(t, layout)
	for i, d := range s.Blobs() {
		if testing.Short() && i%8 != 0 {
			continue
		}
		if d.MediaType != seed.MediaPack && d.MediaType != seed.MediaPart && d.MediaType != seed.MediaZPart {
			continue
		}
		digits, _ := d.Digest.Hex()
		name := filepath.Join(layout, "blobs/sha256", digits)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-1] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		target := t.TempDir()
		_, err = copier.Copy(t.Context(), s, target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2})
		if err == nil || !strings.Contains(err.Error(), digits) {
			t.Errorf("%s %s: %v", d.MediaType, digits, err)
		}
		wrong(t, l, s, target, digits)
		data[len(data)-1] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		mustCopy(t, layout, target) // goes on when the blob is good again
	}
}

// wrong reports files of the target whose content came from the blob.
func wrong(t *testing.T, _ *oci.Layout, s *seed.Seed, target, digits string) {
	t.Helper()
	for u, err := range s.Units(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range u.Records {
			from := u.Pack != nil && strings.HasSuffix(string(u.Pack.Digest), digits) && u.Small(i)
			if l := u.LargeAt(i); l != nil {
				for _, p := range l.Parts {
					from = from || strings.HasSuffix(string(p.Digest), digits)
				}
			}
			if !from {
				continue
			}
			if _, err := os.Lstat(filepath.Join(target, string(r.Path))); err == nil {
				t.Errorf("%s stays, although its blob is damaged", r.Path)
			}
		}
	}
}

func TestAFullDiskIsNamedAndTheCopyGoesOn(t *testing.T) {
	dir, layout := every(t)
	target := t.TempDir()
	sh.Run(t, "/", `mount -t tmpfs -o size=4M none "$1"`, target)
	defer sh.Run(t, "/", `umount "$1"`, target)
	_, err := copier.Copy(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2})
	if err == nil || !strings.Contains(err.Error(), "no space left") || !strings.Contains(err.Error(), "write /") {
		t.Fatalf("err = %v", err)
	}
	sh.Run(t, "/", `mount -o remount,size=100M "$1"`, target)
	mustCopy(t, layout, target)
	equal(t, dir, target)
}

func TestCancelled(t *testing.T) {
	_, layout := every(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := copier.Copy(ctx, seedtest.Open(t, layout), t.TempDir(), filepath.Join(t.TempDir(), "l"), copier.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// What the file system of the copy cannot hold is a difference, unless it was
// declared. Inodes of this ext4 have no room for a large attribute.
func TestWhatTheFileSystemCannotHold(t *testing.T) {
	_, layout := every(t)
	image := filepath.Join(t.TempDir(), "disk")
	mount := func() string {
		target := t.TempDir()
		sh.Run(t, "/", `truncate -s 100M "$1"; mkfs.ext4 -qF -b 1024 -I 128 "$1"; mount -o loop "$1" "$2"`, image, target)
		t.Cleanup(func() { sh.Run(t, "/", `umount "$1"`, target) })
		return target
	}
	copyTo := func(target string, patterns ...string) handoff.Receipt {
		t.Helper()
		r, err := copier.Copy(t.Context(), seedtest.Open(t, layout), target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2, NotCompared: patterns})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	target := mount()
	r := copyTo(target)
	got := map[string]bool{}
	for _, d := range r.Differences {
		got[d.Path.String()+" "+d.What] = true
		// Inodes of 128 bytes have times in whole seconds, too.
		if d.What != "mtime" && d.Path != "/attrs/big" && d.Path != "/links/long" {
			t.Errorf("%+v", d)
		}
	}
	if r.Proved || !got["/attrs/big xattrs"] || !got["/links/long missing"] || !got["/files/text mtime"] {
		t.Errorf("receipt = %+v", r)
	}
	// It stays one under way.
	if _, err := os.Stat(filepath.Join(target, copier.Marker)); err != nil {
		t.Error(err)
	}
	if again := copyTo(target, "user.*"); again.Proved {
		t.Error("times are not compared either")
	}
}
