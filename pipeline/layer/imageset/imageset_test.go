package imageset

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/tree"
)

func many(n int, bytes int64) []sized {
	var list []sized
	for i := range n {
		list = append(list, sized{fmt.Sprintf("package-%04d", i), bytes})
	}
	return list
}

// members lists the packages of each layer.
func members(p partition) map[string]bool {
	in := make([][]string, len(p.what))
	for name, n := range p.of {
		in[n] = append(in[n], name)
	}
	out := map[string]bool{}
	for _, names := range in {
		slices.Sort(names)
		out[strings.Join(names, " ")] = true
	}
	return out
}

// One package more, less or larger leaves nearly all layers as they are.
func TestPartitionIsStable(t *testing.T) {
	list := many(2000, 4<<20)
	before := members(divide(nil, list))
	if len(before) < 20 {
		t.Fatalf("only %d layers", len(before))
	}
	larger := slices.Clone(list)
	larger[1000].bytes *= 10
	for name, changed := range map[string][]sized{
		"one more": slices.Insert(slices.Clone(list), 1000, sized{"package-0999-doc", 3 << 20}),
		"one less": slices.Delete(slices.Clone(list), 1000, 1001),
		"larger":   larger,
	} {
		kept := 0
		for layer := range members(divide(nil, changed)) {
			if before[layer] {
				kept++
			}
		}
		if kept < len(before)-4 {
			t.Errorf("%s: %d of %d layers are as before", name, kept, len(before))
		}
	}
}

func TestPartitionSizes(t *testing.T) {
	for _, c := range []struct {
		name string
		base []sized
		rest []sized
		full int64 // no layer of several packages has more
		most int   // layers
	}{
		{"small", many(3, 1000), []sized{{"x", 5}}, fullLayer, 2},
		{"none", nil, nil, 0, 0},
		{"usual", many(60, 2<<20), many(400, 2<<20), fullLayer, 12},
		{"very large", nil, many(300, 200<<20), maxLayer, 80},
		{"a package over all limits", nil, []sized{{"a", 1}, {"huge", 3 << 30}, {"z", 1}}, fullLayer, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := divide(c.base, c.rest)
			if len(p.what) > c.most {
				t.Errorf("%d layers, want at most %d", len(p.what), c.most)
			}
			size, count := make([]int64, len(p.what)), make([]int, len(p.what))
			for _, s := range slices.Concat(c.base, c.rest) {
				n, ok := p.of[s.name]
				if !ok {
					t.Fatalf("%s is in no layer", s.name)
				}
				size[n] += s.bytes
				count[n]++
			}
			for n := range size {
				if count[n] > 1 && size[n] > c.full {
					t.Errorf("layer %d has %d bytes", n, size[n])
				}
			}
		})
	}
}

// A bin of more than a gibibyte becomes several layers, with the directories in
// each, and a hard link does not reach from one into another.
func TestParts(t *testing.T) {
	d := &drawing{Input: Input{Dir: t.TempDir()}}
	b := d.newBin("large")
	b.parent = func(_ context.Context, p hostpath.Path) (layer.Item, error) { return directory(p, 0o755), nil }
	file := func(p hostpath.Path, size int64, ino uint64, nlink uint32) layer.Item {
		return layer.Item{Entry: tree.Entry{Path: p, Type: tree.Regular, Size: size, Ino: ino, Nlink: nlink}}
	}
	b.want(directory("/a/made", 0o700))
	var full []bool
	for _, i := range []layer.Item{
		file("/a/b/1", 700<<20, 1, 3), file("/a/b/2", 700<<20, 1, 3), file("/a/c/3", 700<<20, 2, 1),
		file("/a/d/4", 700<<20, 1, 3), file("/a/e/5", 3<<30, 3, 1),
	} {
		is, err := b.add(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		full = append(full, is)
	}
	plans, err := b.end(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for n, p := range plans {
		for i, err := range p.Items() {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, strings.TrimSpace(fmt.Sprintf("%d %s %s", n, i.Path, i.Link)))
		}
	}
	want := []string{
		"0 /", "0 /a", "0 /a/b", "0 /a/b/1", "0 /a/b/2 /a/b/1",
		"1 /", "1 /a", "1 /a/c", "1 /a/c/3",
		"2 /", "2 /a", "2 /a/d", "2 /a/d/4",
		"3 /", "3 /a", "3 /a/e", "3 /a/e/5", "3 /a/made",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("items:\n%s", diff)
	}
	if !slices.Equal(full, []bool{true, false, true, true, true}) {
		t.Errorf("full copies = %v", full)
	}
}

// What is made of accounts is sound in the eyes of pwck(8) and grpck(8), and no
// password is left.
func TestAccounts(t *testing.T) {
	passwd := "root:$6$hash:0:0:root:/root:/bin/sh\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\nempty::1:1::/:/bin/sh\n"
	group := "root:x:0:\nadm:!:4:root\nwheel:hash:10:root\nwww-data:x:33:\nempty::1:\n"
	dir := t.TempDir()
	for name, data := range map[string][]byte{
		"passwd": lock([]byte(passwd)), "group": lock([]byte(group)),
		"shadow": shadows([]byte(passwd), "::::::"), "gshadow": shadows([]byte(group), ":"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "hash") {
			t.Errorf("%s holds a hash:\n%s", name, data)
		}
		if err := Locked(hostpath.Path("/etc/"+name), data); err != nil {
			t.Error(err)
		}
	}
	for _, cmd := range [][]string{{"pwck", "-rq", dir + "/passwd", dir + "/shadow"}, {"grpck", "-r", dir + "/group", dir + "/gshadow"}} {
		out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput()
		// pwck says so of homes that this machine has not; only fields matter.
		if strings.Contains(string(out), "invalid") || strings.Contains(string(out), "no matching") {
			t.Errorf("%s: %v\n%s", cmd[0], err, out)
		}
	}
}

func TestLocked(t *testing.T) {
	for _, c := range []struct {
		path hostpath.Path
		data string
		ok   bool
	}{
		{Shadow, "root:*:::::::\n", true},
		{Shadow, "root:!:::::::\n", true},
		{Shadow, "root:!$6$hash:::::::\n", false},
		{Shadow, "root:$6$hash:::::::\n", false},
		{Shadow, "root::::::::\n", false},
		{Shadow, "root:x:::::::\n", false},
		{Passwd, "root:x:0:0::/:/bin/sh\n", true},
		{Passwd, "root::0:0::/:/bin/sh\n", false},
		{Group, "root:hash:0:\n", false},
		{"/etc/other", "root:hash:0:\n", true},
	} {
		if err := Locked(c.path, []byte(c.data)); (err == nil) != c.ok {
			t.Errorf("%s %q: %v", c.path, c.data, err)
		}
	}
}

func FuzzLock(f *testing.F) {
	f.Add([]byte("root:hash:0:0:root:/root:/bin/sh\n+::::::\n#\n\n:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		locked := lock(data)
		if err := Locked(Passwd, locked); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		if err := Locked(Shadow, shadows(data, "::::::")); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		if got, want := strings.Count(string(locked), "\n"), strings.Count(string(data), "\n"); got != want {
			t.Errorf("%d lines of %d", got, want)
		}
	})
}
