package profile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Backup is how the application's own means copy its data consistently while it
// runs, see package hotbackup, which documents what the command is given and what it
// prints.
type Backup struct {
	// Tool makes the copy, for people; "" for an application that has none.
	Tool string `json:"tool,omitempty"`
	// Package says which package to install where the tool is missing, for people.
	Package string   `json:"package,omitempty"`
	Command []string `json:"command,omitempty"` // looks, and makes the copy
	// Without are files of the server's own that no copy has: they are left out, and
	// named. What else the copy lacks comes from the live directory.
	Without []Omission `json:"without,omitempty"`
}

// Omission is what a copy does not have.
type Omission struct {
	Paths  []string `json:"paths"` // globs below a directory of the database, see [claim.MatchGlob]
	Reason string   `json:"reason"`
}

// Omitted says why a path of the live directory, relative to it, is in no copy; ""
// when it ought to be taken along.
func (b Backup) Omitted(p hostpath.Path) string {
	for _, o := range b.Without {
		for _, g := range o.Paths {
			if claim.MatchGlob(hostpath.Path("/"+g), p) {
				return o.Reason
			}
		}
	}
	return ""
}

func (b Backup) validate() error {
	var faults []error
	if whole := b.Package != "" && len(b.Command) > 0; (b.Tool != "") != whole || b.Tool == "" && len(b.Without) > 0 {
		faults = append(faults, errors.New("backup: tool, package and command belong together"))
	}
	for _, o := range b.Without {
		if o.Reason == "" || len(o.Paths) == 0 {
			faults = append(faults, errors.New("backup.without: paths and a reason are wanted"))
		}
		for _, g := range o.Paths {
			if g == "" || strings.HasPrefix(g, "/") || claim.CheckGlob(hostpath.Path("/"+g)) != nil {
				faults = append(faults, fmt.Errorf("backup.without: %q is no glob below a directory", g))
			}
		}
	}
	return errors.Join(faults...)
}
