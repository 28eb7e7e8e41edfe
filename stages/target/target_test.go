//go:build e2e

package target

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/templates"
)

func environment(t *testing.T) *pipeline.Env {
	t.Helper()
	env := &pipeline.Env{Workspace: workspace.Workspace{Dir: t.TempDir()}}
	if err := os.Mkdir(env.Workspace.Path(workspace.Run), 0o700); err != nil {
		t.Fatal(err)
	}
	return env
}

// A rehearsal asks nobody, and makes nothing in the workspace.
func TestRehearsal(t *testing.T) {
	env := environment(t)
	t.Setenv("KUBECONFIG", "/nonexistent")
	got, err := New(Options{Namespace: "n"}, fstest.MapFS{}).Run(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(handoff.Target{}, got); diff != "" {
		t.Error(diff)
	}
	if list, err := os.ReadDir(env.Workspace.Path(workspace.Run)); err != nil || len(list) > 0 {
		t.Errorf("in run/: %v, %v", list, err)
	}
}

// Each run looks again, and says what is not as it was.
func TestRecheck(t *testing.T) {
	bed := bedtest.Open(t)
	ns := bed.Namespace(t)
	env := environment(t)
	s := New(Options{Context: bed.Context, Namespace: ns}, templates.Drivers())
	was, err := s.Run(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	// recheck tells what is not as it was. Other tests may have classes of their
	// own made at the same time.
	recheck := func() string {
		t.Helper()
		stale, err := s.Recheck(t.Context(), env, was)
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(strings.TrimPrefix(stale, "the cluster is not as it was: "), ", ")
		return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "storageClasses" }), ", ")
	}
	if stale := recheck(); stale != "" {
		t.Errorf("nothing changed: %s", stale)
	}
	bed.Run(t, "create", "configmap", "new", "-n", ns)
	bed.Run(t, "label", "namespace", ns, "pod-security.kubernetes.io/enforce=restricted")
	if got := recheck(); got != "existing, podSecurity" {
		t.Errorf("it is not as it was: %q", got)
	}
}

// A context that is not there is bad input.
func TestNoContext(t *testing.T) {
	bed := bedtest.Open(t)
	_, err := New(Options{Context: "elsewhere"}, templates.Drivers()).Run(t.Context(), environment(t))
	if err == nil || !strings.Contains(err.Error(), `there is no context "elsewhere"`) || !strings.Contains(err.Error(), "there are: "+bed.Context) {
		t.Errorf("error %v", err)
	}
}
