package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// member is one entry of an archive; content makes it a regular file.
type member struct {
	tar.Header
	content string
}

func file(name, content string) member {
	return member{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content}
}

func link(kind byte, name, target string) member {
	return member{Header: tar.Header{Typeflag: kind, Name: name, Linkname: target, Mode: 0o777}}
}

func dir(name string) member {
	return member{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}}
}

// pack makes a tar archive that begins as a root file system does.
func pack(t *testing.T, members ...member) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	root := []member{dir("./"), dir("etc/"), dir("usr/"), file("etc/os-release", "ID=debian\n"), file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")}
	for _, m := range append(root, members...) {
		if m.Size == 0 {
			m.Size = int64(len(m.content))
		}
		m.ModTime = time.Unix(1e9, 0)
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	w.Flush()
	return append(b.Bytes(), make([]byte, 1024)...)
}

// TestHostileArchives tries archives that lie. Each is refused with the name of
// the entry, leaves nothing in the workspace and nothing beside it, and the same
// workspace then takes a good archive.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	top := t.TempDir()
	ws, outside := filepath.Join(top, "a/b/ws"), filepath.Join(top, "outside")
	for _, d := range []string{filepath.Dir(ws), outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "precious"), []byte("precious\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 12)
	huge := file("srv/huge", "little")
	huge.Size = 1 << 60
	cases := map[string]struct {
		want    string
		members []member
	}{
		"upwards":               {"../../../evil", []member{file("../../../evil", "x")}},
		"upwards within":        {"usr/../../../../evil", []member{file("usr/../../../../evil", "x")}},
		"absolute":              {outside + "/evil", []member{file(outside+"/evil", "x")}},
		"through a link":        {"usr/way/evil", []member{link(tar.TypeSymlink, "usr/way", outside), file("usr/way/evil", "x")}},
		"through a way upwards": {"usr/way/evil", []member{link(tar.TypeSymlink, "usr/way", up+outside), file("usr/way/evil", "x")}},
		"over a link":           {"usr/way: it comes twice", []member{link(tar.TypeSymlink, "usr/way", outside+"/precious"), file("usr/way", "x")}},
		"a directory by a link": {"usr/way: it comes twice", []member{dir("usr/way/"), link(tar.TypeSymlink, "usr/way", outside), file("usr/way/evil", "x")}},
		"a link by a directory": {"usr/way: it comes twice", []member{link(tar.TypeSymlink, "usr/way", outside), dir("usr/way/"), file("usr/way/evil", "x")}},
		"hard link upwards":     {"usr/hard", []member{link(tar.TypeLink, "usr/hard", up+outside+"/precious")}},
		"hard link absolute":    {"usr/hard", []member{link(tar.TypeLink, "usr/hard", outside+"/precious")}},
		"hard link through":     {"usr/hard", []member{link(tar.TypeSymlink, "usr/way", outside), link(tar.TypeLink, "usr/hard", "usr/way/precious")}},
		"hard link to itself":   {"usr/hard", []member{link(tar.TypeLink, "usr/hard", "usr/hard")}},
		"hard link to nothing":  {"usr/hard", []member{link(tar.TypeLink, "usr/hard", "usr/later")}},
		"a size like a bomb":    {"srv/huge: its 1152921504606846976 bytes are more than an archive of ", []member{huge}},
		"a device out of range": {"dev/x", []member{{Header: tar.Header{Typeflag: tar.TypeChar, Name: "dev/x", Devmajor: -7}}}},
		"a kind that is none":   {"usr/odd", []member{{Header: tar.Header{Typeflag: 'Z', Name: "usr/odd"}}}},
	}
	before := beside(t, top, ws)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			archive := filepath.Join(t.TempDir(), "hostile.tar")
			if err := os.WriteFile(archive, pack(t, c.members...), 0o600); err != nil {
				t.Fatal(err)
			}
			attempt(t, nil, "run", archive, "-w", ws).want(t, exitInput, archive, c.want)
			if left, _ := filepath.Glob(filepath.Join(ws, "*unpacked*")); len(left) > 0 {
				t.Errorf("%v is left", left)
			}
			if after := beside(t, top, ws); after != before {
				t.Errorf("beside the workspace there was\n%s, and is\n%s", before, after)
			}
		})
	}
	good := filepath.Join(t.TempDir(), "good.tar")
	if err := os.WriteFile(good, pack(t, dir("srv/"), file("srv/x", "x")), 0o600); err != nil {
		t.Fatal(err)
	}
	attempt(t, nil, "run", good, "-w", ws, "--until", "split").want(t, exitOK)
}

// beside is what lies below top, apart from the workspace.
func beside(t *testing.T, top, ws string) string {
	t.Helper()
	out, err := exec.Command("find", top, "-path", ws, "-prune", "-o", "-type", "d", "-print", "-o",
		"-printf", "%p %y %s %m %n %T@ %l\n").CombinedOutput()
	if err != nil {
		t.Fatalf("find: %v: %s", err, out)
	}
	return string(out)
}

// TestDamagedArchives cuts and flips archives of every format: none passes for
// the whole.
func TestDamagedArchives(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	host, ws := tiny(t), filepath.Join(work, "ws")
	// Small, so that all of it is quickly packed.
	if err := os.RemoveAll(filepath.Join(host, "var/lib/tinyd/files")); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(filepath.Join(host, "var/lib/tinyd/links"))
	os.RemoveAll(filepath.Join(host, "var/lib/tinyd/sparse"))
	os.RemoveAll(filepath.Join(host, "var/lib/tinyd/a-third-name"))
	for ending, packer := range map[string]string{"tar": "cat", "tar.gz": "gzip -1", "tar.zst": "zstd -q", "tar.xz": "xz -0"} {
		t.Run(ending, func(t *testing.T) {
			whole, err := exec.Command("sh", "-c", "tar -C '"+host+"' --exclude=socket -cf - . | "+packer).Output()
			if err != nil {
				t.Fatal(err)
			}
			try := func(name string, data []byte, code int, texts ...string) {
				t.Helper()
				archive := filepath.Join(work, name+"."+ending)
				if err := os.WriteFile(archive, data, 0o600); err != nil {
					t.Fatal(err)
				}
				attempt(t, nil, "run", archive, "-w", ws, "--until", "scan").want(t, code, texts...)
			}
			for _, percent := range []int{1, 40, 80} {
				name := fmt.Sprintf("cut-%d", percent)
				try(name, whole[:len(whole)*percent/100], exitInput, name+"."+ending, "truncated")
			}
			if ending == "tar" {
				// Between two entries, where only the mark of the end is missing.
				marked := len(bytes.TrimRight(whole, "\x00")) + 511
				try("unmarked", whole[:marked-marked%512], exitInput, "unmarked.tar", "truncated")
			} else { // a tar has sums of its headers only
				flipped := bytes.Clone(whole)
				flipped[len(flipped)/2] ^= 0x10
				try("flipped", flipped, exitInput, "flipped."+ending)
			}
			try("whole", whole, exitOK)
		})
	}
}

// TestBombs unpacks archives that are much larger than they look, in a workspace
// that is small.
func TestBombs(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	zeros := file("srv/zeros", "")
	zeros.Size = 300 << 20
	header := pack(t, zeros)
	header = header[:len(header)-1024]
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	z.Write(header)
	for range 300 {
		z.Write(make([]byte, 1<<20))
	}
	z.Write(make([]byte, 1024))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := filepath.Join(work, "bomb.tar.gz")
	if err := os.WriteFile(bomb, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// Many files that are small each.
	var members []member
	for n := range 64 {
		members = append(members, file(fmt.Sprintf("srv/%d", n), strings.Repeat("0", 1<<20)))
	}
	many := filepath.Join(work, "many.tar")
	if err := os.WriteFile(many, pack(t, append([]member{dir("srv/")}, members...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	// More files than inodes.
	members = members[:0]
	for n := range 400 {
		members = append(members, file(fmt.Sprintf("srv/1%d", n), ""))
	}
	files := filepath.Join(work, "files.tar")
	if err := os.WriteFile(files, pack(t, append([]member{dir("srv/")}, members...)...), 0o600); err != nil {
		t.Fatal(err)
	}
	small := filepath.Join(work, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ archive, want string }{
		{bomb, "bomb.tar.gz: entry srv/zeros: its 314572800 bytes are more than there is room for"},
		{many, "many.tar: entry srv/"},
		{files, "files.tar: entry srv/1"},
	} {
		out := isolated(t, `mount -t tmpfs -o size=24m,nr_inodes=300 none "$1"
			code=0; statelift run "$2" -w "$1/ws" || code=$?
			du -sk "$1/ws"; exit $code`, small, c.archive)
		out.want(t, exitNoRoom, c.want)
		out.want(t, exitNoRoom, "/ws, or give a workspace (-w) on a larger disk")
		var kib int
		if _, err := fmt.Sscan(out.stdout, &kib); err != nil || kib > 1024 {
			t.Errorf("%d KiB are left (%v)", kib, err)
		}
	}
}
