package stages_test

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/plan"
)

// The names by which the plan looks for collisions are those of the manifests.
func TestPlannedNamesAreThoseOfTheManifests(t *testing.T) {
	ws, src, p := planned(t, hosts.WordPress(t), "")
	manifests, err := writeManifests(t, &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: ws}, src, p)
	if err != nil {
		t.Fatal(err)
	}
	planned := map[handoff.Object]bool{}
	for _, o := range plan.Objects(p) {
		planned[o] = true
	}
	for _, f := range manifests.Files {
		o := handoff.Object{Kind: f.Kind, Name: f.Object}
		if f.Kind == "Namespace" || f.Kind == "Kustomization" {
			continue
		}
		if !planned[o] {
			t.Errorf("the plan does not know that %s %s is made", o.Kind, o.Name)
		}
		delete(planned, o)
	}
	for o := range planned {
		// Those are made when the seeds are there, and for the run.
		if !strings.Contains(o.Name, "-copy") && o.Name != p.ObjectName("carrier") {
			t.Errorf("%s %s is planned, and no manifest makes it", o.Kind, o.Name)
		}
	}
}

// planned runs the pipeline without a cluster up to the plan.
func planned(t *testing.T, host, text string) (ws workspace.Workspace, src handoff.Source, p handoff.Plan) {
	t.Helper()
	ws, err := lifted(t, filepath.Join(host, "root"), text, "plan", "")
	if err != nil {
		t.Fatal(err)
	}
	if src, err = pipeline.Read(ws, handoff.SourceKey); err != nil {
		t.Fatal(err)
	}
	if p, err = pipeline.Read(ws, handoff.PlanKey); err != nil {
		t.Fatal(err)
	}
	return ws, src, p
}
