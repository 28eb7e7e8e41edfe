package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/fixtures/sh"
)

// everything makes a tree with every kind of entry and attribute.
func everything(t testing.TB) string {
	dir := t.TempDir()
	sh.Run(t, dir, `
mkdir -p etc var/empty usr/bin home
printf 'root:x:0:0::/root:\nnobody:x:65534:65534::/:\nmarta:x:1000:1000::/:\n' > etc/passwd
printf 'root:x:0:\nteam:x:70000:\n' > etc/group
head -c 3000000 /dev/urandom > big; : > empty; printf x > $'bad\xff\xfename'; printf y > $'new\nline'
ln big hard1; ln big home/hard2
ln -s /etc/passwd absolute; ln -s nowhere/at/all dangling; ln -s etc dirlink
mkfifo fifo; mknod null c 1 3; mknod blk b 7 200
cp /bin/true usr/bin/suid; chown 5:6 usr/bin/suid; chmod 6755 usr/bin/suid
cp /bin/true usr/bin/ping; setcap cap_net_raw+ep usr/bin/ping
printf acl > acl; setfacl -m u:12345:rw,g:70000:r,m::rw acl
mkdir dacl; setfacl -d -m u:12345:rwx dacl; printf in > dacl/inside
printf attr > attr; setfattr -n user.note -v 'a=b
c' attr; setfattr -n user.empty attr; setfattr -n trusted.t -v x attr
setfattr -n user.dir -v d home
truncate -s 3M sparse; printf middle | dd of=sparse bs=1 seek=1048576 conv=notrunc status=none
truncate -s 1M allhole
mkdir closed; printf z > closed/f; chmod 0 closed/f; chown 4294967290:123456 closed/f; chmod 0700 closed; chown 99999:99999 closed
chmod 1777 var/empty
long=$(printf 'n%.0s' {1..200}); mkdir -p "$long/$long"; printf l > "$long/$long/$long"
chown -h 33:44 dangling
touch -h -d '1999-12-31 23:59:59.123456789Z' dangling
find . -type f -exec touch -d '2001-02-03 04:05:06.789012345Z' {} +
find . -depth -type d -exec touch -d '2010-02-03 04:05:06.111222333Z' {} +
touch -d '1960-01-01 00:00:00Z' empty
`)
	return dir
}

// listing describes a tree with public tools: find, getfacl, getfattr, sha256sum
// and the blocks that holes save.
func listing(t testing.TB, dir string) string {
	return sh.Run(t, dir, `
find . -printf '%P %y %m %U %G %s %n %T@ %l\0' | sed -z 's/^\([^ ]* d [^ ]* [^ ]* [^ ]*\) [^ ]*/\1 -/' | LC_ALL=C sort -z | tr '\0' '\n'
find . \( -type b -o -type c \) -exec stat -c '%n %t:%T' {} + | LC_ALL=C sort
find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
find . -print0 | LC_ALL=C sort -z | xargs -0 getfacl -n -p -P 2>/dev/null
find . -print0 | LC_ALL=C sort -z | xargs -0 getfattr -h -d -m - -e hex
du -k sparse allhole
`)
}

// unpackTo unpacks an archive and fails the test when that fails.
func unpackTo(t testing.TB, archive string) (string, Result) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	res, err := Archive(context.Background(), f, dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return dir, res
}

// TestNothingIsLost packs a tree with GNU tar and bsdtar in several formats, and
// compares what is unpacked by public tools.
func TestNothingIsLost(t *testing.T) {
	src := everything(t)
	want := listing(t, src)
	for _, tt := range []struct {
		name, pack string
		format     Format
	}{
		{"pax", "tar --format=pax --xattrs --xattrs-include='*' --acls --numeric-owner -S -cf OUT .", Tar},
		{"pax names", "tar --format=pax --xattrs --xattrs-include='user.*' --xattrs-include='security.*' --xattrs-include='trusted.*' --acls -S -cf OUT .", Tar},
		{"gzip", "tar --format=pax --xattrs --xattrs-include='*' --acls -S -c . | gzip -1 > OUT", Gzip},
		{"zstd", "tar --format=pax --xattrs --xattrs-include='*' --acls -S -c . | zstd -q > OUT", Zstd},
		{"xz", "tar --format=pax --xattrs --xattrs-include='*' --acls -S -c . | xz -0 > OUT", Xz},
		{"no dot", "tar --format=pax --xattrs --xattrs-include='*' --acls -S -cf OUT -C / --transform='s,^,,' -C \"$PWD\" .", Tar},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "archive")
			sh.Run(t, src, strings.ReplaceAll(tt.pack, "OUT", out))
			dir, res := unpackTo(t, out)
			if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
				t.Errorf("(-packed +unpacked):\n%s", diff)
			}
			if sum := strings.Fields(sh.Run(t, "/", "sha256sum "+out))[0]; res.SHA256 != sum || res.Format != tt.format {
				t.Errorf("%+v, sha256sum says %s", res, sum)
			}
		})
	}
}

// entry is one header of an archive made for a test.
type entry struct {
	name, link string
	typ        byte
	body       string
	pax        map[string]string
	size       int64 // when it lies
}

func pack(t testing.TB, list []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, e := range list {
		if e.typ == 0 {
			e.typ = tar.TypeReg
		}
		hdr := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.typ, Mode: 0o644, Size: int64(len(e.body)), PAXRecords: e.pax, ModTime: time.Unix(1, 0)}
		if e.typ == tar.TypeDir {
			hdr.Mode = 0o755
		}
		if e.size != 0 {
			hdr.Size = e.size
		}
		if err := w.WriteHeader(hdr); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, e.body)
	}
	if err := w.Close(); err != nil && list[len(list)-1].size == 0 {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// TestHostile unpacks archives that must be refused, beside a directory that
// must stay as it is.
func TestHostile(t *testing.T) {
	d := func(name string) entry { return entry{name: name, typ: tar.TypeDir} }
	valid := pack(t, []entry{d("a"), {name: "a/f", body: strings.Repeat("x", 5000)}, {name: "b", body: strings.Repeat("\x00", 1024)}})
	for name, tt := range map[string]struct {
		data []byte
		want string // part of the error
	}{
		"dot dot":                {pack(t, []entry{{name: "a/../../outside/x", body: "x"}}), "a/../../outside/x: its name leads upwards"},
		"dot dot at the end":     {pack(t, []entry{{name: "a/.."}}), "leads upwards"},
		"absolute":               {pack(t, []entry{{name: "/etc/x", body: "x"}}), "/etc/x: its name is absolute"},
		"below a symlink":        {pack(t, []entry{{name: "s", link: "../outside", typ: tar.TypeSymlink}, {name: "s/x", body: "x"}}), "s/x: it lies below s"},
		"below two symlinks":     {pack(t, []entry{d("a"), {name: "a/s", link: "../..", typ: tar.TypeSymlink}, {name: "a/s/outside/x", body: "x"}}), "a/s/outside/x: it lies below a/s"},
		"directory over symlink": {pack(t, []entry{{name: "s", link: "../outside", typ: tar.TypeSymlink}, d("s")}), "s: it comes twice"},
		"file over symlink":      {pack(t, []entry{{name: "s", link: "../outside/x", typ: tar.TypeSymlink}, {name: "s", body: "x"}}), "s: it comes twice"},
		"ACL on a symlink":       {pack(t, []entry{{name: "s", link: "../outside/kept", typ: tar.TypeSymlink, pax: map[string]string{"SCHILY.acl.access": "user::rwx,group::rwx,other::rwx"}}}), "s: a symlink with an ACL"},
		"hard link outside":      {pack(t, []entry{{name: "h", link: "../outside/kept", typ: tar.TypeLink}}), "h: the target ../outside/kept of the hard link"},
		"hard link absolute":     {pack(t, []entry{{name: "h", link: "/etc/passwd", typ: tar.TypeLink}}), "its name is absolute"},
		"hard link by symlink":   {pack(t, []entry{{name: "s", link: "../outside", typ: tar.TypeSymlink}, {name: "h", link: "s/kept", typ: tar.TypeLink}}), "h: it lies below s"},
		"hard link to nothing":   {pack(t, []entry{{name: "h", link: "none", typ: tar.TypeLink}}), "h: a hard link to none: which did not come before it"},
		"hard link to directory": {pack(t, []entry{d("a"), {name: "h", link: "a", typ: tar.TypeLink}}), "h: a hard link to the directory a"},
		"twice":                  {pack(t, []entry{{name: "f"}, {name: "./f"}}), "f: it comes twice"},
		"directory twice":        {pack(t, []entry{d("a"), d("a")}), "a: it comes twice"},
		"root twice":             {pack(t, []entry{d("./"), d("./")}), "it comes twice"},
		"below a file":           {pack(t, []entry{{name: "f"}, {name: "f/x"}}), "f/x: it lies below f"},
		"below a FIFO":           {pack(t, []entry{{name: "p", typ: tar.TypeFifo}, {name: "p/x"}}), "p/x: it lies below p"},
		"empty symlink":          {pack(t, []entry{{name: "s", link: "", typ: tar.TypeSymlink}}), "s: a symlink to nothing"},
		"too long":               {pack(t, []entry{{name: strings.Repeat("abc/", 5000) + "x"}}), "its name is longer than"},
		"long element":           {pack(t, []entry{{name: strings.Repeat("x", 300)}}), "its name is too long"},
		"too large":              {pack(t, []entry{{name: "big", body: "x", size: 1 << 50}}), "big: its 1125899906842624 bytes are more than an archive of"},
		"unknown type":           {pack(t, []entry{{name: "x", typ: 'Z'}}), "x: its type 'Z' is unknown"},
		"owner":                  {pack(t, []entry{{name: "x", pax: map[string]string{"comment": "c"}}, {name: "y", pax: map[string]string{"SCHILY.acl.access": "user:whoever:rwx,user::rw-,group::r--,mask::r--,other::r--"}}}), "y: the ACL names user whoever"},
		"truncated in content":   {valid[:1500], "truncated"},
		"truncated in a header":  {valid[:7000], "truncated"},
		"cut between entries":    {valid[:6144], "truncated: it has no end mark"},
		"cut after zeros":        {valid[:7680], "truncated: it has no end mark"},
		"half an end mark":       {valid[:7680+100], "truncated"},
		"more after the end":     {append(bytes.Clone(valid), pack(t, []entry{{name: "hidden"}})...), "data after the end"},
		"damaged header":         {append(append(bytes.Clone(valid[:6144]), bytes.Repeat([]byte("x"), 512)...), valid...), "after it: archive/tar: invalid tar header"},
		"empty file":             {nil, "empty: not a tar archive"},
		"text":                   {bytes.Repeat([]byte("hello "), 200), "not a tar archive"},
		"zip":                    {[]byte("PK\x03\x04"), "a zip file"},
		"packed text":            {compress(t, "gzip", bytes.Repeat([]byte("hello "), 200)), "archive/tar"},
		"truncated gzip":         {half(compress(t, "gzip -1", pack(t, []entry{{name: "r", body: noise(200000)}}))), "truncated"},
		"truncated zstd":         {half(compress(t, "zstd", pack(t, []entry{{name: "r", body: noise(200000)}}))), "truncated"},
		"truncated xz":           {half(compress(t, "xz", pack(t, []entry{{name: "r", body: noise(200000)}}))), "truncated"},
		"damaged gzip":           {flip(compress(t, "gzip -1", valid)), "gzip"},
		"large window":           {compress(t, "zstd --ultra --long=31", valid), "window size exceeded"},
		"large dictionary":       {compress(t, "xz --lzma2=dict=1GiB", valid), "xz needs 1024 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			sh.Run(t, dir, "mkdir root outside; echo kept > outside/kept; chmod 600 outside/kept; touch -d 2001-01-01 outside/kept outside")
			before := sh.Run(t, dir, "find outside -printf '%p %m %U %n %T@ %C@\n'; getfacl -n outside/kept")
			_, err := Archive(context.Background(), bytes.NewReader(tt.data), filepath.Join(dir, "root"), Limits{Packed: int64(len(tt.data))})
			var entryErr *EntryError
			if !errors.As(err, &entryErr) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an EntryError with %q", err, tt.want)
			}
			if after := sh.Run(t, dir, "find outside -printf '%p %m %U %n %T@ %C@\n'; getfacl -n outside/kept"); after != before {
				t.Errorf("outside was\n%s and is\n%s", before, after)
			}
			if list := sh.Run(t, dir, "ls -A"); list != "outside\nroot\n" {
				t.Errorf("left behind: %s", list)
			}
		})
	}
}

func compress(t testing.TB, program string, data []byte) []byte {
	t.Helper()
	cmd := exec.Command("sh", "-c", program+" -c -q")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func half(b []byte) []byte { return b[:len(b)/2] }

// flip damages the sum at the end.
func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)-6] ^= 1
	return b
}

func noise(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

// repeated is an endless run of zeros of a given length.
type repeated int64

func (r *repeated) Read(p []byte) (int, error) {
	if *r == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), int64(*r))
	clear(p[:n])
	*r -= repeated(n)
	return int(n), nil
}

func TestDecompressionBomb(t *testing.T) {
	z := filepath.Join(t.TempDir(), "bomb")
	out, err := os.Create(z)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	const size = 3 << 30
	cmd := exec.Command("zstd", "-q", "-1", "-c")
	cmd.Stdout = out
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(in)
	zeros := repeated(size)
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Size: size, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, &zeros); err != nil {
		t.Fatal(err)
	}
	w.Close()
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		limits Limits
		want   string
	}{
		"ratio":   {Limits{}, "zeros: "},
		"limit":   {Limits{Bytes: 1 << 20}, "zeros: its 3221225472 bytes are more than there is room for"},
		"entries": {Limits{Entries: -1}, "more than -1 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			out.Seek(0, io.SeekStart)
			f, err := os.Open(z)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			_, err = Archive(context.Background(), f, t.TempDir(), tt.limits)
			var entryErr *EntryError
			if !errors.As(err, &entryErr) || !strings.Contains(err.Error(), tt.want) || name == "ratio" && !errors.Is(err, errBomb) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDirectoriesThatTheArchiveLeavesOut(t *testing.T) {
	dir := t.TempDir()
	data := pack(t, []entry{{name: "a/b/f", body: "1"}, {name: "a", typ: tar.TypeDir}, {name: "a/g", body: "2"}})
	if _, err := Archive(context.Background(), bytes.NewReader(data), dir, Limits{}); err != nil {
		t.Fatal(err)
	}
	want := "/ 755 0.0000000000\n/a 755 1.0000000000\n/a/b 755 0.0000000000\n"
	if got := sh.Run(t, dir, "find . -type d -printf '/%P %m %T@\n'"); got != want {
		t.Errorf("got %s", got)
	}
}

func TestOwnersNamedInACLsAreThoseOfTheArchive(t *testing.T) {
	dir := t.TempDir()
	data := pack(t, []entry{
		{name: "host/acl", body: "1", pax: map[string]string{"SCHILY.acl.access": "user::rw-\nuser:marta:r--\ngroup::r--\ngroup:team:rwx\nmask::rwx\nother::---\n"}},
		{name: "host/star", body: "1", pax: map[string]string{"SCHILY.acl.access": "user::rw-,user:nobody-here:r--:77,group::r--,mask::r--,other::---"}},
		{name: "host/etc/passwd", body: "marta:x:1234:1:::\n"}, {name: "host/etc/group", body: "team:x:5678:\n"},
	})
	if _, err := Archive(context.Background(), bytes.NewReader(data), dir, Limits{}); err != nil {
		t.Fatal(err)
	}
	got := sh.Run(t, dir, "getfacl -n -c host/acl host/star")
	for _, want := range []string{"user:1234:r--", "group:5678:rwx", "user:77:r--"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestLibarchiveAttributes(t *testing.T) {
	dir := t.TempDir()
	data := pack(t, []entry{{name: "f", body: "1", pax: map[string]string{"LIBARCHIVE.xattr.user.a%3Db": "AGhp/w", "SCHILY.xattr.user.gnu%3D": "v"}}})
	if _, err := Archive(context.Background(), bytes.NewReader(data), dir, Limits{}); err != nil {
		t.Fatal(err)
	}
	got := sh.Run(t, dir, "getfattr -d -e hex f")
	if !strings.Contains(got, "user.a\\075b=0x006869ff") || !strings.Contains(got, "user.gnu\\075=0x76") {
		t.Errorf("got %s", got)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Archive(ctx, bytes.NewReader(pack(t, []entry{{name: "f"}})), t.TempDir(), Limits{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	data := pack(t, []entry{{name: "f", body: strings.Repeat("x", 200_000)}})
	_, err := Archive(context.Background(), bytes.NewReader(data), root, Limits{Bytes: 1 << 30})
	if !errors.Is(err, unix.ENOSPC) || errors.As(err, new(*EntryError)) {
		t.Errorf("got %v, want ENOSPC as a failure of this machine", err)
	}
	_, err = Archive(context.Background(), bytes.NewReader(data), root, Limits{})
	if !errors.Is(err, unix.ENOSPC) || errors.As(err, new(*EntryError)) || !strings.Contains(fmt.Sprint(err), "there is room for") {
		t.Errorf("got %v, want to be told before writing", err)
	}
}
