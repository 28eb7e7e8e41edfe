// Package layer writes layers of container images and proves them: tar streams
// in the layout of the OCI image specification (layer.md), compressed, from a
// plan that names every path in order. It knows nothing about registries.
//
// The same plan and the same content give the same bytes, on every machine:
// times of access and change, inode and device numbers and the names of users
// are not in a layer.
package layer

import (
	"encoding/json"
	"fmt"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Role says why a path is in a layer.
type Role string

// The roles.
const (
	Taken  Role = ""       // a path of the source of class image
	Parent Role = "parent" // a directory that leads to one, with its owner and mode, whatever its class
	Made   Role = "made"   // not of the source: its content, where it has one, is in Data
)

// Item is one path of a layer.
type Item struct {
	tree.Entry
	Role Role `json:"role,omitempty"`
	// Link makes this path a hard link to an earlier path of the layer, whatever it
	// is but a directory.
	Link hostpath.Path `json:"link,omitempty"`
	// Data is the content of a made regular file.
	Data []byte `json:"data,omitempty"`
	// Any says that content and size of a made file are not known here: the
	// plan was drawn without the source, to prove a layer.
	Any bool `json:"any,omitempty"`
}

// Bytes is the content that the item adds to its layer.
func (i Item) Bytes() int64 {
	if i.Type != tree.Regular || i.Link != "" {
		return 0
	}
	return i.Size
}

// line is an Item in a plan's file: JSON cannot hold a symlink's raw bytes.
type line struct {
	Item
	Target string `json:"target,omitempty"`
}

func (i Item) marshal() ([]byte, error) {
	return json.Marshal(line{Item: i, Target: hostpath.Quote(i.Target)})
}

func unmarshal(data []byte) (Item, error) {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return Item{}, err
	}
	target, err := hostpath.Unquote(l.Target)
	if err != nil {
		return Item{}, fmt.Errorf("target of %s: %w", l.Path, err)
	}
	l.Item.Target = target
	return l.Item, nil
}
