package profile

import (
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Rules is what is true of every host: where things are in its file system, what
// only a host needs, what maintainer scripts make, and which units are the
// host's own plumbing. It is read from templates/rules.
type Rules struct {
	Paths []Rule
	Units []UnitRule
}

// Rule is one claim about paths that hosts have.
type Rule struct {
	Name string `json:"name"` // unique in its file
	// Paths are trees, or what Reach says.
	Paths      []string         `json:"paths"`
	Reach      claim.Reach      `json:"reach,omitempty"`
	When       string           `json:"when,omitempty"` // see [claim.Condition]
	Class      claim.Class      `json:"class"`
	Reason     string           `json:"reason"`
	Confidence claim.Confidence `json:"confidence,omitempty"` // default high
	// Authority is default, package, host or safety; the file's own when empty.
	Authority string `json:"authority,omitempty"`

	File string          `json:"-"`
	Line strictyaml.Line `json:"-"`
}

// By is what claims of the rule say they are made by: "rule host/kernel".
func (r Rule) By() string { return "rule " + r.File + "/" + r.Name }

// Level is the rule's authority.
func (r Rule) Level() claim.Authority { return levels[r.Authority] }

var levels = map[string]claim.Authority{
	"default": claim.ByDefault, "package": claim.ByPackage, "host": claim.ByHost, "safety": claim.BySafety,
}

// UnitRule says that units, or jobs of packages, become no workload.
type UnitRule struct {
	Name   string   `json:"name"`
	Units  []string `json:"units,omitempty"` // globs of full names: ssh.service, getty@*.service
	Jobs   []string `json:"jobs,omitempty"`  // globs of files in cron's directories
	Reason string   `json:"reason"`

	File string          `json:"-"`
	Line strictyaml.Line `json:"-"`
}

// By names the rule: "rule units/ssh".
func (r UnitRule) By() string { return "rule " + r.File + "/" + r.Name }

// LeftOut finds the first rule that leaves out a unit of this full name.
func (r Rules) LeftOut(unit string) (UnitRule, bool) {
	return r.find(unit, func(rule UnitRule) []string { return rule.Units })
}

// LeftOutJob finds the first rule that leaves out the jobs of a file of this name
// that a package brought.
func (r Rules) LeftOutJob(file string) (UnitRule, bool) {
	return r.find(file, func(rule UnitRule) []string { return rule.Jobs })
}

func (r Rules) find(name string, patterns func(UnitRule) []string) (UnitRule, bool) {
	for _, rule := range r.Units {
		for _, pattern := range patterns(rule) {
			if matchName(pattern, name) {
				return rule, true
			}
		}
	}
	return UnitRule{}, false
}
