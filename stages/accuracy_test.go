package stages_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/templates"
)

// wantAccuracy is the part of the truth table that the split must get right, in
// percent.
const wantAccuracy = 95

// TestAccuracy compares the split of each real host with a table that a person
// made without looking at the rules.
func TestAccuracy(t *testing.T) {
	wantRows := map[string]int{"wordpress": 80}
	for _, host := range hosts.Names(t) {
		t.Run(host, func(t *testing.T) { checkHost(t, host, max(wantRows[host], 50)) })
	}
}

func checkHost(t *testing.T, host string, wantRows int) {
	t.Helper()
	env := splitHost(t, filepath.Join(hosts.Dir(t, host), "root"), decisions.Decisions{})
	ctx := context.Background()
	out, err := pipeline.Read(env.Workspace, handoff.SplitKey)
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()

	rows := readTruth(t, filepath.Join("../fixtures/hosts", host, "truth.tsv"))
	if len(rows) < wantRows {
		t.Errorf("the truth table has %d paths, at least %d are wanted", len(rows), wantRows)
	}
	claims, err := cat.Claims(ctx)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for _, row := range rows {
		e, err := cat.Lookup(ctx, row.path)
		if err != nil {
			t.Errorf("%s: %v", row.path, err)
			continue
		}
		if e.Class == row.class {
			right++
			continue
		}
		why := claims[e.Claim-1]
		t.Logf("%s: %s, the table says %s: %s\n\tbecause %s (%s, %v)", row.path, e.Class, row.class, row.why, why.Reason, why.By, why.Evidence)
	}
	percent := 100 * float64(right) / float64(max(len(rows), 1))
	fmt.Printf("accuracy of %s: %d of %d (%.1f %%)\n", host, right, len(rows), percent)
	if percent < wantAccuracy {
		t.Errorf("accuracy %.1f %%, at least %d %% is wanted", percent, wantAccuracy)
	}
	if !out.Balance.Even() {
		t.Errorf("the balance is not even: %+v", out.Balance)
	}
	checkExplained(t, cat, claims)
	checkPlanted(t, env.Workspace, cat)
}

// checkExplained weighs the claims again, as explain does: for every path of the
// host the one that decided must win.
func checkExplained(t *testing.T, cat *catalog.Catalog, claims []claim.Claim) {
	t.Helper()
	r, err := claim.NewResolver(claims...)
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for e, err := range cat.Entries(context.Background(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if w, _ := r.Winner(e.Subject()); w.ID != e.Claim || w.Class != e.Class {
			if wrong++; wrong <= 10 {
				t.Errorf("%s is %s by claim %d, explain says %s by claim %d", e.Path, e.Class, e.Claim, w.Class, w.ID)
			}
		}
	}
}

// checkPlanted searches for the secrets that the host was built with: none is in
// a file of class image or config, nor in what the split wrote.
func checkPlanted(t *testing.T, ws workspace.Workspace, cat *catalog.Catalog) {
	t.Helper()
	src, err := pipeline.Read(ws, handoff.SourceKey)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(filepath.Dir(src.Root), "secrets.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	var planted []string
	for line := range strings.Lines(string(list)) {
		cols := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(cols) != 3 || len(cols[2]) < 12 {
			t.Fatalf("secrets.tsv: %d columns", len(cols))
		}
		e, err := cat.Lookup(context.Background(), hostpath.Path(cols[1]))
		if err != nil {
			t.Fatal(err)
		}
		if e.Class == claim.Image || e.Class == claim.Config {
			t.Errorf("%s (%s) is %s", e.Path, cols[0], e.Class)
		}
		planted = append(planted, cols[2])
	}
	if len(planted) < 10 {
		t.Errorf("only %d secrets were planted", len(planted))
	}
	for _, name := range []string{ws.Path(workspace.Inventory), ws.Path(workspace.Run, "split.json")} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range planted {
			if strings.Contains(string(data), s) {
				t.Errorf("a planted secret is in %s", filepath.Base(name))
			}
		}
	}
	for e, err := range cat.Entries(context.Background(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != tree.Regular || e.State == catalog.Same || e.Class != claim.Image && e.Class != claim.Config {
			continue
		}
		data, err := os.ReadFile(filepath.Join(src.Root, string(e.Path)))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range planted {
			if strings.Contains(string(data), s) {
				t.Errorf("%s is %s and holds a planted secret", e.Path, e.Class)
			}
		}
	}
}

type truth struct {
	path  hostpath.Path
	class claim.Class
	why   string
}

func readTruth(t *testing.T, name string) []truth {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []truth
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		cols := strings.Split(lines.Text(), "\t")
		if len(cols) != 3 || cols[0] == "path" {
			continue
		}
		p, err := hostpath.Parse(cols[0])
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, truth{p, claim.Class(cols[1]), cols[2]})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// splitHost runs the pipeline up to the split, as the command line does.
func splitHost(t *testing.T, root string, d decisions.Decisions) *pipeline.Env {
	t.Helper()
	dir := t.TempDir()
	if keep := os.Getenv("STATELIFT_TEST_WORKSPACE"); keep != "" {
		dir = keep
	}
	ws := workspace.Workspace{Dir: dir}
	if err := os.MkdirAll(ws.Path(workspace.Run), 0o700); err != nil {
		t.Fatal(err)
	}
	profiles, err := profile.Load(templates.Profiles())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := profile.LoadRules(templates.Rules())
	if err != nil {
		t.Fatal(err)
	}
	runner := &pipeline.Runner{
		Stages:  stages.All(stages.Deps{Source: root, Version: "test", Decisions: d, Profiles: profiles, Rules: rules}),
		Granted: pipeline.Local, Version: "test",
		Env:     pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: ws, Progress: silent{}},
		Ledgers: func(string) pipeline.Ledger { return forgetful{} },
	}
	if err := runner.Run(context.Background(), "split"); err != nil {
		t.Fatal(err)
	}
	return &runner.Env
}

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

// forgetful is a ledger for stages that start again.
type forgetful struct{}

func (forgetful) Lookup(context.Context, string) (string, bool, error) { return "", false, nil }
func (forgetful) Commit(context.Context, string, string) error         { return nil }
