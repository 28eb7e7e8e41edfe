package imageset

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// The cases are those of the Kubernetes reference on dependent environment
// variables.
func TestEntrypointOutsideKubernetes(t *testing.T) {
	c := handoff.Container{
		Env: []handoff.Env{{Name: "PORT", Value: "8094"}, {Name: "EMPTY"}, {Name: "TOKEN", From: "set", Key: "TOKEN", Secret: true}},
		Command: []string{
			"/bin/d", "-l", ":$(PORT)", "[$(EMPTY)]", "$(TOKEN)", "$(UNKNOWN)", "$$(PORT)", "a$", "$(PORT", "$x$(PORT)$(PORT)", "sh -c 'echo $$1'",
		},
	}
	want := []string{
		"/bin/d", "-l", ":8094", "[]", "$(TOKEN)", "$(UNKNOWN)", "$(PORT)", "a$", "$(PORT", "$x80948094", "sh -c 'echo $1'",
	}
	if diff := cmp.Diff(want, Entrypoint(c)); diff != "" {
		t.Error(diff)
	}
}
