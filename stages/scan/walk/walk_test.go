package walk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

func openRoot(t testing.TB, dir string) *rootfs.Root {
	t.Helper()
	r, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// list walks a directory and prints every path as find does in findFormat.
func list(t testing.TB, o Options) []string {
	t.Helper()
	var got []string
	var last hostpath.Path
	err := Walk(context.Background(), o, func(it *Item) error {
		if last != "" && hostpath.Compare(last, it.Path) >= 0 {
			t.Errorf("%s comes after %s", it.Path, last)
		}
		last = it.Path
		got = append(got, fmt.Sprintf("%s %s %o %d %d %d %d %d %d.%09d %s", string(it.Path), it.Type, it.Mode, it.UID, it.GID,
			it.Size, it.Ino, it.Nlink, it.Mtime/1e9, it.Mtime%1e9, it.Target))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// find is the oracle: GNU find over the same directory, with the size of what is
// neither a file nor a link set to 0.
func find(t testing.TB, dir string) []string {
	t.Helper()
	format := func(size string) string { return `%P\0%y %m %U %G ` + size + ` %i %n\0%T@\0%l\0` }
	out, err := exec.Command("find", dir, "-xdev", "-type", "f,l", "-printf", format("%s"), "-o", "-printf", format("0")).Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for f := range slices.Chunk(strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), 4) {
		mtime := f[2][:strings.IndexByte(f[2], '.')+10] // find prints a tenth digit, which is always 0
		lines = append(lines, fmt.Sprintf("/%s %s %s %s", f[0], f[1], mtime, f[3]))
	}
	return lines
}

func TestWalkSeesWhatFindSees(t *testing.T) {
	for _, dir := range []string{oddTree(t), "/usr/share", "/etc"} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := list(t, Options{Root: openRoot(t, dir)})
			want := find(t, dir)
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("find against the walk (-find +walk):\n%s", diff)
			}
		})
	}
}

// oddTree has names of all kinds, whose order is easy to get wrong.
func oddTree(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a", "a.b", "a-b", "a b", "ab", "A", "é", "e\xff", "new\nline", "tab\t", `back\slash`, "0"} {
		sub := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(sub, "empty"), 0o750); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"x", "z", "a", "!"} {
			if err := os.WriteFile(filepath.Join(sub, f), []byte(name), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("/nowhere", filepath.Join(sub, "link")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, "to-a")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWalkOfManyNamesAndDeepDirectories(t *testing.T) {
	dir := t.TempDir()
	wide := filepath.Join(dir, "wide")
	if err := os.Mkdir(wide, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(wide, fmt.Sprintf("f%d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := os.Mkdir(filepath.Join(wide, fmt.Sprintf("d%d", i)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Deeper than PATH_MAX, with a second directory on every level, so that
	// every level stays open: more than openDirs.
	at, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	const levels = 700
	for range levels {
		for _, name := range []string{"deeper-and-deeper", "sibling"} {
			if err := unix.Mkdirat(at, name, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		next, err := unix.Openat(at, "deeper-and-deeper", unix.O_DIRECTORY|unix.O_RDONLY, 0)
		unix.Close(at)
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	unix.Close(at)
	n, problems := 0, 0
	err = Walk(context.Background(), Options{Root: openRoot(t, dir)}, func(it *Item) error {
		n++
		if it.Problem != "" {
			problems++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := 1 + 1 + 3000 + 1000 + 2*levels; n != want || problems != 0 {
		t.Errorf("visited %d paths, %d with problems; want %d and 0", n, problems, want)
	}
}

func TestWalkEndsWithTheErrorOfTheVisitor(t *testing.T) {
	stop := errors.New("enough")
	before := openFiles(t)
	n := 0
	err := Walk(context.Background(), Options{Root: openRoot(t, "/usr/share")}, func(*Item) error {
		if n++; n == 1000 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || n != 1000 {
		t.Errorf("got %v after %d", err, n)
	}
	if after := openFiles(t); after > before+1 { // the root itself
		t.Errorf("%d files were open before, %d after", before, after)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err = Walk(ctx, Options{Root: openRoot(t, "/usr/share")}, func(*Item) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancelled context", err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestWalkInspectsAndPrunes(t *testing.T) {
	dir := oddTree(t)
	opt := Options{
		Root: openRoot(t, dir),
		Prune: func(e tree.Entry) string {
			if e.Path == "/ab" {
				return "pruned"
			}
			return ""
		},
		Inspect: func(_ context.Context, _ *os.File, it *Item) Inspector {
			if it.Path.Base() != "x" {
				return nil
			}
			return func(_ context.Context, dir *os.File, it *Item) {
				data := make([]byte, 100)
				fd, err := unix.Openat(int(dir.Fd()), "x", unix.O_RDONLY, 0)
				if err != nil {
					it.Problem = err.Error()
					return
				}
				defer unix.Close(fd)
				n, _ := unix.Read(fd, data)
				it.Note.State = string(data[:n])
			}
		},
	}
	notes := 0
	err := Walk(context.Background(), opt, func(it *Item) error {
		if it.Path.Within("/ab") && (it.Path != "/ab" || it.FS != "pruned") {
			t.Errorf("%s was visited, FS %q", it.Path, it.FS)
		}
		if it.Path.Base() == "x" {
			notes++
			if it.Note.State != it.Path.Dir().Base() {
				t.Errorf("%s: note %q", it.Path, it.Note.State)
			}
		}
		return nil
	})
	if err != nil || notes != 11 {
		t.Errorf("%v, %d notes", err, notes)
	}
}

// What goes away while it is walked is told, and not visited.
func TestVanished(t *testing.T) {
	dir := t.TempDir()
	for i := range chunkNames + 10 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%04d", i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var visited, vanished []string
	err := Walk(context.Background(), Options{
		Root: openRoot(t, dir), Workers: 1,
		Inspect: func(_ context.Context, _ *os.File, it *Item) Inspector {
			if it.Path == "/f0000" { // a and b were looked at, and not listed yet
				os.Remove(filepath.Join(dir, "a"))
				os.Remove(filepath.Join(dir, "b"))
				os.Mkdir(filepath.Join(dir, "b"), 0o755)
				os.Remove(filepath.Join(dir, "f0260"))
			}
			return nil
		},
		Vanished: func(p hostpath.Path, why string) error { vanished = append(vanished, string(p)+" "+why); return nil },
	}, func(it *Item) error {
		visited = append(visited, string(it.Path)+it.Problem)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/a vanished before it was read", "/f0260 vanished while its directory was read"}
	if diff := cmp.Diff(want, vanished); diff != "" {
		t.Errorf("vanished (-want +got):\n%s", diff)
	}
	if visited[1] != "/b"+errReplaced.Error() && visited[1] != "/b" || len(visited) != 1+1+chunkNames+10-1 {
		t.Errorf("visited %d: %v", len(visited), visited[:3])
	}
}

// Without a mount table, another file system is known by its device number.
func TestOtherFileSystem(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "mounted")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("x", at, "tmpfs", 0, "size=1m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := os.Mkdir(filepath.Join(at, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := Walk(context.Background(), Options{Root: openRoot(t, dir)}, func(it *Item) error {
		got = append(got, string(it.Path)+" "+it.FS)
		if it.Mount != nil && (it.Mount.Size != 1<<20 || it.Mount.Virtual) {
			t.Errorf("%+v", it.Mount)
		}
		return nil
	})
	if diff := cmp.Diff([]string{"/ ", "/mounted tmpfs"}, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

// BenchmarkWalk and BenchmarkFind list the same 100,000 files.
func BenchmarkWalk(b *testing.B) {
	r := openRoot(b, manyFiles(b))
	for b.Loop() {
		if err := Walk(context.Background(), Options{Root: r}, func(*Item) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	dir := manyFiles(b)
	for b.Loop() {
		if err := exec.Command("find", dir, "-printf", `%P %y %m %U %G %s %T@ %l\0`).Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func manyFiles(b *testing.B) string {
	dir := b.TempDir()
	for i := range 1000 {
		sub := filepath.Join(dir, fmt.Sprintf("d%d", i%30), fmt.Sprintf("e%d", i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		for j := range 100 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprintf("file-%d", j)), nil, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	return dir
}
