package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Objects are the objects that the plan becomes, as far as others could have
// them already. The name of a copy's Job ends in a digest that is known when the
// seed is; here it ends in "-".
func Objects(pl handoff.Plan) []handoff.Object {
	var out []handoff.Object
	add := func(kind, name string) { out = append(out, handoff.Object{Kind: kind, Name: name}) }
	for _, f := range pl.Configs {
		add("ConfigMap", pl.ObjectName(f.Name))
	}
	for _, f := range pl.Secrets {
		add("Secret", pl.ObjectName(f.Name))
	}
	copies := false
	for _, v := range pl.Volumes {
		add("PersistentVolumeClaim", pl.ObjectName(v.Name))
		if v.Seed {
			copies = true
			add("Job", pl.ObjectName("copy-"+v.Name)+"-")
			add("NetworkPolicy", pl.ObjectName("copy-"+v.Name))
		}
	}
	if copies {
		add("ServiceAccount", pl.ObjectName("copy"))
		add("Secret", pl.ObjectName("carrier"))
	}
	for _, s := range pl.Shares {
		if mounted(s) {
			add("PersistentVolume", pl.ClusterName(s.Name))
			add("PersistentVolumeClaim", pl.ObjectName(s.Name))
		}
	}
	for _, w := range pl.Workloads {
		name := pl.ObjectName(w.Name)
		if w.External != nil {
			for _, kind := range []string{"ServiceAccount", "Service", "EndpointSlice"} {
				add(kind, name)
			}
			add("Secret", name+"-connection")
			continue
		}
		add(string(w.Kind), name)
		add("ServiceAccount", name)
		add("NetworkPolicy", name)
		if w.Kind == handoff.StatefulSet {
			add("Service", name+"-pods")
		}
		if len(w.Service) > 0 {
			add("Service", name)
		}
	}
	slices.SortFunc(out, func(a, b handoff.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(out)
}

// names are those that others have already.
func (j *judge) names() {
	wanted := Objects(j.plan)
	var taken []handoff.Object
	for _, have := range j.target.Existing {
		if slices.ContainsFunc(wanted, func(w handoff.Object) bool { return collide(w, have) }) {
			taken = append(taken, have)
		}
	}
	if len(taken) == 0 {
		return
	}
	var list, remove []string
	for _, o := range taken {
		text := o.Kind + " " + o.Name
		if o.Owner != "" {
			text += " (" + o.Owner + ")"
		}
		list = append(list, text)
		remove = append(remove, strings.ToLower(o.Kind)+"/"+o.Name)
	}
	const most = 12
	if n := len(list) - most; n > 0 {
		list = append(list[:most], fmt.Sprintf("and %d more", n))
	}
	choices := []string{
		fmt.Sprintf("give the lift another name: name: %s-2 in statelift.yaml", j.plan.Name), elsewhere,
	}
	if len(remove) <= most {
		choices = append(choices, fmt.Sprintf("remove them, if nobody needs them: kubectl -n %s delete %s", j.target.Namespace, strings.Join(remove, " ")))
	}
	j.block("object", fmt.Sprintf("%s has objects already that the lift would make, and they are not of this workspace: %s", j.where(), strings.Join(list, ", ")), choices...)
}

func collide(wanted, have handoff.Object) bool {
	if wanted.Kind != have.Kind {
		return false
	}
	if wanted.Kind == "Job" {
		digest, ok := strings.CutPrefix(have.Name, wanted.Name)
		return ok && !strings.Contains(digest, "-")
	}
	return wanted.Name == have.Name
}
