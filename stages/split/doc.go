// Package split gives every path of the source one class, with the reason.
//
// Reads: the inventory, and the text of configuration through the source's root.
// Writes: claims and classes in inventory.db, and the hand-off split. Touches:
// the workspace only. Resumes: by starting again, since the classes are replaced
// in one transaction.
package split

import "github.com/statelift/statelift/pipeline"

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "split",
		Summary: "decides for every path where it goes, and says why",
		Effects: pipeline.Local,
		Resumes: "starts again; the old classes stay until the new ones are whole",
		Version: 1,
	}
}
