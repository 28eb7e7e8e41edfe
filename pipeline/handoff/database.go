package handoff

import (
	"fmt"
	"time"

	"github.com/statelift/statelift/pipeline/hostpath"
)

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
	// Backup is the tool that its profile has to copy it while it runs, "" for none.
	Backup string `json:"backup,omitempty"`
	// State is what its files said when the plan was made: clean, unclean, live,
	// unknown; Why says it for people.
	State string `json:"state"`
	Why   string `json:"why"`
}

// Backup is a copy of a database that its own means made while it ran, in the place
// of the live directory. Written by seed.
type Backup struct {
	Volume  string        `json:"volume"` // the first of those that the copy went to
	Path    hostpath.Path `json:"path"`   // of the database, on the source
	Engine  string        `json:"engine"`
	Tool    string        `json:"tool"`
	Began   time.Time     `json:"began"` // what was acknowledged before is in the copy
	Ended   time.Time     `json:"ended"`
	Why     string        `json:"why"`     // what its files say
	Account BackupAccount `json:"account"` // of the copy and the live directories
}

// Text says how the database was taken, for people.
func (b Backup) Text() string {
	return fmt.Sprintf("taken by %s while it ran, from %s to %s", b.Tool, b.Began.Format(time.RFC3339), b.Ended.Format(time.RFC3339))
}

// BackupAccount has every path of the live directories, as the scan saw them, and of
// the copy: Scanned is the sum of Replaced, Kept, Left and Gone; in the seed are
// Replaced, Kept and Made.
type BackupAccount struct {
	Scanned  int64 `json:"scanned"`
	Replaced int64 `json:"replaced"` // the copy has them, too
	Kept     int64 `json:"kept"`     // taken from the live directory: files that are not the engine's
	Left     int64 `json:"left"`     // the engine's own, which no copy has
	Gone     int64 `json:"gone"`     // not there any more
	Made     int64 `json:"made"`     // in the copy only: made since the scan, or by the tool
	// Omitted names what Left and Gone count, the first thousand.
	Omitted []Omitted `json:"omitted,omitempty"`
}

// Omitted is a path of the scan that is in no copy, and why.
type Omitted struct {
	Path  hostpath.Path `json:"path"`
	Bytes int64         `json:"bytes,omitempty"`
	Why   string        `json:"why"`
}
