package seed_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/tree"
)

func openLayout(t *testing.T, dir string) *oci.Layout {
	t.Helper()
	l, err := oci.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The same tree gives the same digests with other workers and at another place.
func TestBuildIsDeterministic(t *testing.T) {
	dir := trees.New(t)
	one := seedtest.Build(t, dir, t.TempDir(), seed.Options{Limits: seedtest.Small(), Workers: 1})
	two := seedtest.Build(t, dir, t.TempDir(), seed.Options{Limits: seedtest.Small(), Workers: 5})
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
	again := seedtest.Build(t, trees.New(t), t.TempDir(), seed.Options{Limits: seedtest.Small()})
	if diff := cmp.Diff(one, again); diff != "" {
		t.Errorf("an equal tree at another place: %s", diff)
	}
	if one.Blobs < 10 {
		t.Errorf("only %d blobs: the limits do not bite", one.Blobs)
	}
}

func TestVerify(t *testing.T) {
	dir, layout := trees.New(t), t.TempDir()
	b := seedtest.Build(t, dir, layout, seed.Options{Limits: seedtest.Small()})
	if err := seed.Verify(t.Context(), openLayout(t, layout), b.Manifest, 2); err != nil {
		t.Error(err)
	}
	listing := readListing(t, layout, b.Manifest)
	w := tree.NewWriter(io.Discard)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := tree.Read(t.Context(), f, tree.ReadOptions{Workers: 1}, w.Add); err != nil {
		t.Fatal(err)
	}
	totals, err := w.Close()
	if err != nil || totals.Digest != b.Config.Tree || totals.Entries != b.Config.Entries || totals.Bytes != b.Config.Bytes {
		t.Errorf("the tree has %+v, the seed %+v (%v)", totals, b.Config, err)
	}
	if oci.Sum(listing) != b.Config.Tree {
		t.Error("the listing has another sum than the tree digest")
	}
}

func readListing(t *testing.T, layout string, d oci.Descriptor) []byte {
	t.Helper()
	s, err := seed.Open(t.Context(), openLayout(t, layout), d)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Listing(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Public tools alone rebuild the tree from a seed: skopeo copies it, jq reads the
// manifest and the map, zstd and tar unpack the packs, cat joins the parts. What
// rsync then finds different is what tar cannot carry.
func TestPublicToolsReadASeed(t *testing.T) {
	dir, layout, copied, out := trees.New(t), t.TempDir(), t.TempDir(), t.TempDir()
	seedtest.Build(t, dir, layout, seed.Options{Limits: seedtest.Small()})
	sh.Run(t, "/", `
		skopeo copy -q --preserve-digests "oci:$1:data" "oci:$2:data"
		manifest=$(jq -r '.manifests[0].digest' "$2/index.json")
		cd "$2"
		m() { cat "blobs/sha256/${manifest#sha256:}" | jq -r --arg t "$1" '.layers[]|select(.mediaType|startswith($t)).digest'; }
		zstd -qdc "blobs/sha256/$(m application/vnd.statelift.seed.listing | sed s/sha256://)" >"$3.listing"
		zstd -qdc "blobs/sha256/$(m application/vnd.statelift.seed.map | sed s/sha256://)" >"$3.map"
		# Large files first, since hard links in packs may lead to them.
		jq -rs '[foreach .[] as $u (0; .+$u.records; {base: (.-$u.records), u: $u})][] | .base as $b | .u.large[]? | .at as $a
			| .parts[] | [$b+$a+1, .digest//"-", .raw, .zstd//false] | @tsv' "$3.map" | while read -r line d raw packed; do
			path=$(sed -n "${line}p" "$3.listing" | cut -f11)
			mkdir -p "$3/$(dirname "$path")"
			if [ "$d" = - ]; then head -c "$raw" /dev/zero
			elif [ "$packed" = true ]; then zstd -qdc "blobs/sha256/${d#sha256:}"
			else cat "blobs/sha256/${d#sha256:}"; fi >>"$3/$path"
		done
		for d in $(m application/vnd.statelift.seed.pack); do
			zstd -qdc "blobs/sha256/${d#sha256:}" | tar --xattrs --xattrs-include='*' --acls --numeric-owner --delay-directory-restore -xpf - -C "$3" 2>&1 | grep -v 'Ignoring unknown extended header keyword .hdrcharset' >&2 || true
		done
		rm "$3.map" "$3.listing"`, layout, copied, out)
	// Contents, with sha256sum.
	sums := sh.Run(t, dir, `find . -type f -print0 | sort -z | xargs -0 sha256sum --`)
	got := sh.Run(t, out, `find . -type f -print0 | sort -z | xargs -0 sha256sum --`)
	if diff := cmp.Diff(strings.Split(sums, "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
	// Metadata, with rsync: all but large files, the socket, the attribute with
	// an odd name, and directories, whose times changed with that.
	differ := sh.Run(t, "/", `rsync -aHAXnic --numeric-ids "$1/" "$2/" | grep -v '^\.d' || true`, dir, out)
	for line := range strings.SplitSeq(strings.TrimSpace(differ), "\n") {
		what, name, _ := strings.Cut(line, " ")
		switch strings.TrimSpace(name) {
		case "files/large-noise", "files/large-text", "files/noise", "files/equal", "sparse/middle", "sparse/ends", "sparse/all", "sparse/large",
			"links/hard-large", "special/socket", "attrs/user":
		default:
			t.Errorf("rsync finds %s different: %s", name, what)
		}
	}
}

// ledger is one in memory, that can be told to fail.
type ledger struct {
	mu    sync.Mutex
	marks map[string]string
	fail  func() error
}

func (l *ledger) Lookup(_ context.Context, item string) (string, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m, ok := l.marks[item]
	return m, ok, nil
}

func (l *ledger) Commit(_ context.Context, item, mark string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		if err := l.fail(); err != nil {
			return err
		}
	}
	if l.marks == nil {
		l.marks = map[string]string{}
	}
	l.marks[item] = mark
	return nil
}

// What the ledger has is not read again: the second build cannot even open the
// files, and makes the same seed.
func TestBuildResumesWithoutReadingAgain(t *testing.T) {
	dir, layout := trees.New(t), t.TempDir()
	entries := seedtest.Scan(t, dir)
	want := seedtest.Build(t, dir, t.TempDir(), seed.Options{Limits: seedtest.Small()})
	led := &ledger{}
	n := 0
	stop := errors.New("stop")
	led.fail = func() error {
		if n++; n > 12 {
			return stop
		}
		return nil
	}
	if _, err := seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{Limits: seedtest.Small(), Ledger: led}); !errors.Is(err, stop) {
		t.Fatalf("err = %v", err)
	}
	led.fail = nil
	got, err := seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{Limits: seedtest.Small(), Ledger: led})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resumed: %s", diff)
	}
	got, err = seedtest.TryBuild(t.Context(), t.TempDir(), layout, entries, seed.Options{Limits: seedtest.Small(), Ledger: led})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("without the source: %s", diff)
	}
	// A damaged pack is made again, from the source.
	sh.Run(t, layout, `for d in $(jq -r '.layers[]|select(.mediaType|contains("pack")).digest' "blobs/sha256/$(jq -r '.manifests[0].digest' index.json | cut -d: -f2)"); do
		printf X | dd of="blobs/sha256/${d#sha256:}" bs=1 seek=40 conv=notrunc status=none; done`)
	got, err = seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{Limits: seedtest.Small(), Ledger: led})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after damage: %s", diff)
	}
	if err := seed.Verify(t.Context(), openLayout(t, layout), got.Manifest, 2); err != nil {
		t.Error(err)
	}
}

// A change in one file leaves nearly all blobs as they are.
func TestBuildSharesBlobsAfterAChange(t *testing.T) {
	dir, layout := t.TempDir(), t.TempDir()
	for i := range 2000 {
		name := filepath.Join(dir, "d"+string(rune('a'+i%20)), "f"+string(rune('a'+i/20%26))+string(rune('a'+i/520)))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, trees.Noise(2000, uint64(i)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	one := seedtest.Build(t, dir, layout, seed.Options{Limits: seedtest.Small()})
	count := func() int { return strings.Count(sh.Run(t, layout, "find blobs -type f"), "\n") }
	before := count()
	if err := os.WriteFile(filepath.Join(dir, "da", "a-new-one"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	two := seedtest.Build(t, dir, layout, seed.Options{Limits: seedtest.Small()})
	if one.Manifest.Digest == two.Manifest.Digest {
		t.Error("the change was not seen")
	}
	if added := count() - before; one.Blobs < 30 || added > 10 {
		t.Errorf("%d of %d blobs are new", added, one.Blobs)
	}
}

func TestFilesThatChangedAreNamed(t *testing.T) {
	dir, layout := trees.New(t), t.TempDir()
	entries := seedtest.Scan(t, dir)
	sh.Run(t, dir, `echo other >files/text; rm files/many/03; chmod 600 files/many/04; rm files/many/05; mkfifo files/many/05
		printf x | dd of=files/large-noise bs=1 conv=notrunc status=none; touch -d '2022-02-02' files/large-text
		rm a-third-name; ln -sf /etc/passwd a-third-name`)
	b, err := seedtest.TryBuild(t.Context(), dir, layout, entries, seed.Options{Limits: seedtest.Small()})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range b.Problems {
		got = append(got, p.Path.String())
	}
	// hard-1 and hard-2 lost a link, which changed their status; large-noise has
	// a second name.
	want := []string{"/a-third-name", "/files/large-noise", "/files/large-text", "/files/many/03", "/files/many/04", "/files/many/05", "/files/text",
		"/links/elsewhere/hard-2", "/links/hard-1", "/links/hard-large"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := seed.Verify(t.Context(), openLayout(t, layout), b.Manifest, 1); err != nil {
		t.Error(err)
	}
	if listing := readListing(t, layout, b.Manifest); bytes.Contains(listing, []byte("/files/text\n")) {
		t.Error("a file that changed is in the listing")
	}
}

func TestVerifyFindsEveryFlippedByte(t *testing.T) {
	layout := t.TempDir()
	b := seedtest.Build(t, trees.New(t), layout, seed.Options{Limits: seedtest.Small()})
	blobs := strings.Fields(sh.Run(t, layout, "find blobs -type f -size +0"))
	for i, name := range blobs {
		if testing.Short() && i%8 != 0 {
			continue
		}
		name = filepath.Join(layout, name)
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := len(data) / 2
		data[at] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		err = seed.Verify(t.Context(), openLayout(t, layout), b.Manifest, 2)
		if err == nil || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("blob %s: %v", filepath.Base(name), err)
		}
		data[at] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
