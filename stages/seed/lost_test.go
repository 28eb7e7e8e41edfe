package seed_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/seed"
)

func TestADeltaThatIsLostIsDropped(t *testing.T) {
	source := hosttest.Legacy(t)
	env := hosttest.Env(t, t.TempDir())
	hosttest.Inventory(t, env, source, hosttest.LegacyPlace, hosttest.LegacyPackages...)
	plan := hosttest.LegacyPlan()
	run := func() {
		t.Helper()
		if _, err := seed.New(seed.Options{Hold: true}).Run(t.Context(), env, plan, handoff.Source{Kind: "directory", Root: source}); err != nil {
			t.Fatal(err)
		}
	}
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	run()
	var v handoff.Volume
	for _, v = range plan.Volumes {
		if v.Seed {
			break
		}
	}
	ok(os.WriteFile(filepath.Join(source, string(v.Path), "since"), []byte("since the scan"), 0o600))
	root, err := rootfs.Open(source)
	ok(err)
	defer root.Close()
	layout, err := oci.Create(env.Workspace.Path(workspace.Seeds))
	ok(err)
	rounds := env.Workspace.Path(workspace.Rounds, v.Name)
	made, err := delta.Make(t.Context(), delta.MakeOptions{
		Volume: v.Name, Root: hostpath.Path(v.Path), Source: root, Dir: rounds, Layout: layout, Workers: 1,
	})
	ok(err)
	ok(made.Confirm())
	deltas := func() int {
		t.Helper()
		base, err := delta.ReadBase(rounds)
		ok(err)
		return len(base.Deltas)
	}
	run()
	if n := deltas(); n != 1 {
		t.Errorf("a delta that is there is kept %d times", n)
	}
	hex, err := made.Delta.Digest.Hex()
	ok(err)
	ok(os.Remove(env.Workspace.Path(workspace.Seeds, "blobs", "sha256", hex)))
	run()
	if n := deltas(); n != 0 {
		t.Errorf("%d deltas are kept, and the blob is lost", n)
	}
}
