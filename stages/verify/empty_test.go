package verify_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/stages/images"
)

// A volume that starts empty has no seed and no receipt; it is looked at all the
// same.
func TestVolumeThatStartsEmpty(t *testing.T) {
	l := lift(t, images.Options{})
	spool := func() handoff.Check {
		v := l.verify(t)
		return v.Checks[slices.IndexFunc(v.Checks, func(c handoff.Check) bool { return c.Name == "spool" })]
	}
	if c := spool(); !c.OK || c.What != "volume" || c.Detail != "it starts empty, of 700:701 with mode 2750" {
		t.Fatalf("%+v", c)
	}
	for do, want := range map[string]string{
		"touch spool/new":                                "it starts empty and holds",
		"chown 1 spool; chmod 2750 spool":                "its owner is 1:701, not 700:701",
		"chgrp 1 spool; chmod 2750 spool":                "its owner is 700:1, not 700:701",
		"chmod 0755 spool":                               "its mode is",
		"rmdir spool":                                    "no such file",
		"rmdir spool; touch spool":                       "not a directory",
		"mv spool other; ln -s other spool":              "not a directory",
		"mkdir -p spool/deep; touch spool/deep/and-more": `holds "deep"`,
	} {
		cmd := exec.Command("sh", "-ec", do)
		cmd.Dir = l.env.Workspace.Path("volumes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", do, err, out)
		}
		if c := spool(); c.OK || !strings.Contains(c.Detail, want) {
			t.Errorf("after %s: %+v", do, c)
		}
		cmd = exec.Command("sh", "-ec", "rm -rf spool other; mkdir spool; chown 700:701 spool; chmod 2750 spool")
		cmd.Dir = l.env.Workspace.Path("volumes")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
}
