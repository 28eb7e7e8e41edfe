// Package workspace is the directory in which a lift happens: its layout, its
// lock and its version.
package workspace

import (
	"path/filepath"
)

// Workspace is the directory of one lift. Its parts, see the constants, are for
// the user; run/ is for statelift.
type Workspace struct {
	// Dir is absolute.
	Dir string
}

// The parts of a workspace.
const (
	Decisions = "statelift.yaml" // the user's own; read, never rewritten
	PlanFile  = "plan.yaml"
	Inventory = "inventory.db"
	Images    = "images"    // OCI image layout
	Seeds     = "seeds"     // OCI image layout with the seeds of the volumes
	Manifests = "manifests" // kustomization.yaml and one file per object
	Store     = "store"     // the default object store
	Volumes   = "volumes"   // a rehearsal's volumes
	Receipts  = "receipts"  // one JSON per copy, with its listing
	Rounds    = "rounds"    // per volume, what the next sync round starts from
	Changes   = "changes"   // what was written in the cluster before a way back
	Run       = "run"       // hand-offs, ledger, logs
	Unpacked  = "source"    // an archive's content
)

// Path joins elem to the workspace's directory.
func (w Workspace) Path(elem ...string) string {
	return filepath.Join(append([]string{w.Dir}, elem...)...)
}
