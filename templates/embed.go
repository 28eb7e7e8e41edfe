// Package templates is what statelift knows and says as data: application
// profiles and the rules for hosts.
package templates

import (
	"embed"
	"fmt"
	"io/fs"
)

//go:embed profiles/*.yaml rules/*.yaml
var files embed.FS

// Profiles is the folder of application profiles, for profile.Load.
func Profiles() fs.FS { return sub("profiles") }

// Rules is the folder of the rules for hosts, for profile.LoadRules.
func Rules() fs.FS { return sub("rules") }

// sub cannot fail: go:embed has seen to the folder.
func sub(dir string) fs.FS {
	fsys, err := fs.Sub(files, dir)
	if err != nil {
		return failing{fmt.Errorf("embedded %s: %w", dir, err)}
	}
	return fsys
}

type failing struct{ err error }

func (f failing) Open(string) (fs.File, error) { return nil, f.err }
