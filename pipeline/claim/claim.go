// Package claim says where a path goes, and why.
package claim

import (
	"fmt"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Class is where a path goes. Every path has exactly one.
type Class string

// The classes, in the order in which balances list them.
const (
	Image      Class = "image"      // a layer of a container image
	Config     Class = "config"     // a ConfigMap
	Secret     Class = "secret"     // a Secret
	Volume     Class = "volume"     // a PersistentVolume, filled by a seed
	Object     Class = "object"     // an object store
	Share      Class = "share"      // the existing network share; no data moves
	Ephemeral  Class = "ephemeral"  // an emptyDir
	Drop       Class = "drop"       // nothing: only a host needs it
	Unreadable Class = "unreadable" // listed; blocks success until accepted by name
)

// Classes lists all classes in their order.
func Classes() []Class {
	return []Class{Image, Config, Secret, Volume, Object, Share, Ephemeral, Drop, Unreadable}
}

// UnmarshalText refuses what is no class. An empty text is no class yet: a
// total, or a path that was not placed.
func (c *Class) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = ""
		return nil
	}
	for _, k := range Classes() {
		if string(text) == string(k) {
			*c = k
			return nil
		}
	}
	return fmt.Errorf("unknown class %q (one of %v)", text, Classes())
}

// Confidence is how sure a claim is.
type Confidence string

// Low is shown to the user under "please look".
const (
	High   Confidence = "high"
	Medium Confidence = "medium"
	Low    Confidence = "low"
)

// Evidence is where a claim was read: a line of a file of the host (Line 0 is
// the whole file), or a fact of the inventory in words.
type Evidence struct {
	Path hostpath.Path `json:"path,omitempty"`
	Line int           `json:"line,omitempty"`
	Fact string        `json:"fact,omitempty"`
}

// String is path:line, with the fact behind it.
func (e Evidence) String() string {
	s := ""
	if e.Path != "" {
		s = e.Path.String()
		if e.Line > 0 {
			s = fmt.Sprintf("%s:%d", s, e.Line)
		}
	}
	switch {
	case e.Fact == "":
		return s
	case s == "":
		return e.Fact
	}
	return s + " (" + e.Fact + ")"
}

// Reach says which paths a claim speaks of.
type Reach string

// A claim reaches one path, a directory with everything below it, or the paths
// that match a glob (path.Match for each element, ** for any number of them).
const (
	Exact Reach = "exact"
	Tree  Reach = "tree"
	Glob  Reach = "glob"
	// Every is for claims whose condition is not a path (an unmodified file of
	// a package, a socket): Path is "/", and the evidence says the condition.
	Every Reach = "every"
)

// Authority orders claims: the higher one wins, whatever the paths.
type Authority int

// From the weakest to the strongest. Within one authority the deeper path wins,
// then Exact before Glob before Tree, then the earlier claim.
const (
	ByNobody  Authority = 5  // nobody else speaks of the path
	ByDefault Authority = 10 // what is assumed of a place of the file system hierarchy
	ByPackage Authority = 20 // what the package manager knows
	ByHost    Authority = 30 // what only a host needs
	ByUnit    Authority = 40 // directives of units, scripts, cron jobs
	ByProfile Authority = 50 // application profiles and what configuration names
	BySafety  Authority = 60 // credentials, sockets, devices: no profile overrules these
	ByMount   Authority = 65 // below a volume's root, where the mount hides what the image has
	ByUser    Authority = 70 // statelift.yaml
	ByNature  Authority = 80 // unreadable, other file systems: nobody can decide otherwise
)

// String names the authority as reports do.
func (a Authority) String() string {
	switch a {
	case ByNobody:
		return "no claim"
	case ByDefault:
		return "the place in the file system"
	case ByPackage:
		return "the package manager"
	case ByHost:
		return "what only a host needs"
	case ByUnit:
		return "the service's own directive"
	case ByProfile:
		return "the application's profile"
	case BySafety:
		return "safety"
	case ByMount:
		return "the volume's mount"
	case ByUser:
		return "the user's decision"
	case ByNature:
		return "the nature of the path"
	}
	return fmt.Sprintf("authority %d", int(a))
}

// Claim is one statement "this path is of class C, because R".
type Claim struct {
	ID    int64         `json:"id"`
	Class Class         `json:"class"`
	Reach Reach         `json:"reach"`
	Path  hostpath.Path `json:"path"` // for Glob, the pattern
	// When narrows the claim to paths of which it is true, see [Condition].
	When       string     `json:"when,omitempty"`
	Reason     string     `json:"reason"`
	Evidence   []Evidence `json:"evidence,omitempty"`
	Confidence Confidence `json:"confidence"`
	By         string     `json:"by"` // "profile mariadb", "rule host/kernel", "statelift.yaml:12"
	Authority  Authority  `json:"authority"`
	// Serves is the unit that the path belongs to, "" when none is known.
	Serves string `json:"serves,omitempty"`
}
