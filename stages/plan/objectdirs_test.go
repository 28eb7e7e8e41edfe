package plan

import (
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// TestObjectsOfAllTypes: what Pods fetch as objects is brought whole; a device blocks.
func TestObjectsOfAllTypes(t *testing.T) {
	for node, says := range map[tree.Type]string{
		tree.FIFO: "", tree.Socket: "",
		tree.Char:  "statelift.yaml:3: workload site: /srv/media/odd is a device",
		tree.Block: "statelift.yaml:3: workload site: /srv/media/odd is a device",
	} {
		h := blog(t)
		h.decisions.Workloads = []decisions.Workload{{Name: "site", Units: []string{"apache2.service"}, Externalize: decisions.Objects, Directories: []hostpath.Path{"/srv/media"}, Line: 3}}
		h.items = append(h.items,
			item{path: "/srv/media", class: claim.Object, mode: 0o755},
			item{path: "/srv/media/film", class: claim.Object, mode: 0o644, content: "x"},
			item{path: "/srv/media/odd", class: claim.Object, mode: 0o644, node: node},
		)
		_, _, err := h.plan(t)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", node, err, says)
		}
	}
}
