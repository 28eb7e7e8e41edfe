package handoff

import (
	"testing"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// What changed while it was read is not called unreadable.
func TestNotTaken(t *testing.T) {
	s := Split{Unreadable: []hostpath.Path{"/a", "/b", "/.wh.c"}, Changed: []hostpath.Path{"/b"}, Whiteouts: []hostpath.Path{"/.wh.c"}}
	for path, want := range map[hostpath.Path]string{
		"/a":     "/a could not be read and is not accepted in statelift.yaml",
		"/b":     "/b changed while it was scanned, and is not accepted in statelift.yaml: run again when it is at rest",
		"/.wh.c": "/.wh.c can be in no image, where a name that begins with .wh. deletes: give it another class or accept it in statelift.yaml",
	} {
		if got := s.NotTaken(path, "statelift.yaml"); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
