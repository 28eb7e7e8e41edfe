package objects_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/objects"
)

// busy is a host whose logs and media go on: the claims are like those of the rules.
type busy struct {
	root string
	env  *pipeline.Env
	now  handoff.Objects
}

const busyHost = `
mkdir -p "$1/var/log/web" "$1/var/log/empty" "$1/srv/media/a" "$1/var/lib/db/dumps" "$1/etc"
echo one >"$1/var/log/web/access.log"
echo boot >"$1/var/log/syslog"
echo page >"$1/srv/media/a/picture"
ln -s a "$1/srv/media/link"
ln "$1/srv/media/a/picture" "$1/srv/media/a/twin"
echo row >"$1/var/lib/db/table"
echo old >"$1/var/lib/db/dumps/old.sql"
echo motd >"$1/etc/motd"
head -c 20000000 /dev/urandom >"$1/srv/media/film"`

func newBusy(t *testing.T) *busy {
	t.Helper()
	b := &busy{root: t.TempDir()}
	b.sh(t, busyHost)
	b.env = hosttest.Env(t, t.TempDir())
	ledgers, err := pipeline.OpenLedgers(t.Context(), filepath.Join(t.TempDir(), "ledgers.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledgers.Close() })
	b.env.Ledgers = func(stage string) pipeline.Ledger { return ledgers.Of(stage) }
	b.env.Ledger = b.env.Ledgers("objects")
	hosttest.Inventory(t, b.env, b.root, everything)
	b.place(t)
	return b
}

func newBusyLifted(t *testing.T) *busy {
	t.Helper()
	b := newBusy(t)
	b.now = b.lift(t)
	return b
}

func (b *busy) lift(t *testing.T) handoff.Objects {
	t.Helper()
	out, err := objects.New(objects.Options{Hold: true}, nil).Run(t.Context(), b.env, handoff.Source{Root: b.root}, handoff.Plan{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// place gives the paths their classes by claims, as the split does.
func (b *busy) place(t *testing.T) {
	t.Helper()
	claims := []claim.Claim{
		{ID: 1, Class: claim.Image, Reach: claim.Every, Path: "/", Authority: claim.ByDefault},
		{ID: 2, Class: claim.Ephemeral, Reach: claim.Glob, Path: "/var/log/**", When: "type=d", Authority: claim.ByHost},
		{ID: 3, Class: claim.Object, Reach: claim.Glob, Path: "/var/log/**", When: "type=f", Authority: claim.ByHost},
		{ID: 4, Class: claim.Object, Reach: claim.Tree, Path: "/srv/media", Authority: claim.ByUser},
		{ID: 5, Class: claim.Volume, Reach: claim.Tree, Path: "/var/lib/db", Authority: claim.ByHost},
		{ID: 6, Class: claim.Object, Reach: claim.Glob, Path: "/var/lib/db/dumps/*", When: "type=f", Authority: claim.ByUnit},
	}
	cat, err := catalog.Open(t.Context(), b.env.Workspace.Path(workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	w, err := cat.BeginPlacement(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	resolver, err := claim.NewResolver(claims...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if err := w.Claim(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range cat.Entries(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		c, _ := resolver.Winner(e.Subject())
		if err := w.Place(t.Context(), e.ID, c.Class, c.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *busy) sh(t *testing.T, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script, "sh", b.root).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (b *busy) round(t *testing.T) *handoff.ObjectRound {
	t.Helper()
	return b.roundBy(t, false)
}

func (b *busy) roundBy(t *testing.T, checksum bool) *handoff.ObjectRound {
	t.Helper()
	made, err := objects.New(objects.Options{Hold: true}, nil).Round(t.Context(), b.env, handoff.Source{Root: b.root}, b.now, checksum)
	if err != nil {
		t.Fatal(err)
	}
	if made.From != b.now.IndexSHA256 {
		t.Errorf("it goes on from %s, not %s", made.From, b.now.IndexSHA256)
	}
	b.now = made.Objects
	return made
}

// agrees compares the index and what it names with the source, where all of
// var/log's files and all of srv/media are objects, and the old dump; sha256sum and
// find say what is there.
func (b *busy) agrees(t *testing.T) {
	t.Helper()
	const list = `cd "$1"
		{ find var/log -type f; find srv/media; find var/lib/db/dumps -name old.sql; } | while read -r p; do
			sum=
			if [ -f "$p" ] && [ ! -L "$p" ]; then sum=$(sha256sum "$p" | cut -c1-64); fi
			find "$p" -maxdepth 0 -printf "/%p %y %m %U %G %T@ %l $sum\n"
		done | sort`
	out, err := exec.Command("sh", "-ec", list, "sh", b.root).Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	lines, _ := index(t, b.env, b.now)
	st := openStore(t, b.env)
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s %s %o %d %d %d.%09d0 %s %s", l.Path, l.Type, l.Mode, l.UID, l.GID, l.Mtime/1e9, l.Mtime%1e9, l.Target, l.SHA256))
		if l.Object == "" {
			continue
		}
		data, err := os.ReadFile(b.root + string(l.Path))
		if err != nil || get(t, st, l.Object) != string(data) {
			t.Errorf("%s: object %s has other content (%v)", l.Path, l.Object, err)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-source +index):\n%s", diff)
	}
}

func counts(r *handoff.ObjectRound) map[string]int64 {
	all := map[string]int64{"looked": r.Looked, "added": r.Added, "altered": r.Altered, "dressed": r.Dressed, "removed": r.Removed, "changed": r.ChangedBytes}
	maps.DeleteFunc(all, func(_ string, n int64) bool { return n == 0 })
	return all
}

// A file that looks as it did is read when it is asked for. That it looks so, the
// ledger is made to say.
func TestRoundByChecksum(t *testing.T) {
	b := newBusyLifted(t)
	film := filepath.Join(b.root, "srv/media/film")
	b.sh(t, `touch -r "$1/srv/media/film" "$1.time"; printf hidden | dd of="$1/srv/media/film" conv=notrunc status=none; touch -r "$1.time" "$1/srv/media/film"`)
	var st unix.Stat_t
	if err := unix.Stat(film, &st); err != nil {
		t.Fatal(err)
	}
	ledger, item := b.env.Ledgers(objects.Info().Name), b.now.Store+" /srv/media/film"
	text, ok, err := ledger.Lookup(t.Context(), item)
	if err != nil || !ok {
		t.Fatalf("the ledger has no %s: %v", item, err)
	}
	text = regexp.MustCompile(`"ctime":\d+`).ReplaceAllString(text, fmt.Sprintf(`"ctime":%d`, st.Ctim.Nano()))
	if err := ledger.Commit(t.Context(), item, text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"looked": 9}, counts(b.round(t))); diff != "" {
		t.Errorf("by its looks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"looked": 9, "altered": 1, "changed": 20000000}, counts(b.roundBy(t, true))); diff != "" {
		t.Errorf("by its content (-want +got):\n%s", diff)
	}
	b.agrees(t)
}

// A store through a mapping into a page that is dirty already changes no time.
func TestRoundOfAMapping(t *testing.T) {
	b := newBusyLifted(t)
	f, err := os.OpenFile(filepath.Join(b.root, "srv/media/film"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(m)
	for n := range byte(4) {
		m[0] = n
		b.round(t)
		b.agrees(t)
	}
}

func TestRound(t *testing.T) {
	b := newBusyLifted(t)
	for _, step := range []struct {
		name, script string
		want         map[string]int64
	}{
		{"nothing", `:`, map[string]int64{"looked": 9}},
		{"a log grows", `echo two >>"$1/var/log/web/access.log"`, map[string]int64{"looked": 9, "altered": 1, "changed": 8}},
		// The old name has new content, the new name the old content, and both travel.
		{"a log is rotated", `mv "$1/var/log/web/access.log" "$1/var/log/web/access.log.1"; echo three >"$1/var/log/web/access.log"`,
			map[string]int64{"looked": 10, "added": 1, "altered": 1, "changed": 14}},
		{"an old log is compressed", `gzip -n "$1/var/log/web/access.log.1"; test $(stat -c %s "$1/var/log/web/access.log.1.gz") = 28`,
			map[string]int64{"looked": 10, "added": 1, "removed": 1, "changed": 28}},
		{"new directories", `mkdir -p "$1/var/log/new/deep" "$1/srv/media/b"; echo x >"$1/var/log/new/deep/log"; echo y >"$1/srv/media/b/one"; echo z >"$1/var/log/empty/first"`,
			map[string]int64{"looked": 14, "added": 4, "dressed": 1, "changed": 6}},
		// What is new in a volume's directory the volume's round brings.
		{"not of class object", `echo more >>"$1/var/lib/db/table"; echo new >"$1/var/lib/db/dumps/new.sql"; echo hello >>"$1/etc/motd"; ln -s web "$1/var/log/link"`,
			map[string]int64{"looked": 14}},
		{"metadata", `chmod 0600 "$1/srv/media/film"; touch -d 2001-02-03T04:05:06 "$1/var/log/syslog"; chown 7:8 "$1/srv/media/link"`,
			map[string]int64{"looked": 14, "dressed": 3}},
		{"renamed and gone", `mv "$1/srv/media/film" "$1/srv/media/a/film2"; rm -r "$1/srv/media/b" "$1/var/log/new"; rm "$1/srv/media/link"; ln -s b "$1/srv/media/link"`,
			map[string]int64{"looked": 11, "added": 1, "altered": 1, "dressed": 2, "removed": 4, "changed": 20000000}},
		{"a file becomes a directory", `rm "$1/srv/media/link"; mkdir "$1/srv/media/link"; echo in >"$1/srv/media/link/in"`,
			map[string]int64{"looked": 12, "added": 1, "altered": 1, "dressed": 1, "changed": 3}},
	} {
		b.sh(t, step.script)
		made := b.round(t)
		want := maps.Clone(step.want)
		maps.DeleteFunc(want, func(_ string, n int64) bool { return n == 0 })
		if diff := cmp.Diff(want, counts(made)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
		if len(made.Restless) > 0 {
			t.Errorf("%s: restless: %v", step.name, made.Restless)
		}
		b.agrees(t)
	}
}

// Of a lift that is held, what changed since the scan is no fault, and the next
// round brings it.
func TestHeld(t *testing.T) {
	b := newBusy(t)
	b.sh(t, `echo more >>"$1/var/log/syslog"; rm "$1/srv/media/film"; echo late >"$1/var/log/web/late"`)
	b.now = b.lift(t)
	if len(b.now.Missing) != 2 {
		t.Errorf("missing are %v", b.now.Missing)
	}
	made := b.round(t)
	if diff := cmp.Diff(map[string]int64{"looked": 9, "added": 2, "dressed": 1, "changed": 15}, counts(made)); diff != "" {
		t.Error(diff)
	}
	if len(b.now.Missing) > 0 {
		t.Errorf("missing are %v", b.now.Missing)
	}
	b.agrees(t)
}

// A round without the copy of the last index fetches it; one that finds another
// index in the store sends nothing anew, and takes all for new.
func TestRoundWithoutIndex(t *testing.T) {
	b := newBusyLifted(t)
	kept, err := filepath.Glob(b.env.Workspace.Path(workspace.Run, "objects-index-*"))
	if err != nil || len(kept) != 1 {
		t.Fatal(kept, err)
	}
	if err := os.Remove(kept[0]); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"looked": 9}, counts(b.round(t))); diff != "" {
		t.Error(diff)
	}
	first := b.now
	b.sh(t, `echo more >>"$1/var/log/syslog"`)
	b.round(t) // and is not recorded
	b.now = first
	for _, name := range kept {
		os.Remove(name)
	}
	if diff := cmp.Diff(map[string]int64{"looked": 9, "added": 9}, counts(b.round(t))); diff != "" {
		t.Error(diff)
	}
	b.agrees(t)
}

// Who looks whether the objects are there goes by the newest round; a run that
// stores those of the scan takes the rounds' part back.
func TestRecheckAfterRounds(t *testing.T) {
	b := newBusyLifted(t)
	first := b.now
	b.sh(t, `echo more >>"$1/var/log/syslog"`)
	made := b.round(t)
	record := handoff.Rounds{Rounds: []handoff.Round{{Number: 1, Volumes: []handoff.VolumeRound{}, Objects: made}}}
	if err := pipeline.Write(b.env.Workspace, handoff.RoundsKey, record); err != nil {
		t.Fatal(err)
	}
	stage := objects.New(objects.Options{Hold: true}, nil)
	if stale, err := stage.Recheck(t.Context(), b.env, first); err != nil || stale != "" {
		t.Errorf("%q, %v", stale, err)
	}
	b.lift(t)
	record, err := pipeline.Read(b.env.Workspace, handoff.RoundsKey)
	if err != nil || len(record.Rounds) != 1 || record.Rounds[0].Objects != nil {
		t.Errorf("%+v, %v", record, err)
	}
}

// A file that never holds still is named, and the index keeps it as it was.
func TestRestless(t *testing.T) {
	b := newBusyLifted(t)
	b.sh(t, `echo x >>"$1/srv/media/film"; echo new >"$1/var/log/new"`)
	film := filepath.Join(b.root, "srv/media/film")
	n := 0
	stage := objects.New(objects.Options{Hold: true}, touching(func() {
		n++
		f, err := os.OpenFile(film, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if _, err := fmt.Fprintln(f, n); err != nil {
			t.Error(err)
		}
	}))
	made, err := stage.Round(t.Context(), b.env, handoff.Source{Root: b.root}, b.now, false)
	if err != nil {
		t.Fatal(err)
	}
	if len(made.Restless) != 1 || made.Restless[0].Path != "/srv/media/film" || n < 3 {
		t.Fatalf("after %d writes restless are %v", n, made.Restless)
	}
	lines, _ := index(t, b.env, made.Objects)
	at := slices.IndexFunc(lines, func(l handoff.IndexEntry) bool { return l.Path == "/srv/media/film" })
	if at < 0 || lines[at].Size != 20000000 {
		t.Errorf("the index has %+v", lines)
	}
	b.now = made.Objects
	if made = b.round(t); len(made.Restless) > 0 {
		t.Errorf("restless are %v", made.Restless)
	}
	b.agrees(t)
}

// touchy calls back while an object is put that is as large as the film.
type touchy struct {
	store.Store
	touch func()
}

func touching(touch func()) func(context.Context, string) (store.Store, error) {
	return func(ctx context.Context, spec string) (store.Store, error) {
		st, err := store.Open(ctx, spec, store.Options{})
		return touchy{st, touch}, err
	}
}

// Put has the file change after it was hashed: its beginning, too.
func (s touchy) Put(ctx context.Context, name string, r io.ReaderAt, o store.Object) (bool, error) {
	if o.Size < 1<<20 {
		return s.Store.Put(ctx, name, r, o)
	}
	s.touch()
	return false, fmt.Errorf("%s: %w", name, store.ErrMismatch)
}
