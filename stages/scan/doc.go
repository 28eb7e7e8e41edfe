// Package scan makes the inventory of a host.
//
// Reads: the source's root, and nothing outside of it. Writes: inventory.db and
// the hand-off inventory. Touches: the workspace only. Resumes: by starting
// again, since a new inventory replaces the old one only when it is whole.
package scan

import "github.com/statelift/statelift/pipeline"

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "scan",
		Summary: "lists every path of the source, compares packaged files with their sums, and reads what the host says about itself",
		Effects: pipeline.Local,
		Resumes: "starts again; the old inventory stays until the new one is whole",
		Version: 1,
	}
}
