// Package decisions is statelift.yaml: what the user decided about a lift. It is
// read strictly, never rewritten, and every entry knows its line, so that
// whatever follows from it can name it.
package decisions

import (
	"fmt"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Decisions is the whole file.
type Decisions struct {
	// Name of the host in what is made; a DNS label.
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Accept are unreadable paths that the user does without: a file, also one
	// whose content only cannot be read, or what cannot be listed or opened below
	// a directory.
	Accept []Accept `json:"accept,omitempty"`
	// Paths overrule the class of paths.
	Paths []Path `json:"paths,omitempty"`
	// Rules and Profiles switch off, or force, what is made of the host.
	Rules    Rules    `json:"rules,omitzero"`
	Profiles Profiles `json:"profiles,omitzero"`
	// Units are taken or left out by name.
	Units     []Unit            `json:"units,omitempty"`
	Workloads []Workload        `json:"workloads,omitempty"`
	Volumes   []Volume          `json:"volumes,omitempty"`
	Answers   map[string]string `json:"answers,omitempty"` // question → choice
	Images    Images            `json:"images,omitzero"`
	Host      Host              `json:"host,omitzero"`
	// Smoke are the checks that a lift ends with in a cluster.
	Smoke []Smoke `json:"smoke,omitempty"`

	// File is the name that evidence gives: statelift.yaml.
	File string `json:"-"`
}

// Accept is one path that may stay unread.
type Accept struct {
	Path   hostpath.Path   `json:"path"`
	Reason string          `json:"reason,omitempty"`
	Line   strictyaml.Line `json:"line,omitempty"`
}

// Path overrules the class of a path, of a tree, or of all paths that match.
type Path struct {
	Path   hostpath.Path   `json:"path"`
	Class  claim.Class     `json:"class"`
	Reason string          `json:"reason,omitempty"`
	Reach  claim.Reach     `json:"reach,omitempty"` // exact, tree, glob; when absent a path with * ? [ is a glob and others are trees
	Line   strictyaml.Line `json:"line,omitempty"`
}

// Rules switches rules off by the name that explain shows: host/kernel.
type Rules struct {
	Off  []string        `json:"off,omitempty"`
	Line strictyaml.Line `json:"line,omitempty"`
}

// Profiles switches profiles off, or names the one of a unit.
type Profiles struct {
	Off  []string          `json:"off,omitempty"`
	Use  map[string]string `json:"use,omitempty"` // unit → profile
	Line strictyaml.Line   `json:"line,omitempty"`
}

// Unit takes a unit that would be left out, or leaves it out. Exactly one of
// LeaveOut and Keep is true.
type Unit struct {
	Unit     string          `json:"unit"` // full name; cron:NAME for a cron job
	LeaveOut bool            `json:"leaveOut,omitempty"`
	Keep     bool            `json:"keep,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	Line     strictyaml.Line `json:"line,omitempty"`
}

// Workload names the units that one workload is made of.
type Workload struct {
	Name     string   `json:"name"`
	Units    []string `json:"units,omitempty"`
	Kind     string   `json:"kind,omitempty"` // StatefulSet, Deployment
	Replicas *int32   `json:"replicas,omitempty"`
	// Together makes the units containers of one Pod, Split gives each its own.
	Together bool `json:"together,omitempty"`
	Split    bool `json:"split,omitempty"`
	// Externalize says what of it lives outside the cluster's volumes: database or
	// objects.
	Externalize string `json:"externalize,omitempty"`
	// Server is where the database goes.
	Server Server `json:"server,omitzero"`
	// Directories are those whose files become objects; with ReadOnly the workload
	// cannot write there.
	Directories []hostpath.Path `json:"directories,omitempty"`
	ReadOnly    bool            `json:"readOnly,omitempty"`
	Line        strictyaml.Line `json:"line,omitempty"`
}

// Server is a database server outside the cluster.
type Server struct {
	Host string `json:"host,omitempty"` // a DNS name or an address
	Port int32  `json:"port,omitempty"` // by default the usual one
	// Databases are those that go there; none is all.
	Databases []string `json:"databases,omitempty"`
	// User may make databases and accounts there. Its password is in the
	// environment variable PasswordEnv, or in the file PasswordFile (absolute, of
	// mode 0600), where statelift runs.
	User         string `json:"user,omitempty"`
	PasswordEnv  string `json:"passwordEnv,omitempty"`
	PasswordFile string `json:"passwordFile,omitempty"`
	// TLS says how the dump travels there: disable, not encrypted; require,
	// encrypted; verify, encrypted to a server that proves by CAFile (absolute, PEM,
	// where statelift runs) that it is Host. Without it the engine's programs decide.
	TLS    string `json:"tls,omitempty"`
	CAFile string `json:"caFile,omitempty"`
}

// Volume adjusts the volume at a path.
type Volume struct {
	Path         hostpath.Path `json:"path"`
	Name         string        `json:"name,omitempty"`
	Size         Size          `json:"size,omitempty"` // 20Gi
	StorageClass string        `json:"storageClass,omitempty"`
	AccessMode   string        `json:"accessMode,omitempty"`
	Headroom     float64       `json:"headroom,omitempty"` // 0.5 is half as much again
	// Consistent says why the databases in it are taken consistently although they
	// were not stopped: snapshot, the source is a snapshot that the user vouches for.
	Consistent string          `json:"consistent,omitempty"`
	Line       strictyaml.Line `json:"line,omitempty"`
}

// Images says what images are called beside their digests. Where they are
// pushed to is for the command line alone, which grants it.
type Images struct {
	Tag    string            `json:"tag,omitempty"`    // in the registry
	Labels map[string]string `json:"labels,omitempty"` // of the image's config (OCI image-spec annotations.md)
	Line   strictyaml.Line   `json:"line,omitempty"`
}

// Host says what the plan cannot read from the source.
type Host struct {
	Addresses []string        `json:"addresses,omitempty"` // the host's own, to be found in configuration
	Names     []string        `json:"names,omitempty"`
	TimeZone  string          `json:"timeZone,omitempty"`
	Line      strictyaml.Line `json:"line,omitempty"`
}

// At is how evidence names a line of the file: "statelift.yaml:12".
func (d Decisions) At(line strictyaml.Line) string { return fmt.Sprintf("%s:%d", d.File, line) }

// SplitPart is what decides about classes: the split is fresh as long as it is
// the same. Lines are part of it, since claims name them.
type SplitPart struct {
	File        string   `json:"file"`
	Accept      []Accept `json:"accept,omitempty"`
	Paths       []Path   `json:"paths,omitempty"`
	RulesOff    []string `json:"rulesOff,omitempty"`
	ProfilesOff []string `json:"profilesOff,omitempty"`
	Use         []Use    `json:"use,omitempty"`
	Units       []Unit   `json:"units,omitempty"`
}

// PlanPart is what decides about workloads, volumes and names: the plan is fresh
// as long as it and the split are the same.
type PlanPart struct {
	File        string            `json:"file"`
	Name        string            `json:"name,omitempty"`
	Namespace   string            `json:"namespace,omitempty"`
	RulesOff    []string          `json:"rulesOff,omitempty"`
	ProfilesOff []string          `json:"profilesOff,omitempty"`
	Use         []Use             `json:"use,omitempty"`
	Units       []Unit            `json:"units,omitempty"`
	Workloads   []Workload        `json:"workloads,omitempty"`
	Volumes     []Volume          `json:"volumes,omitempty"`
	Answers     map[string]string `json:"answers,omitempty"`
	Host        Host              `json:"host,omitzero"`
	Smoke       []Smoke           `json:"smoke,omitempty"`
}

// Use is one entry of Profiles.Use.
type Use struct {
	Unit    string `json:"unit"`
	Profile string `json:"profile"`
}
