package split_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/split"
	"github.com/statelift/statelift/templates"
)

// world is a made-up host: entries as the scan would have found them, and the
// content of those files that the split reads.
type world struct {
	t       *testing.T
	root    string
	ws      workspace.Workspace
	entries map[hostpath.Path]catalog.Entry
	facts   []fact
	yaml    string
}

type fact struct {
	kind facts.Kind
	name string
	data any
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	w := &world{t: t, root: filepath.Join(dir, "root"), ws: workspace.Workspace{Dir: filepath.Join(dir, "ws")}, entries: map[hostpath.Path]catalog.Entry{}}
	for _, d := range []string{w.root, w.ws.Dir, w.ws.Path(workspace.Run)} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"/", "/etc", "/usr", "/usr/bin", "/var", "/var/lib", "/var/log", "/var/cache", "/var/backups", "/srv", "/opt", "/home", "/root"} {
		w.dir(d, pkg("base-files", catalog.Unchecked))
	}
	return w
}

type option func(*catalog.Entry)

func pkg(name string, state catalog.State) option {
	return func(e *catalog.Entry) { e.Package, e.State = name, state }
}
func owner(uid uint32) option    { return func(e *catalog.Entry) { e.UID, e.GID = uid, uid } }
func mode(m uint32) option       { return func(e *catalog.Entry) { e.Mode = m } }
func problem(text string) option { return func(e *catalog.Entry) { e.Problem = text } }
func mounted(fs string) option   { return func(e *catalog.Entry) { e.FS = fs } }
func inode(ino uint64, n uint32) option {
	return func(e *catalog.Entry) { e.Ino, e.Nlink = ino, n }
}
func typ(t tree.Type) option { return func(e *catalog.Entry) { e.Type, e.Size = t, 0 } }
func size(n int64) option    { return func(e *catalog.Entry) { e.Size = n } }

// add makes an entry and the directories above it.
func (w *world) add(p string, e catalog.Entry, opts []option) {
	path := hostpath.Path(p)
	for d := path.Dir(); d != hostpath.Root; d = d.Dir() {
		if _, ok := w.entries[d]; !ok {
			w.dir(string(d))
		}
	}
	e.Path, e.Dev = path, 1
	e.Ino, e.Nlink = uint64(1000+len(w.entries)), 1
	for _, o := range opts {
		o(&e)
	}
	w.entries[path] = e
}

func (w *world) dir(p string, opts ...option) {
	if p != "/" {
		if err := os.MkdirAll(filepath.Join(w.root, p), 0o755); err != nil {
			w.t.Fatal(err)
		}
	}
	w.add(p, catalog.Entry{Entry: tree.Entry{Type: tree.Directory, Mode: 0o755}}, opts)
}

func (w *world) file(p, content string, opts ...option) {
	name := filepath.Join(w.root, p)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.add(p, catalog.Entry{Entry: tree.Entry{Type: tree.Regular, Mode: 0o644, Size: int64(len(content))}}, opts)
}

func (w *world) link(p, target string, opts ...option) {
	name := filepath.Join(w.root, p)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		w.t.Fatal(err)
	}
	w.add(p, catalog.Entry{Entry: tree.Entry{Type: tree.Symlink, Mode: 0o777, Size: int64(len(target)), Target: target}}, opts)
}

func (w *world) fact(kind facts.Kind, name string, data any) {
	w.facts = append(w.facts, fact{kind, name, data})
}

// unit adds an enabled service with the directives of section Service.
func (w *world) unit(name, pkg string, directives ...string) {
	u := facts.Unit{Name: name, Type: "service", Path: hostpath.Path("/etc/systemd/system/" + name), Enabled: true, Package: pkg}
	if _, instance, ok := strings.Cut(strings.TrimSuffix(name, ".service"), "@"); ok {
		u.Instance = instance
	}
	for i, d := range directives {
		key, value, _ := strings.Cut(d, "=")
		u.Directives = append(u.Directives, facts.Directive{Section: "Service", Key: key, Value: value, Source: facts.Source{Path: u.Path, Line: i + 2}})
	}
	w.fact(facts.KindUnit, name, u)
}

func (w *world) user(name string, uid uint32, home string) {
	w.fact(facts.KindUser, name, facts.User{Name: name, UID: uid, GID: uid, Home: hostpath.Path(home)})
	w.fact(facts.KindGroup, name, facts.Group{Name: name, GID: uid})
}

func (w *world) setting(profile, key, value, path string, line int) {
	w.fact(facts.KindSetting, profile, facts.Setting{Profile: profile, Key: key, Value: value, Source: facts.Source{Path: hostpath.Path(path), Line: line}})
}

// result is a world after the split.
type result struct {
	t      *testing.T
	split  handoff.Split
	placed map[hostpath.Path]catalog.Placed
	claims map[int64]claim.Claim
}

func (w *world) write() {
	w.t.Helper()
	ctx := context.Background()
	c, err := catalog.Create(ctx, w.ws.Path(workspace.Inventory))
	if err != nil {
		w.t.Fatal(err)
	}
	var paths []hostpath.Path
	for p := range w.entries {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, hostpath.Compare)
	for _, p := range paths {
		if err := c.Add(ctx, w.entries[p]); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, f := range w.facts {
		if err := c.AddFact(ctx, f.kind, f.name, facts.Source{}, f.data); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := c.Commit(ctx); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) try(ctx context.Context) (handoff.Split, error) {
	w.t.Helper()
	d, err := decisions.Parse("statelift.yaml", []byte(w.yaml))
	if err != nil {
		w.t.Fatal(err)
	}
	profiles, rules := knowledge()
	env := &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: w.ws, Progress: silent{}}
	src := handoff.Source{Spec: w.root, Kind: "directory", Root: w.root}
	return split.New(split.Options{Decisions: d.ForSplit()}, profiles, rules).Run(ctx, env, src, handoff.Inventory{})
}

// knowledge is what statelift ships; reading it takes longer than a split here.
var knowledge = sync.OnceValues(func() ([]profile.Profile, profile.Rules) {
	profiles, err := profile.Load(templates.Profiles())
	if err != nil {
		panic(err)
	}
	rules, err := profile.LoadRules(templates.Rules())
	if err != nil {
		panic(err)
	}
	return profiles, rules
})

// split runs the stage and checks what holds for every split: each entry has one
// class, by a claim that says so and that the resolver of explain finds again, and
// the balance is that of the entries.
func (w *world) split() result {
	w.t.Helper()
	w.write()
	out, err := w.try(context.Background())
	var inc *pipeline.Incomplete
	if err != nil && !errors.As(err, &inc) {
		w.t.Fatal(err)
	}
	r := w.read(out)
	w.check(r)
	return r
}

func (w *world) read(out handoff.Split) result {
	w.t.Helper()
	ctx := context.Background()
	cat, err := catalog.Open(ctx, w.ws.Path(workspace.Inventory))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cat.Close()
	r := result{t: w.t, split: out, placed: map[hostpath.Path]catalog.Placed{}, claims: map[int64]claim.Claim{}}
	list, err := cat.Claims(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list {
		r.claims[c.ID] = c
	}
	for e, err := range cat.Entries(ctx, catalog.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		r.placed[e.Path] = e
	}
	return r
}

func (w *world) check(r result) {
	w.t.Helper()
	var all []claim.Claim
	for _, c := range r.claims {
		all = append(all, c)
	}
	resolver, err := claim.NewResolver(all...)
	if err != nil {
		w.t.Fatal(err)
	}
	var entries, bytes int64
	seen := map[uint64]bool{}
	for p, e := range w.entries {
		entries++
		if e.Type == tree.Regular && !seen[e.Ino] {
			seen[e.Ino] = true
			bytes += e.Size
		}
		got := r.placed[p]
		c, ok := r.claims[got.Claim]
		if !ok || c.Class != got.Class || c.Reason == "" {
			w.t.Errorf("%s is %q by claim %d: %+v", p, got.Class, got.Claim, c)
		}
		if again, _ := resolver.Winner(got.Subject()); again.ID != got.Claim {
			w.t.Errorf("%s is placed by claim %d (%s), explain would say %d (%s)", p, got.Claim, c.Reason, again.ID, again.Reason)
		}
	}
	if total := r.split.Balance.Total; total.Entries != entries || total.Bytes != bytes || !r.split.Balance.Even() {
		w.t.Errorf("balance %+v, counted %d entries and %d bytes", r.split.Balance, entries, bytes)
	}
}

// want checks classes: lines of "class path".
func (r result) want(lines string) {
	r.t.Helper()
	for line := range strings.Lines(lines) {
		class, path, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			continue
		}
		p, err := hostpath.Parse(path)
		if err != nil {
			r.t.Fatal(err)
		}
		e, ok := r.placed[p]
		if !ok {
			r.t.Errorf("%s is not in the inventory", p)
			continue
		}
		if c := r.claims[e.Claim]; string(e.Class) != class {
			r.t.Errorf("%s is %s, not %s: %s (%s %v)", p, e.Class, class, c.Reason, c.By, c.Evidence)
		}
	}
}

func (r result) why(p string) claim.Claim { return r.claims[r.placed[hostpath.Path(p)].Claim] }

func (r result) volume(p string) (handoff.VolumeRoot, bool) {
	i := slices.IndexFunc(r.split.Volumes, func(v handoff.VolumeRoot) bool { return string(v.Path) == p })
	if i < 0 {
		return handoff.VolumeRoot{}, false
	}
	return r.split.Volumes[i], true
}

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}
