package handoff

import "github.com/statelift/statelift/pipeline/hostpath"

// Database is a directory of a volume whose files are a copy only when they were
// taken consistently.
type Database struct {
	Volume  string        `json:"volume"`
	Root    hostpath.Path `json:"root"` // of the volume, on the source
	Path    hostpath.Path `json:"path"` // on the source
	Engine  string        `json:"engine"`
	Profile string        `json:"profile"`
	Unit    string        `json:"unit"` // what runs it on the source
	// Consistent is snapshot when the user vouches that the source is one, "" for no
	// way to take it consistently unless it was stopped.
	Consistent string `json:"consistent,omitempty"`
	// State is what its files said when the plan was made: clean, unclean, live,
	// unknown; Why says it for people.
	State string `json:"state"`
	Why   string `json:"why"`
}
