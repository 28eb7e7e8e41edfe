package templates

import (
	"embed"
	"io/fs"
)

//go:embed drivers/*.yaml
var drivers embed.FS

// Drivers is the table of storage drivers, for cluster.LoadDrivers.
func Drivers() fs.FS {
	fsys, err := fs.Sub(drivers, "drivers")
	if err != nil {
		return failing{err} // go:embed has seen to the folder
	}
	return fsys
}
