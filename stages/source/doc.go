// Package source finds out what is lifted and makes it readable as a directory.
//
// Reads: what the user named: a live root, a directory, an archive here or
// behind a URL. Writes: the hand-off source, and source/ in the workspace for an
// archive. Touches: the workspace only. Resumes: by the download and by the
// unpacked tree, which is there whole or not at all.
package source

import "github.com/statelift/statelift/pipeline"

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "source",
		Summary: "opens the live root, the directory or the archive that is lifted",
		Effects: pipeline.Local,
		Resumes: "goes on with a download, and unpacks again what was not unpacked whole",
		Version: 1,
	}
}
