package profile_test

import (
	"testing"

	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/templates"
)

// What is shipped can be read.
func TestShipped(t *testing.T) {
	if _, err := profile.Load(templates.Profiles()); err != nil {
		t.Error(err)
	}
	if _, err := profile.LoadRules(templates.Rules()); err != nil {
		t.Error(err)
	}
}
