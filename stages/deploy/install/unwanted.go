package install

import (
	"strings"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/fence"
)

// unwanted are things that this workspace made in the cluster and that the plan
// has no more.
func (r *run) unwanted() []cluster.Thing {
	wanted := map[cluster.Ref]bool{}
	for _, u := range r.objects.all() {
		wanted[cluster.RefOf(u)] = true
	}
	wanted[cluster.Ref{APIVersion: "v1", Kind: "ConfigMap", Namespace: r.cluster.Namespace, Name: fence.ConfigMap(r.plan)}] = r.options.Hold
	var out []cluster.Thing
	for _, t := range r.made.All() {
		if t.Context == r.cluster.Context && !t.Brief && !wanted[t.Ref] {
			out = append(out, t)
		}
	}
	return out
}

// tellUnwanted says what stays though nobody wants it: removing is for clean.
func (r *run) tellUnwanted() {
	var names []string
	for _, t := range r.unwanted() {
		names = append(names, t.String())
	}
	if len(names) > 0 {
		r.Log.Warn("no longer part of the plan, and still there; statelift clean --unwanted removes it", "objects", strings.Join(names, ", "))
	}
}
