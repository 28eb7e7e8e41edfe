package changes_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/changes"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/tree"
)

// volume makes a directory, its listing, and then writes to it. before is a copy
// of what it was.
func volume(t *testing.T, write string) (before, now string, listing []byte, proved int64) {
	t.Helper()
	dir := t.TempDir()
	before, now = filepath.Join(dir, "before"), filepath.Join(dir, "now")
	sh.Run(t, dir, `mkdir before; cd before; mkdir -p uploads/2020 empty; echo one >uploads/2020/a; echo two >uploads/b
		echo both >link1; ln link1 link2; ln -s b uploads/to-b; truncate -s 1M big; echo end >>big; mkfifo pipe; echo gone >gone; mkdir old; echo x >old/x
		chown 33:33 uploads/b; setfattr -n user.k -v v link1; touch -d 2020-01-02 uploads/b; cd ..; cp -a before now`)
	root, err := os.Open(now)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var text bytes.Buffer
	lines := tree.NewWriter(&text)
	if err := tree.Read(t.Context(), root, tree.ReadOptions{Workers: 2}, lines.Add); err != nil {
		t.Fatal(err)
	}
	if _, err := lines.Close(); err != nil {
		t.Fatal(err)
	}
	// The clock of a file system may be some milliseconds behind.
	time.Sleep(30 * time.Millisecond)
	proved = time.Now().UnixNano()
	time.Sleep(30 * time.Millisecond)
	sh.Run(t, now, write)
	return before, now, text.Bytes(), proved
}

const writes = `echo new >'uploads/2020/new one'; printf 'two!' | dd of=uploads/b conv=notrunc status=none; touch -d 2020-01-02 uploads/b
	rm -r gone old; ln link1 uploads/link3; chmod 600 uploads/2020/a; setfattr -n user.more -v 1 big; ln -sfn a uploads/to-b; mknod null c 1 3; rm pipe; mkdir pipe
	printf x >$'odd\n\xff'`

func write(t *testing.T, dir string, listing []byte, o changes.Options, archive io.Writer) (list []handoff.Change, sums changes.Sums, text []byte) {
	t.Helper()
	v, err := changes.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var lines bytes.Buffer
	var from *tree.Reader
	if listing != nil {
		from = tree.NewReader(bytes.NewReader(listing))
	}
	if err := v.Write(t.Context(), from, o, &lines, archive); err != nil {
		t.Fatal(err)
	}
	text = bytes.Clone(lines.Bytes())
	if sums, err = changes.Read(&lines, func(c handoff.Change) error { list = append(list, c); return nil }); err != nil {
		t.Fatal(err)
	}
	return list, sums, text
}

func TestFind(t *testing.T) {
	_, now, listing, proved := volume(t, writes)
	want := []string{
		"dressed /", "dressed /big", "removed /gone", "added /null", `added /odd\n\xff`, "removed /old", "removed /old/x",
		"altered /pipe", "dressed /uploads", "dressed /uploads/2020", "dressed /uploads/2020/a", "added /uploads/2020/new one",
		"altered /uploads/b", "added /uploads/link3", "altered /uploads/to-b",
	}
	for name, o := range map[string]changes.Options{"all is read": {}, "what nobody touched is not read": {Since: proved}} {
		t.Run(name, func(t *testing.T) {
			var read int64
			o.Progress = func(n int64) { read += n }
			list, sums, _ := write(t, now, listing, o, nil)
			var got []string
			for _, c := range list {
				got = append(got, c.What+" "+c.Path.String())
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
			if sums.Added != 4 || sums.Removed != 3 || sums.Altered != 3 || sums.Dressed != 5 || sums.Bytes != 4+4+1 {
				t.Errorf("sums %+v", sums)
			}
		})
	}
}

// What nobody touched since is not read.
func TestSince(t *testing.T) {
	_, now, listing, proved := volume(t, "echo more >>link1")
	read := int64(0)
	list, _, _ := write(t, now, listing, changes.Options{Since: proved, Progress: func(n int64) { read += n }}, nil)
	if len(list) != 2 || list[0].What != changes.Altered || list[1].What != changes.Altered || list[1].Path != "/link2" {
		t.Errorf("changes %+v", list)
	}
	// Told as done is also what was not read.
	if read > 1<<20+4096 {
		t.Errorf("%d bytes read", read)
	}
}

// GNU tar unpacks the archive over what was before; with what was removed taken
// away, rsync finds no difference to what is now.
func TestArchive(t *testing.T) {
	before, now, listing, _ := volume(t, writes)
	name := filepath.Join(t.TempDir(), "a.tar")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	list, sums, _ := write(t, now, listing, changes.Options{}, f)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(sh.Run(t, ".", "sha256sum "+name))[0]; got != sums.Archive {
		t.Errorf("sha256sum says %s, the sums %s", got, sums.Archive)
	}
	for _, c := range list {
		if c.What == changes.Removed || c.What == changes.Altered && c.Type == "d" {
			if err := os.RemoveAll(before + string(c.Path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sh.Run(t, before, "tar --xattrs --xattrs-include='*' --acls --same-owner -xpf "+name)
	// A new link to an untouched file is a file of its own.
	if out := sh.Run(t, ".", "rsync -aHAXSnic --delete "+now+"/ "+before+"/"); out != "hf          uploads/link3 => link1\n" {
		t.Errorf("rsync finds:\n%s", out)
	}
}

// A volume that started empty has everything added but its root.
func TestEmptyBefore(t *testing.T) {
	_, now, _, _ := volume(t, "true")
	list, sums, _ := write(t, now, nil, changes.Options{}, nil)
	if paths := strings.Count(sh.Run(t, now, "find . -mindepth 1 -printf x"), "x"); int64(paths) != sums.Added || len(list) != paths {
		t.Errorf("find counts %d, the list has %d, %+v", paths, len(list), sums)
	}
}

// A list that was cut or altered on its way is refused.
func TestCut(t *testing.T) {
	_, now, listing, _ := volume(t, writes)
	_, _, text := write(t, now, listing, changes.Options{}, nil)
	each := func(handoff.Change) error { return nil }
	for n := range len(text) - 1 {
		if _, err := changes.Read(bytes.NewReader(text[:n]), each); err == nil {
			t.Errorf("cut at byte %d of %d, and nobody says so", n, len(text))
		}
	}
	altered := bytes.Replace(text, []byte("/gone"), []byte("/gona"), 1)
	if _, err := changes.Read(bytes.NewReader(altered), each); !errors.Is(err, changes.ErrCut) {
		t.Errorf("altered: %v", err)
	}
	dropped := text[bytes.IndexByte(text, '\n')+1:]
	if _, err := changes.Read(bytes.NewReader(dropped), each); !errors.Is(err, changes.ErrCut) {
		t.Errorf("without its first line: %v", err)
	}
}

// A file that does not hold still ends the packing with an error.
func TestInterrupted(t *testing.T) {
	_, now, listing, _ := volume(t, writes)
	v, err := changes.Open(now)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := v.Write(ctx, tree.NewReader(bytes.NewReader(listing)), changes.Options{}, io.Discard, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"path":"/a","what":"added","type":"f","size":3}` + "\n" + `{"sums":{"added":1}}` + "\n"))
	f.Add([]byte(`{"sums":{"list":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}` + "\n"))
	f.Add([]byte("{\"path\":\"/\\\\xff\",\"what\":\"removed\"}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := int64(0)
		sums, err := changes.Read(bytes.NewReader(data), func(c handoff.Change) error {
			if c.Path[0] != '/' || c.Size < 0 {
				t.Errorf("change %+v", c)
			}
			n++
			return nil
		})
		if err == nil && sums.Added+sums.Altered+sums.Dressed+sums.Removed != n {
			t.Errorf("%d changes, %+v", n, sums)
		}
	})
}

// A listing that is not the one that was meant lists nothing that counts.
func TestOtherListing(t *testing.T) {
	_, now, listing, _ := volume(t, "true")
	v, err := changes.Open(now)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	short := listing[:bytes.LastIndexByte(listing[:len(listing)-1], '\n')+1]
	sum := strings.Fields(sh.Run(t, ".", "printf '%s' '"+string(listing)+"' | sha256sum"))[0]
	for _, tt := range []struct {
		listing []byte
		want    error
	}{{listing, nil}, {short, changes.ErrCut}} {
		err := v.Write(t.Context(), tree.NewReader(bytes.NewReader(tt.listing)), changes.Options{Tree: sum}, io.Discard, nil)
		if !errors.Is(err, tt.want) {
			t.Errorf("error %v, want %v", err, tt.want)
		}
	}
}
