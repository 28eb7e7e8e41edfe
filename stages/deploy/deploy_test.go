package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/deploy"
	seedstage "github.com/statelift/statelift/stages/seed"
)

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

// host is a source with a workspace, up to the plan.
type host struct {
	root   string
	env    pipeline.Env
	plan   handoff.Plan
	ledger *pipeline.Ledgers
}

// newHost has a tree with every kind of entry at /srv/data, of class volume but
// for a share and two files of class object, a volume within, and an empty one.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{root: t.TempDir()}
	for _, dir := range []string{"srv/data", "var/spool/empty"} {
		if err := os.MkdirAll(filepath.Join(h.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := trees.Every(filepath.Join(h.root, "srv/data")); err != nil {
		t.Fatal(err)
	}
	return h.elsewhere(t)
}

// elsewhere is the same host with a workspace of its own.
func (h *host) elsewhere(t *testing.T) *host {
	t.Helper()
	w := workspace.Workspace{Dir: t.TempDir()}
	if err := os.Mkdir(w.Path(workspace.Run), 0o700); err != nil {
		t.Fatal(err)
	}
	n := &host{root: h.root, plan: plan(), env: pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: w, Progress: silent{}}}
	var err error
	if n.ledger, err = pipeline.OpenLedgers(t.Context(), w.Path(workspace.Run, "ledger.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.ledger.Close() })
	n.scan(t)
	return n
}

func plan() handoff.Plan {
	return handoff.Plan{Volumes: []handoff.Volume{
		{Name: "data", Path: "/srv/data", Seed: true},
		{Name: "inner", Path: "/srv/data/dirs", Seed: true},
		{Name: "spool", Path: "/var/spool/empty", UID: 7, GID: 8, Mode: 0o2750},
	}}
}

// classOf is the class of a path of the host.
func classOf(p hostpath.Path) claim.Class {
	switch {
	case p.Within("/srv/data/order"):
		if p == "/srv/data/order/a/x" {
			return claim.Volume // alone in a directory of another class
		}
		return claim.Object
	case p.Within("/srv/data"):
		return claim.Volume
	}
	return claim.Image
}

func (h *host) scan(t *testing.T) {
	t.Helper()
	ctx, name := t.Context(), h.env.Workspace.Path(workspace.Inventory)
	w, err := catalog.Create(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range seedtest.Scan(t, h.root) {
		if err := w.Add(ctx, catalog.Entry{Entry: e}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Open(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p, err := c.BeginPlacement(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[claim.Class]int64{}
	for i, class := range claim.Classes() {
		ids[class] = int64(i + 1)
		if err := p.Claim(ctx, claim.Claim{ID: ids[class], Class: class, Reach: claim.Every, Path: "/", Confidence: claim.High}); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range c.Entries(ctx, catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Place(ctx, e.ID, classOf(e.Path), ids[classOf(e.Path)]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

func (h *host) seed(ctx context.Context) (handoff.Seeds, error) {
	env := h.env
	env.Ledger = h.ledger.Of("seed")
	return seedstage.New(seedstage.Options{Limits: seedtest.Small()}).Run(ctx, &env, h.plan, handoff.Source{Root: h.root, Kind: "directory"})
}

func (h *host) deploy(ctx context.Context, seeds handoff.Seeds) (handoff.Copies, error) {
	env := h.env
	env.Ledger = h.ledger.Of("deploy")
	return deploy.New(deploy.Options{}).Run(ctx, &env, h.plan, seeds)
}

func (h *host) both(t *testing.T) (handoff.Seeds, handoff.Copies) {
	t.Helper()
	seeds, err := h.seed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	copies, err := h.deploy(t.Context(), seeds)
	if err != nil {
		t.Fatal(err)
	}
	return seeds, copies
}

func (h *host) volume(name string) string { return h.env.Workspace.Path(workspace.Volumes, name) }

// butMark compares hand-offs but for the time of the volumes' file system.
var butMark = cmpopts.IgnoreFields(handoff.ReceiptFile{}, "Mark")

func rsync(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("rsync", append([]string{"-aHAXnic", "--numeric-ids", "--delete"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v\n%s", err, out)
	}
	return string(out)
}

func TestVolumesAreWhatTheHostHas(t *testing.T) {
	h := newHost(t)
	seeds, copies := h.both(t)
	out := rsync(t, "--exclude=/dirs/*", "--exclude=/order/a.b", "--exclude=/order/a b", "--exclude=/order/a\x01", h.root+"/srv/data/", h.volume("data")+"/")
	if out != "" {
		t.Errorf("data differs:\n%s", out)
	}
	if out := rsync(t, h.root+"/srv/data/dirs/", h.volume("inner")+"/"); out != "" {
		t.Errorf("inner differs:\n%s", out)
	}
	if list, _ := os.ReadDir(filepath.Join(h.volume("data"), "dirs")); len(list) != 0 {
		t.Errorf("what the inner volume has is in the outer one too: %v", list)
	}
	for _, name := range []string{"a.b", "a b"} {
		if _, err := os.Lstat(filepath.Join(h.volume("data"), "order", name)); err == nil {
			t.Errorf("order/%s is an object, and in the volume too", name)
		}
	}
	stat, err := exec.Command("stat", "-c", "%a %u:%g %Y", h.volume("spool")).Output()
	if err != nil || string(stat) != "2750 7:8 0\n" {
		t.Errorf("the empty volume: %s, %v", stat, err)
	}
	if len(seeds.Seeds) != 2 || len(copies.Receipts) != 2 {
		t.Fatalf("seeds = %+v, copies = %+v", seeds, copies)
	}
	for _, f := range copies.Receipts {
		data, err := os.ReadFile(h.env.Workspace.Path(workspace.Receipts, f.File))
		var r handoff.Receipt
		if err != nil || oci.Sum(data) != f.SHA256 || json.Unmarshal(data, &r) != nil || !r.Proved || !f.Proved {
			t.Errorf("receipt %+v: %+v, %v", f, r, err)
		}
		sum, err := exec.Command("sha256sum", h.env.Workspace.Path(workspace.Receipts, r.Listing)).Output()
		if err != nil || !strings.HasPrefix(string(sum), r.CopyTree+" ") {
			t.Errorf("listing of %s: %s, %v", f.Volume, sum, err)
		}
	}
}

// A second run, of a fresh ledger or of the same, gives the same bytes.
func TestRunsAreRepeatable(t *testing.T) {
	h := newHost(t)
	s1, c1 := h.both(t)
	s2, c2 := h.both(t)
	if diff := cmp.Diff(s1, s2) + cmp.Diff(c1, c2, butMark); diff != "" {
		t.Errorf("again: %s", diff)
	}
	for _, dir := range []string{workspace.Volumes, workspace.Seeds, workspace.Receipts} {
		if err := os.RemoveAll(h.env.Workspace.Path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	s3, c3 := h.both(t)
	if diff := cmp.Diff(s1, s3) + cmp.Diff(c1, c3, butMark); diff != "" {
		t.Errorf("from nothing: %s", diff)
	}
}

func TestAChangedSourceReplacesTheCopy(t *testing.T) {
	h := newHost(t)
	s1, _ := h.both(t)
	if err := os.WriteFile(filepath.Join(h.root, "srv/data/files/new"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.scan(t)
	s2, _ := h.both(t)
	if s1.Seeds[0].Digest == s2.Seeds[0].Digest || s1.Seeds[1].Digest != s2.Seeds[1].Digest {
		t.Errorf("digests before %+v, after %+v", s1, s2)
	}
	if _, err := os.Stat(filepath.Join(h.volume("data"), "files/new")); err != nil {
		t.Error(err)
	}
	// The layout has only what the seeds need.
	blobs, err := os.ReadDir(h.env.Workspace.Path(workspace.Seeds, "blobs/sha256"))
	if err != nil {
		t.Fatal(err)
	}
	layout, err := oci.Open(h.env.Workspace.Path(workspace.Seeds))
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, sd := range s2.Seeds {
		d, err := seed.Find(layout, sd.Volume)
		if err != nil {
			t.Fatal(err)
		}
		s, err := seed.Open(t.Context(), layout, d)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range s.Blobs() {
			used[string(b.Digest)] = true
		}
	}
	if len(blobs) != len(used) {
		t.Errorf("%d blobs, %d are used", len(blobs), len(used))
	}
}

func TestForeignFilesInAVolumeAreKept(t *testing.T) {
	h := newHost(t)
	if err := os.MkdirAll(h.volume("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	mine := filepath.Join(h.volume("data"), "mine")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	seeds, err := h.seed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := h.deploy(t.Context(), seeds); !errors.Is(err, copier.ErrOccupied) || !strings.Contains(err.Error(), "remove "+h.volume("data")) {
			t.Errorf("err = %v", err)
		}
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestWhatChangedSinceTheScanIsIncomplete(t *testing.T) {
	h := newHost(t)
	if err := os.WriteFile(filepath.Join(h.root, "srv/data/files/text"), []byte("other"), 0o600); err != nil {
		t.Fatal(err)
	}
	seeds, err := h.seed(t.Context())
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) || len(inc.Because) != 1 || !strings.HasPrefix(inc.Because[0], "/srv/data/files/text: ") {
		t.Fatalf("err = %v", err)
	}
	if len(seeds.Seeds) != 2 {
		t.Errorf("seeds = %+v", seeds)
	}
	if _, err := h.deploy(t.Context(), seeds); err != nil {
		t.Error(err)
	}
}

func TestAVolumeThatIsNoDirectory(t *testing.T) {
	h := newHost(t)
	for _, p := range []hostpath.Path{"/srv/data/files/text", "/no/such"} {
		h.plan.Volumes = []handoff.Volume{{Name: "bad", Path: p, Seed: true}}
		if _, err := h.seed(t.Context()); err == nil || !strings.Contains(err.Error(), "bad") {
			t.Errorf("%s: %v", p, err)
		}
	}
}

func TestMissingBlobsAreSeen(t *testing.T) {
	h := newHost(t)
	seeds, _ := h.both(t)
	if why, err := seedstage.Missing(t.Context(), &h.env, seeds); err != nil || why != "" {
		t.Errorf("all there: %q, %v", why, err)
	}
	blobs, err := filepath.Glob(h.env.Workspace.Path(workspace.Seeds, "blobs/sha256/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs {
		if err := os.Rename(b, b+".away"); err != nil {
			t.Fatal(err)
		}
		if why, err := seedstage.Missing(t.Context(), &h.env, seeds); err != nil || why == "" {
			t.Errorf("without %s: %q, %v", filepath.Base(b), why, err)
		}
		if err := os.Rename(b+".away", b); err != nil {
			t.Fatal(err)
		}
	}
	// What Missing reports, another run of the stage makes good.
	if err := os.Remove(blobs[0]); err != nil {
		t.Fatal(err)
	}
	again, err := h.seed(t.Context())
	if err != nil || cmp.Diff(seeds, again) != "" {
		t.Errorf("made again: %v %s", err, cmp.Diff(seeds, again))
	}
}

// A blob that is damaged on the disk is found, named and removed, so that the
// next run makes it again.
func TestADamagedBlobIsMadeAgain(t *testing.T) {
	h := newHost(t)
	seeds, err := h.seed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(h.env.Workspace.Path(workspace.Seeds, "blobs/sha256/*"))
	if err != nil || len(blobs) < 10 {
		t.Fatalf("%d blobs, %v", len(blobs), err)
	}
	for _, name := range blobs[:10] {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(h.env.Workspace.Path(workspace.Volumes)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.deploy(t.Context(), seeds); !errors.Is(err, oci.ErrDamaged) || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Fatalf("%s: %v", filepath.Base(name), err)
		}
		if why, err := seedstage.Missing(t.Context(), &h.env, seeds); err != nil || !strings.Contains(why, filepath.Base(name)) {
			t.Errorf("missing: %q, %v", why, err)
		}
		again, err := h.seed(t.Context())
		if err != nil || cmp.Diff(seeds, again) != "" {
			t.Fatalf("made again: %v %s", err, cmp.Diff(seeds, again))
		}
		if why, err := seedstage.Missing(t.Context(), &h.env, seeds); err != nil || why != "" {
			t.Fatalf("after %s was made again: %q, %v", filepath.Base(name), why, err)
		}
	}
	if _, err := h.deploy(t.Context(), seeds); err != nil {
		t.Error(err)
	}
}
