package scan_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/scan"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/cron"
	"github.com/statelift/statelift/stages/scan/dpkg"
)

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

// scanned is a finished scan.
type scanned struct {
	handoff.Inventory
	cat *catalog.Catalog
	ws  workspace.Workspace
}

// scanTo scans the root at dir into the workspace at ws.
func scanTo(t testing.TB, ws, dir string, o scan.Options, packages []collect.Packages, collectors ...collect.Collector) scanned {
	t.Helper()
	s := scanned{ws: workspace.Workspace{Dir: ws}}
	env := &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: s.ws, Progress: silent{}}
	var err error
	s.Inventory, err = scan.New(o, packages, collectors).Run(context.Background(), env, handoff.Source{Spec: dir, Kind: "directory", Root: dir})
	if err != nil {
		t.Fatal(err)
	}
	if s.cat, err = catalog.Open(context.Background(), s.ws.Path(workspace.Inventory)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cat.Close() })
	return s
}

func (s scanned) entries(t testing.TB) []catalog.Entry {
	t.Helper()
	var out []catalog.Entry
	for e, err := range s.cat.Entries(context.Background(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.Entry)
	}
	return out
}

func (s scanned) entry(t testing.TB, p hostpath.Path) catalog.Entry {
	t.Helper()
	e, err := s.cat.Lookup(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	return e.Entry
}

var debian = []collect.Packages{dpkg.Packages{}}

// TestEveryPathOfTheHost compares the inventory of a real host with find.
func TestEveryPathOfTheHost(t *testing.T) {
	root := filepath.Join(hosts.WordPress(t), "root")
	s := scanTo(t, t.TempDir(), root, scan.Options{}, debian)
	var got []string
	for _, e := range s.entries(t) {
		got = append(got, fmt.Sprintf("%s %s %o %d %d %d %d %s", string(e.Path), e.Type, e.Mode, e.UID, e.GID, e.Size, e.Mtime/1e9, e.Target))
	}
	cmd := exec.Command("find", root, "-type", "f,l", "-printf", `/%P %y %m %U %G %s %Ts %l\0`, "-o", "-printf", `/%P %y %m %U %G 0 %Ts %l\0`)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-find +inventory):\n%s", diff)
	}
	if s.Entries != int64(len(want)) || len(s.Unreadable) != 0 || len(s.Problems) != 0 {
		t.Errorf("%d entries, want %d; unreadable %v; problems %v", s.Entries, len(want), s.Unreadable, s.Problems)
	}
	du := strings.Fields(sh.Run(t, root, `find . -type f -printf '%i %s\n' | sort -u | awk '{n += $2} END {printf "%d\n", n}'`))[0]
	if fmt.Sprint(s.Bytes) != du {
		t.Errorf("%d bytes, find has %s", s.Bytes, du)
	}
}

// TestPackagedFilesAgainstDpkg compares states with dpkg --verify, and the owners
// of every eighth file with dpkg-query --search.
func TestPackagedFilesAgainstDpkg(t *testing.T) {
	root := filepath.Join(hosts.WordPress(t), "root")
	s := scanTo(t, t.TempDir(), root, scan.Options{}, debian)
	out, err := exec.Command("dpkg", "--root="+root, "--verify").Output()
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); strings.HasPrefix(line, "??5") {
			state := string(catalog.Changed)
			if f[1] == "c" {
				state = string(catalog.ConffileChanged)
			}
			want = append(want, f[len(f)-1]+" "+state)
		}
	}
	if len(want) < 3 {
		t.Fatalf("the host has only %v changed, by dpkg --verify", want)
	}
	var got, owned []string
	owners := map[string]string{}
	for _, e := range s.entries(t) {
		if e.State == catalog.Changed || e.State == catalog.ConffileChanged {
			got = append(got, string(e.Path)+" "+string(e.State))
		}
		if e.Type == tree.Regular && e.Package != "" && e.Ino%8 == 0 {
			owned = append(owned, string(e.Path))
			owners[string(e.Path)] = e.Package
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed (-dpkg --verify +inventory):\n%s", diff)
	}
	if n := s.States[string(catalog.Same)].Files; n < 10_000 {
		t.Errorf("only %d files are the same as in their packages", n)
	}
	cmd := exec.Command("xargs", "-0", "dpkg-query", "--root="+root, "-S")
	cmd.Stdin = strings.NewReader(strings.Join(owned, "\x00"))
	found, _ := cmd.Output() // exits 1 for what is listed under another name, /bin for /usr/bin
	lines := bufio.NewScanner(strings.NewReader(string(found)))
	known := 0
	for lines.Scan() {
		owner, name, ok := strings.Cut(lines.Text(), ": ")
		if !ok || owners[name] == "" || strings.Contains(owner, "diversion ") {
			continue
		}
		known++
		var all []string
		for o := range strings.SplitSeq(owner, ", ") {
			all = append(all, strings.TrimSuffix(o, ":amd64"))
		}
		if !slices.Contains(all, owners[name]) {
			t.Errorf("%s: owner %s, dpkg-query says %s", name, owners[name], owner)
		}
	}
	if known < len(owned)*8/10 {
		t.Errorf("dpkg-query knows %d of %d", known, len(owned))
	}
}

// TestSameAgain scans twice, with one worker and with many.
func TestSameAgain(t *testing.T) {
	root := filepath.Join(hosts.WordPress(t), "root")
	one := scanTo(t, t.TempDir(), root, scan.Options{Workers: 1}, debian, cron.Collector{})
	many := scanTo(t, t.TempDir(), root, scan.Options{Workers: 40}, debian, cron.Collector{})
	if diff := cmp.Diff(one.Inventory, many.Inventory); diff != "" {
		t.Errorf("two scans differ:\n%s", diff)
	}
	again := scanTo(t, one.ws.Dir, root, scan.Options{}, debian, cron.Collector{})
	if again.Digest != one.Digest {
		t.Error("a scan over an old inventory differs")
	}
}

// fake is a collector for tests.
type fake struct {
	paths []hostpath.Path
	do    func(ctx context.Context, r *rootfs.Root, emit collect.Emit) error
}

func (*fake) Name() string { return "fake" }
func (*fake) Wants(p hostpath.Path, t tree.Type) bool {
	return t == tree.Regular && strings.HasSuffix(string(p), ".want")
}
func (f *fake) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	f.paths = paths
	if f.do == nil {
		return nil
	}
	return f.do(ctx, r, emit)
}

func TestCollectors(t *testing.T) {
	dir := t.TempDir()
	sh.Run(t, dir, `mkdir -p b a/x var/lib/dpkg/info; touch b/1.want a/x/2.want a.want a/no
printf 'Package: p\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\nbroken\n' > var/lib/dpkg/status
printf '/a\n/a.want\n' > var/lib/dpkg/info/p.list`)
	first := &fake{do: func(_ context.Context, _ *rootfs.Root, emit collect.Emit) error {
		src := facts.Source{Path: "/a.want", Line: 3}
		if err := emit(collect.Found{Kind: facts.KindCron, Name: "job", Source: src, Data: facts.Cron{Name: "job", Source: src}}); err != nil {
			return err
		}
		return errors.New("gave up")
	}}
	second := &fake{}
	s := scanTo(t, t.TempDir(), dir, scan.Options{}, debian, first, second)
	want := []hostpath.Path{"/a/x/2.want", "/a.want", "/b/1.want"}
	if diff := cmp.Diff(want, first.paths); diff != "" {
		t.Errorf("wanted (-want +got):\n%s", diff)
	}
	if !slices.Equal(second.paths, want) {
		t.Errorf("the second collector got %v", second.paths)
	}
	crons, err := catalog.Facts[facts.Cron](context.Background(), s.cat, facts.KindCron)
	if err != nil || len(crons) != 1 || crons[0].Package != "p" {
		t.Errorf("jobs %+v, %v; want one of package p", crons, err)
	}
	wantProblems := []facts.Problem{
		{Collector: "dpkg", What: "neither a field nor a continuation line", Source: facts.Source{Path: "/var/lib/dpkg/status", Line: 6}},
		{Collector: "fake", What: "gave up"},
	}
	if diff := cmp.Diff(wantProblems, s.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	if s.Packages != 1 || s.Facts[facts.KindCron] != 1 || s.Facts[facts.KindProblem] != 2 {
		t.Errorf("%+v", s.Inventory)
	}
}

func TestCancelledScanLeavesTheOldInventory(t *testing.T) {
	dir := t.TempDir()
	sh.Run(t, dir, "mkdir etc; touch a.want")
	s := scanTo(t, t.TempDir(), dir, scan.Options{}, nil)
	sh.Run(t, dir, "touch new")
	ctx, cancel := context.WithCancel(context.Background())
	stop := &fake{do: func(ctx context.Context, _ *rootfs.Root, _ collect.Emit) error { cancel(); return ctx.Err() }}
	env := &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: s.ws, Progress: silent{}}
	_, err := scan.New(scan.Options{}, nil, []collect.Collector{stop}).Run(ctx, env, handoff.Source{Root: dir})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := s.cat.Lookup(context.Background(), "/new"); !errors.Is(err, catalog.ErrNoPath) {
		t.Errorf("the inventory was replaced: %v", err)
	}
	if list := sh.Run(t, s.ws.Dir, "ls -A"); list != "inventory.db\n" {
		t.Errorf("left: %s", list)
	}
	_, err = scan.New(scan.Options{}, nil, nil).Run(context.Background(), env, handoff.Source{Spec: "x", Root: dir + "/none"})
	if !errors.As(err, new(*pipeline.InputError)) {
		t.Errorf("a root that is not there: %v", err)
	}
}

// TestChanged makes one change at a time.
func TestChanged(t *testing.T) {
	for _, change := range []string{
		"echo x >> f", "printf y | dd of=f conv=notrunc status=none; touch -d 2001-01-01 f", "touch new", "rm f", "chmod 600 f", "chown 5 f",
		"ln -sfn other l", "mkdir d/e", "rmdir d", "mv f g", "ln f d/hard", "setfattr -n user.x -v y f", "touch zzz", "cp -a f f2; mv f2 f",
	} {
		t.Run(change, func(t *testing.T) {
			dir := t.TempDir()
			sh.Run(t, dir, "echo x > f; ln -s f l; mkdir d w; touch -d 2001-01-01 f")
			ws := filepath.Join(dir, "w") // the workspace may change
			s := scanTo(t, ws, dir, scan.Options{}, nil)
			look := func() bool {
				changed, err := scan.Changed(context.Background(), dir, s.ws, s.cat)
				if err != nil {
					t.Fatal(err)
				}
				return changed
			}
			sh.Run(t, ws, "touch something")
			if look() {
				t.Error("it changed by itself")
			}
			sh.Run(t, dir, change)
			if !look() {
				t.Error("the change was not seen")
			}
		})
	}
}

func TestWorkspaceBelowTheSource(t *testing.T) {
	dir := t.TempDir()
	sh.Run(t, dir, "mkdir -p home/me/lift; touch home/me/lift/secret home/x; ln -s home/me/lift link")
	s := scanTo(t, filepath.Join(dir, "home/me/lift"), dir, scan.Options{}, nil)
	var got []string
	for _, e := range s.entries(t) {
		got = append(got, string(e.Path)+" "+e.FS)
	}
	want := []string{"/ ", "/home ", "/home/me ", "/home/me/lift " + scan.WorkspaceFS, "/home/x ", "/link "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	sh.Run(t, s.ws.Dir, "touch another; sleep 0.01")
	if again := scanTo(t, s.ws.Dir, dir, scan.Options{}, nil); again.Digest != s.Digest {
		t.Error("what happens in the workspace changes the inventory")
	}
}
