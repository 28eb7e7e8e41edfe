package install

import "github.com/statelift/statelift/pipeline/cluster"

// unwanted are things that this workspace made in the cluster and that the plan
// has no more.
func (r *run) unwanted() []cluster.Thing {
	wanted := map[cluster.Ref]bool{}
	for _, u := range r.objects.all() {
		wanted[cluster.RefOf(u)] = true
	}
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
	for _, t := range r.unwanted() {
		r.Log.Warn("it is there and no longer part of the plan; statelift clean --unwanted removes it", "object", t.String())
	}
}
