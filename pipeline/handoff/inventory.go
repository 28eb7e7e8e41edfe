package handoff

import (
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Inventory sums up inventory.db. Written by scan, read by split.
type Inventory struct {
	// Digest is the SHA-256 over all entries and facts of inventory.db.
	Digest     string                `json:"digest"`
	OS         facts.OS              `json:"os"`
	Entries    int64                 `json:"entries"`
	Files      int64                 `json:"files"`
	Bytes      int64                 `json:"bytes"`
	Packages   int                   `json:"packages"`
	Facts      map[facts.Kind]int    `json:"facts"`
	Mounts     []facts.Mount         `json:"mounts,omitempty"`
	Problems   []facts.Problem       `json:"problems,omitempty"`
	Unreadable []hostpath.Path       `json:"unreadable,omitempty"` // the first thousand
	States     map[string]StateTally `json:"states"`               // packaged files by catalog.State
}

// StateTally counts packaged files of one state.
type StateTally struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}
