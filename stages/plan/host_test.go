package plan

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
)

// item is one path of a synthetic host: a directory when it has no content.
type item struct {
	path    hostpath.Path
	class   claim.Class
	claim   int64
	mode    uint32
	uid     uint32
	gid     uint32
	pkg     string
	state   catalog.State
	size    int64 // instead of the content's length
	target  string
	content string // of a regular file
	xattrs  []tree.Xattr
}

// testHost is a synthetic host: paths, facts and claims as the scan and the
// split would have left them.
type testHost struct {
	os        facts.OS
	items     []item
	claims    []claim.Claim
	users     []facts.User
	groups    []facts.Group
	packages  []string
	units     []facts.Unit
	scripts   []facts.Script
	crons     []facts.Cron
	fstab     []facts.Fstab
	settings  []facts.Setting
	listeners []facts.Listener
	processes []facts.Process
	mounts    []facts.Mount
	split     handoff.Split

	profiles  []profile.Profile
	rules     profile.Rules
	decisions decisions.PlanPart
}

// plan builds the host's inventory and root and runs the stage.
func (h *testHost) plan(t *testing.T) (handoff.Plan, string, error) {
	t.Helper()
	ctx := t.Context()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	name := filepath.Join(dir, workspace.Inventory)
	w, err := catalog.Create(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	items := h.withParents()
	for i, it := range items {
		e := catalog.Entry{Entry: tree.Entry{
			Path: it.path, Type: tree.Directory, Mode: it.mode, UID: it.uid, GID: it.gid, Nlink: 1, Ino: uint64(i + 1),
			Target: it.target, Xattrs: it.xattrs,
		}, Package: it.pkg, State: it.state}
		onDisk := filepath.Join(root, string(it.path))
		switch {
		case it.target != "":
			e.Type, e.Mode = tree.Symlink, 0o777
			err = os.Symlink(it.target, onDisk)
		case it.content != "" || it.size > 0:
			e.Type, e.Size = tree.Regular, max(it.size, int64(len(it.content)))
			err = os.WriteFile(onDisk, []byte(it.content), 0o644)
		default:
			err = os.MkdirAll(onDisk, 0o755)
		}
		if err == nil {
			err = w.Add(ctx, e)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(kind facts.Kind, name string, v any) {
		t.Helper()
		if err := w.AddFact(ctx, kind, name, facts.Source{}, v); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range h.users {
		add(facts.KindUser, v.Name, v)
	}
	for _, v := range h.groups {
		add(facts.KindGroup, v.Name, v)
	}
	for _, v := range h.packages {
		add(facts.KindPackage, v, facts.Package{Manager: "dpkg", Name: v})
	}
	for _, v := range h.units {
		add(facts.KindUnit, v.Name, v)
	}
	for _, v := range h.scripts {
		add(facts.KindScript, v.Name, v)
	}
	for _, v := range h.crons {
		add(facts.KindCron, v.Name, v)
	}
	for _, v := range h.fstab {
		add(facts.KindFstab, string(v.Target), v)
	}
	for _, v := range h.settings {
		add(facts.KindSetting, v.Profile+" "+v.Key, v)
	}
	for _, v := range h.listeners {
		add(facts.KindListener, v.Unit, v)
	}
	for _, v := range h.processes {
		add(facts.KindProcess, v.Unit, v)
	}
	if _, err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	h.place(t, name, items)

	split := h.split
	env := &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: workspace.Workspace{Dir: dir}}
	stage := New(Options{Decisions: h.decisions}, h.profiles, h.rules)
	pl, err := stage.Run(ctx, env, handoff.Source{Kind: "directory", Root: root}, handoff.Inventory{OS: h.os, Mounts: h.mounts}, split, handoff.Target{})
	data, readErr := os.ReadFile(filepath.Join(dir, workspace.PlanFile))
	if readErr != nil && err == nil {
		t.Fatal(readErr)
	}
	return pl, string(data), err
}

// withParents adds the directories above the items, depth first.
func (h *testHost) withParents() []item {
	have := map[hostpath.Path]bool{}
	items := slices.Clone(h.items)
	for _, it := range items {
		have[it.path] = true
	}
	for _, it := range h.items {
		for dir := it.path.Dir(); !have[dir]; dir = dir.Dir() {
			have[dir] = true
			items = append(items, item{path: dir, class: claim.Image, mode: 0o755})
		}
	}
	slices.SortFunc(items, func(a, b item) int { return hostpath.Compare(a.path, b.path) })
	for i := range items {
		if items[i].mode == 0 {
			items[i].mode = 0o644
			if items[i].content == "" && items[i].size == 0 {
				items[i].mode = 0o755
			}
		}
		if items[i].class == "" {
			items[i].class = claim.Image
		}
	}
	return items
}

func (h *testHost) place(t *testing.T, name string, items []item) {
	t.Helper()
	ctx := t.Context()
	cat, err := catalog.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	p, err := cat.BeginPlacement(ctx)
	if err != nil {
		t.Fatal(err)
	}
	byDefault := claim.Claim{ID: 1, Class: claim.Image, Reach: claim.Tree, Path: "/", Reason: "the default", Confidence: claim.High, By: "rule test/default"}
	for _, c := range append([]claim.Claim{byDefault}, h.claims...) {
		if c.Confidence == "" {
			c.Confidence = claim.High
		}
		if err := p.Claim(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for i, it := range items {
		if err := p.Place(ctx, int64(i+1), it.class, max(it.claim, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

// unit makes a unit out of lines SECTION.KEY=VALUE.
func unit(name string, enabled bool, lines ...string) facts.Unit {
	u := facts.Unit{Name: name, Type: suffix(name), Path: hostpath.Path("/etc/systemd/system/" + name), Enabled: enabled, Static: !enabled}
	for i, l := range lines {
		key, value, _ := strings.Cut(l, "=")
		section, key, _ := strings.Cut(key, ".")
		u.Directives = append(u.Directives, facts.Directive{Section: section, Key: key, Value: value, Source: facts.Source{Path: u.Path, Line: i + 2}})
	}
	return u
}

func workload(t *testing.T, pl handoff.Plan, name string) handoff.Workload {
	t.Helper()
	for _, w := range pl.Workloads {
		if w.Name == name {
			return w
		}
	}
	t.Fatalf("no workload %s", name)
	return handoff.Workload{}
}

func volume(t *testing.T, pl handoff.Plan, path hostpath.Path) handoff.Volume {
	t.Helper()
	for _, v := range pl.Volumes {
		if v.Path == path {
			return v
		}
	}
	t.Fatalf("no volume at %s", path)
	return handoff.Volume{}
}

func container(t *testing.T, pl handoff.Plan, unit string) handoff.Container {
	t.Helper()
	for _, w := range pl.Workloads {
		for _, c := range w.Containers {
			if c.Unit == unit {
				return c
			}
		}
	}
	t.Fatalf("no container for %s", unit)
	return handoff.Container{}
}

func leftOut(pl handoff.Plan) map[string]string {
	out := map[string]string{}
	for _, l := range pl.LeftOut {
		out[l.Unit] = l.Rule
	}
	return out
}

func question(pl handoff.Plan, id string) bool {
	return slices.ContainsFunc(pl.Questions, func(q handoff.Question) bool { return q.ID == id })
}

func risk(pl handoff.Plan, about, text string) bool {
	return slices.ContainsFunc(pl.Risks, func(r handoff.Risk) bool { return r.About == about && strings.Contains(r.Text, text) })
}
