package report

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// ClassVolumes names the volumes that a StorageClass is for.
func (d *Document) ClassVolumes(c handoff.StorageClass) (out []string) {
	for _, v := range d.Plan.Volumes {
		if v.Class == c.Name || v.Class == "" && c.Default {
			out = append(out, v.Name)
		}
	}
	return out
}

// NodeKind stands for nodes that are the same but for their names.
type NodeKind struct {
	handoff.Node
	Count int
	Names string // the first of them
}

// NodeKinds groups the nodes of the cluster, in the order of their first names.
func (d *Document) NodeKinds() []NodeKind {
	const most = 3
	var out []NodeKind
	var names [][]string
	for _, n := range d.Target.Nodes {
		i := slices.IndexFunc(out, func(k NodeKind) bool {
			return k.Arch == n.Arch && k.OS == n.OS && k.CPU == n.CPU && k.Memory == n.Memory && k.Ready == n.Ready && slices.Equal(k.Taints, n.Taints)
		})
		if i < 0 {
			out, names = append(out, NodeKind{Node: n}), append(names, nil)
			i = len(out) - 1
		}
		out[i].Count++
		switch {
		case len(names[i]) < most:
			names[i] = append(names[i], n.Name)
		case len(names[i]) == most:
			names[i] = append(names[i], "…")
		}
		out[i].Names = strings.Join(names[i], ", ")
	}
	return out
}
