package images_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/stages/images"
)

// lift runs the stage over root in a fresh workspace.
func lift(t testing.TB, root string, o images.Options) (*pipeline.Env, handoff.Images, error) {
	t.Helper()
	env := hosttest.Env(t, t.TempDir())
	hosttest.Inventory(t, env, root, hosttest.LegacyPlace, hosttest.LegacyPackages...)
	out, err := again(t, env, root, o)
	return env, out, err
}

func again(t testing.TB, env *pipeline.Env, root string, o images.Options) (handoff.Images, error) {
	t.Helper()
	return images.New(o).Run(t.Context(), env, handoff.Source{Kind: "directory", Root: root}, handoff.Split{}, hosttest.LegacyPlan())
}

func mustLift(t testing.TB, root string, o images.Options) (*pipeline.Env, handoff.Images) {
	t.Helper()
	env, out, err := lift(t, root, o)
	if err != nil {
		t.Fatal(err)
	}
	return env, out
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
