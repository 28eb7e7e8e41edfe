package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// fitTarget judges whether the cluster can serve the plan. In a rehearsal there
// is nothing to judge.
func (p *planner) fitTarget() {
	if p.target.Context == "" {
		return
	}
	p.plan.CopierArch = p.copierArch
	p.pin()
	p.plan.Risks = append(p.plan.Risks, targetRisks(p.plan, p.target)...)
	p.plan.Blocks = Blocks(p.plan, p.target)
}

// Blocks are why the target cannot serve the plan, with the choices. It decides
// by the two alone; in a rehearsal there are none.
func Blocks(pl handoff.Plan, t handoff.Target) []handoff.Block {
	if t.Context == "" {
		return nil
	}
	j := &judge{plan: pl, target: t}
	j.permissions()
	j.namespace()
	j.names()
	j.classes()
	j.access()
	j.owners()
	j.claimSizes()
	j.shares()
	j.architecture()
	j.copierArchitecture()
	j.nodes()
	j.containerSizes()
	j.quotas()
	j.security()
	return j.blocks
}

// judge compares one plan with one target.
type judge struct {
	plan   handoff.Plan
	target handoff.Target
	blocks []handoff.Block
}

func (j *judge) block(about, text string, choices ...string) {
	j.blocks = append(j.blocks, handoff.Block{About: about, Text: text, Choices: choices})
}

// lacks reports whether the permission is missing.
func (j *judge) lacks(verb, resource string) bool {
	return slices.ContainsFunc(j.target.Missing, func(m handoff.Permission) bool { return m.Verb == verb && m.Resource == resource })
}

// needed are the missing permissions that this plan cannot do without.
func (j *judge) needed() []handoff.Permission {
	return slices.DeleteFunc(slices.Clone(j.target.Missing), func(m handoff.Permission) bool {
		if !m.Optional {
			return false
		}
		switch m.Resource {
		case "persistentvolumes":
			return !slices.ContainsFunc(j.plan.Shares, mounted)
		case "pods/portforward":
			return !slices.ContainsFunc(j.plan.Smoke, func(s handoff.Smoke) bool { return s.HTTP != nil })
		case "pods/exec":
			return !slices.ContainsFunc(j.plan.Smoke, func(s handoff.Smoke) bool { return s.Exec != nil }) &&
				!slices.ContainsFunc(j.plan.Volumes, func(v handoff.Volume) bool { return len(v.Check) > 0 })
		}
		return true
	})
}

// mounted reports whether a share becomes a PersistentVolume.
func mounted(s handoff.Share) bool { return s.Mounted() }

// permissions names everything that is missing, and the rules that grant it.
func (j *judge) permissions() {
	missing := j.needed()
	if len(missing) == 0 {
		return
	}
	type key struct{ namespace, group, resource string }
	verbs, why := map[key][]string{}, map[key]string{}
	var order []key
	for _, m := range missing {
		k := key{m.Namespace, m.Group, m.Resource}
		if verbs[k] == nil {
			order = append(order, k)
		}
		verbs[k], why[k] = append(verbs[k], m.Verb), m.For
	}
	var text, inNamespace, inCluster []string
	for _, k := range order {
		name := k.resource
		if k.group != "" {
			name += "." + k.group
		}
		text = append(text, fmt.Sprintf("%s %s (%s)", strings.Join(verbs[k], ", "), name, why[k]))
		rule := fmt.Sprintf("{apiGroups: [%q], resources: [%q], verbs: [%s]}", k.group, k.resource, strings.Join(verbs[k], ", "))
		if k.namespace == "" {
			inCluster = append(inCluster, rule)
		} else {
			inNamespace = append(inNamespace, rule)
		}
	}
	var choices []string
	if len(inNamespace) > 0 {
		choices = append(choices, fmt.Sprintf("have a Role in namespace %s granted with rules: [%s]", j.target.Namespace, strings.Join(inNamespace, ", ")))
	}
	if len(inCluster) > 0 {
		choices = append(choices, fmt.Sprintf("have a ClusterRole granted with rules: [%s]", strings.Join(inCluster, ", ")))
	}
	choices = append(choices, "use a context whose user may do that: --context")
	j.block("permission", fmt.Sprintf("in %s you may not: %s", j.where(), strings.Join(text, "; ")), choices...)
}

// where is the namespace as people name it.
func (j *judge) where() string { return "namespace " + j.target.Namespace }

const elsewhere = "lift into another namespace: --namespace"

func (j *judge) namespace() {
	if j.target.NamespaceLeaving {
		j.block("object", j.where()+" is being deleted, and nothing can be made in it", "wait until it is gone: kubectl wait --for=delete namespace/"+j.target.Namespace+" --timeout=5m", elsewhere)
	}
}

// classOf is what the cluster offers for the volume; known is false when the
// classes could not be listed, or the cluster has no such class.
func (j *judge) classOf(v handoff.Volume) (class handoff.StorageClass, known bool) {
	i := slices.IndexFunc(j.target.StorageClasses, func(c handoff.StorageClass) bool {
		return v.Class != "" && c.Name == v.Class || v.Class == "" && c.Default
	})
	if i < 0 {
		return handoff.StorageClass{}, false
	}
	return j.target.StorageClasses[i], true
}

// serves reports whether volumes of the class are known to have the mode.
func serves(c handoff.StorageClass, mode string) bool { return slices.Contains(c.AccessModes, mode) }

// decide is a line for statelift.yaml about a volume.
func decide(v handoff.Volume, what ...string) string {
	return fmt.Sprintf("volumes: [{path: %s, %s}]", yamlText(v.Path.String()), strings.Join(what, ", "))
}

// decideWorkload is a line for statelift.yaml about a workload.
func decideWorkload(w handoff.Workload, what string) string {
	var units []string
	for _, c := range w.Containers {
		units = append(units, yamlText(c.Unit))
	}
	return fmt.Sprintf("workloads: [{name: %s, units: [%s], %s}]", w.Name, strings.Join(units, ", "), what)
}

// yamlText is a text as a value within a flow of YAML.
func yamlText(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-@", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}
