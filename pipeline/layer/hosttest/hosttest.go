// Package hosttest makes a workspace with the inventory of a directory, for
// tests of the stages that come after the split.
package hosttest

import (
	"io/fs"
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
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Place says what the scan and the split made of a path.
type Place struct {
	Class   claim.Class
	Serves  string
	Package string
	State   catalog.State
}

// Env makes a workspace in dir, with run/ and a ledger.
func Env(t testing.TB, dir string) *pipeline.Env {
	t.Helper()
	w := workspace.Workspace{Dir: dir}
	if err := os.MkdirAll(w.Path(workspace.Run), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := pipeline.OpenLedgers(t.Context(), w.Path(workspace.Run, "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: w, Ledger: l.Of("test"), Progress: &Progress{}}
}

// Inventory scans root into the workspace of env, and places every path as
// place says. Users and groups are those of root's etc/passwd and etc/group.
func Inventory(t testing.TB, env *pipeline.Env, root string, place func(tree.Entry) Place, packages ...facts.Package) {
	t.Helper()
	entries := walk(t, root)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx := t.Context()
	name := env.Workspace.Path(workspace.Inventory)
	w, err := catalog.Create(ctx, name)
	check(err)
	defer w.Abort()
	for _, e := range entries {
		p := place(e)
		check(w.Add(ctx, catalog.Entry{Entry: e, Package: p.Package, State: p.State}))
	}
	for _, p := range packages {
		check(w.AddFact(ctx, facts.KindPackage, p.Name, facts.Source{}, p))
	}
	for _, f := range fields(root, "etc/group", 3) {
		check(w.AddFact(ctx, facts.KindGroup, f[0], facts.Source{}, facts.Group{Name: f[0], GID: number(f[2])}))
	}
	for _, f := range fields(root, "etc/passwd", 6) {
		u := facts.User{Name: f[0], UID: number(f[2]), GID: number(f[3]), Home: hostpath.Path(f[5])}
		check(w.AddFact(ctx, facts.KindUser, f[0], facts.Source{}, u))
	}
	_, err = w.Commit(ctx)
	check(err)
	c, err := catalog.Open(ctx, name)
	check(err)
	defer c.Close()
	split, err := c.BeginPlacement(ctx)
	check(err)
	defer split.Abort()
	claims := map[Place]int64{}
	for i, e := range entries {
		p := place(e)
		key := Place{Class: p.Class, Serves: p.Serves}
		if claims[key] == 0 {
			claims[key] = int64(len(claims) + 1)
			check(split.Claim(ctx, claim.Claim{
				ID: claims[key], Class: p.Class, Reach: claim.Every, Path: "/", Reason: "test",
				Confidence: claim.High, By: "test", Authority: claim.ByUser, Serves: p.Serves,
			}))
		}
		check(split.Place(ctx, int64(i+1), p.Class, claims[key]))
	}
	_, err = split.Commit(ctx)
	check(err)
}

func walk(t testing.TB, root string) []tree.Entry {
	t.Helper()
	var out []tree.Entry
	err := filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		dir, err := os.Open(filepath.Dir(name))
		if err != nil {
			return err
		}
		defer dir.Close()
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		e, err := tree.Lstat(dir, filepath.Base(name), hostpath.Clean(rel))
		out = append(out, e)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out, func(a, b tree.Entry) int { return hostpath.Compare(a.Path, b.Path) })
	return out
}

func fields(root, name string, n int) [][]string {
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil
	}
	var out [][]string
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= n {
			out = append(out, f)
		}
	}
	return out
}

func number(s string) uint32 {
	var n uint32
	for _, c := range s {
		n = n*10 + uint32(c-'0')
	}
	return n
}

// Progress counts what it is told.
type Progress struct {
	mu    sync.Mutex
	total int64
	done  int64
}

// Begin implements pipeline.Progress.
func (p *Progress) Begin(_, _ string, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total += total
}

// Add implements pipeline.Progress.
func (p *Progress) Add(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
}

// End implements pipeline.Progress.
func (p *Progress) End() {}

// Told is the sum of all totals, and of what was added.
func (p *Progress) Told() (total, done int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total, p.done
}
