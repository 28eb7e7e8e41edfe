package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// box is what a container asks for, in millicores and bytes; 0 is nothing.
type box struct {
	name               string
	cpu, memory        int64 // requests
	cpuLimit, memLimit int64
}

// boxes are the containers of one Pod.
type boxes struct {
	name  string // of the workload, or of the copy
	run   []box  // at the same time
	first []box  // before them, one after the other
	// copies is true of the Pod that fills a volume.
	copies bool
}

func boxOf(name string, r handoff.Resources) box {
	return box{name: name, cpu: r.CPU, memory: r.Memory, memLimit: r.MemoryLimit}
}

func workloadBoxes(pl handoff.Plan, w handoff.Workload) boxes {
	out := boxes{name: w.Name}
	if prepares(pl, w) {
		out.first = append(out.first, boxOf("prepare", handoff.PrepareResources()))
	}
	for _, c := range w.Containers {
		out.run = append(out.run, boxOf(c.Name, c.Resources))
	}
	return out
}

func copyBoxes() boxes {
	return boxes{name: "a copy Job", copies: true, run: []box{boxOf("copy", handoff.CopyResources())}}
}

// with is a container as the LimitRanges complete it.
func (b box) with(limits []handoff.Limit) box {
	for _, l := range limits {
		if l.Type != "Container" {
			continue
		}
		fill := func(limit, request *int64) {
			if *limit == 0 {
				*limit = l.Default
			}
			if *request == 0 {
				*request = max(l.Request, 0)
			}
		}
		switch l.Resource {
		case "cpu":
			fill(&b.cpuLimit, &b.cpu)
		case "memory":
			fill(&b.memLimit, &b.memory)
		}
	}
	return b
}

// amounts are what a Pod asks for, by the names of quotas.
func (p boxes) amounts(limits []handoff.Limit) map[string]int64 {
	out := map[string]int64{"pods": 1, "count/pods": 1}
	for _, b := range p.run {
		b = b.with(limits)
		out["requests.cpu"] += b.cpu
		out["requests.memory"] += b.memory
		out["limits.cpu"] += b.cpuLimit
		out["limits.memory"] += b.memLimit
	}
	for _, b := range p.first {
		b = b.with(limits)
		out["requests.cpu"] = max(out["requests.cpu"], b.cpu)
		out["requests.memory"] = max(out["requests.memory"], b.memory)
		out["limits.cpu"] = max(out["limits.cpu"], b.cpuLimit)
		out["limits.memory"] = max(out["limits.memory"], b.memLimit)
	}
	return out
}

// pods are all Pods of the plan: services, jobs, and the copy when there is one.
func (j *judge) pods() (services, jobs []handoff.Workload, copies bool) {
	for _, w := range j.plan.Workloads {
		if w.Kind == handoff.CronJob {
			jobs = append(jobs, w)
		} else {
			services = append(services, w)
		}
	}
	return services, jobs, slices.ContainsFunc(j.plan.Volumes, func(v handoff.Volume) bool { return v.Seed })
}

// allBoxes are the shapes of all Pods.
func (j *judge) allBoxes() (out []boxes) {
	services, jobs, copies := j.pods()
	for _, w := range slices.Concat(services, jobs) {
		out = append(out, workloadBoxes(j.plan, w))
	}
	if copies {
		out = append(out, copyBoxes())
	}
	return out
}

// usable are the nodes that take ordinary Pods and of which fits holds.
func (j *judge) usable(fits func(handoff.Node) bool) (out []handoff.Node) {
	for _, n := range j.target.Nodes {
		if n.Ready && len(n.Taints) == 0 && fits(n) {
			out = append(out, n)
		}
	}
	return out
}

// runs reports whether the node runs the host's programs at all.
func (j *judge) runs(n handoff.Node) bool {
	return isFor(n, j.plan.Host.Architecture)
}

// copies reports whether the node runs the program that fills volumes.
func (j *judge) copies(n handoff.Node) bool {
	return isFor(n, firstOf(j.plan.CopierArch, j.plan.Host.Architecture))
}

func isFor(n handoff.Node, arch string) bool {
	return n.OS == "linux" && (arch == "" || n.Arch == arch)
}

func (j *judge) architecture() {
	if len(j.target.Nodes) == 0 || slices.ContainsFunc(j.target.Nodes, j.runs) {
		return
	}
	j.block("workload", fmt.Sprintf("the host's programs are for linux/%s, and the cluster has nodes of %s only", j.plan.Host.Architecture, strings.Join(j.kinds(), ", ")),
		fmt.Sprintf("add a node of linux/%s", j.plan.Host.Architecture), otherCluster)
}

const otherCluster = "lift into another cluster: --context"

// kinds are the platforms of the nodes, as OS/ARCH.
func (j *judge) kinds() []string {
	kinds := map[string]bool{}
	for _, n := range j.target.Nodes {
		kinds[n.OS+"/"+n.Arch] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

// copierArchitecture compares the nodes with the program of the copies, which is
// statelift as it runs here unless the user gives another one.
func (j *judge) copierArchitecture() {
	arch := j.plan.CopierArch
	_, _, copies := j.pods()
	if !copies || arch == "" || len(j.target.Nodes) == 0 || len(j.usable(j.copies)) > 0 {
		return
	}
	var choices []string
	for _, n := range j.usable(func(n handoff.Node) bool { return n.OS == "linux" }) {
		choices = append(choices, fmt.Sprintf("give the copies a statelift that is built for linux/%s: --copier PROGRAM", n.Arch))
	}
	if len(choices) == 0 {
		return // no node takes anything: nodes says so
	}
	slices.Sort(choices)
	where := "no node that takes ordinary Pods is of that kind"
	if !slices.ContainsFunc(j.target.Nodes, j.copies) {
		where = "the cluster has nodes of " + strings.Join(j.kinds(), ", ") + " only"
	}
	j.block("volume", fmt.Sprintf("volumes are filled by statelift itself, which is a program for linux/%s here, and %s", arch, where),
		append(slices.Compact(choices), fmt.Sprintf("add a node of linux/%s", arch), otherCluster)...)
}

// nodes looks for a node on which each Pod can run.
func (j *judge) nodes() {
	switch {
	case j.lacks("list", "nodes"):
		return
	case len(j.target.Nodes) == 0:
		j.block("workload", "the cluster has no node", "add one", otherCluster)
		return
	case !slices.ContainsFunc(j.target.Nodes, j.runs):
		return // architecture said so
	}
	usable, forCopies := j.usable(j.runs), j.usable(j.copies)
	if len(usable) == 0 {
		j.block("workload", "no node takes ordinary Pods: "+strings.Join(j.closed(), "; "),
			"bring a node up, or take its taint away: kubectl taint node NAME KEY-", otherCluster)
		return
	}
	for _, p := range j.allBoxes() {
		usable := usable
		if p.copies {
			usable = forCopies
		}
		if len(usable) == 0 {
			continue // copierArchitecture said so
		}
		need := p.amounts(j.target.Limits)
		cpu, memory := need["requests.cpu"], need["requests.memory"]
		if slices.ContainsFunc(usable, func(n handoff.Node) bool { return n.CPU >= cpu && n.Memory >= memory }) {
			continue
		}
		largest := slices.MaxFunc(usable, func(a, b handoff.Node) int { return int(a.Memory>>20 - b.Memory>>20) })
		choices := []string{"add a larger node"}
		if i := slices.IndexFunc(j.plan.Workloads, func(w handoff.Workload) bool { return w.Name == p.name }); i >= 0 && len(p.run) > 1 {
			choices = append(choices, "make each unit a Pod of its own: "+decideWorkload(j.plan.Workloads[i], "split: true"))
		}
		j.block("workload", fmt.Sprintf("one Pod of %s asks for %s of CPU and %s of memory, and no node has that much: the largest, %s, has %s and %s",
			p.name, quantity("cpu", cpu), quantity("memory", memory), largest.Name, quantity("cpu", largest.CPU), quantity("memory", largest.Memory)), choices...)
	}
}

// closed says of each node that could run the programs why it does not.
func (j *judge) closed() (out []string) {
	for _, n := range j.target.Nodes {
		if !j.runs(n) {
			continue
		}
		why := "it is not ready"
		if n.Ready {
			why = "it has the taint " + strings.Join(n.Taints, ", ")
		}
		out = append(out, n.Name+": "+why)
	}
	const most = 8
	if n := len(out) - most; n > 0 {
		out = append(out[:most], fmt.Sprintf("and %d more", n))
	}
	return out
}

// containerSizes compares containers and Pods with the LimitRanges.
func (j *judge) containerSizes() {
	for _, p := range j.allBoxes() {
		for _, b := range slices.Concat(p.first, p.run) {
			j.containerSize(p, b.with(j.target.Limits))
		}
		need := p.amounts(j.target.Limits)
		for _, l := range j.target.Limits {
			j.podSize(p.name, l, need["requests."+l.Resource], need["limits."+l.Resource])
		}
	}
}

// podSize compares a whole Pod with a LimitRange.
func (j *judge) podSize(name string, l handoff.Limit, request, limit int64) {
	if l.Type != "Pod" || l.Resource != "cpu" && l.Resource != "memory" {
		return
	}
	why := ""
	switch {
	case l.Max > 0 && limit == 0:
		why = fmt.Sprintf("names no limit of %s, and LimitRange %s wants one of %s at most", l.Resource, l.Name, quantity(l.Resource, l.Max))
	case l.Max > 0 && max(request, limit) > l.Max:
		why = fmt.Sprintf("may use %s of %s, and LimitRange %s allows %s at most", quantity(l.Resource, max(request, limit)), l.Resource, l.Name, quantity(l.Resource, l.Max))
	case l.Min > 0 && request < l.Min:
		why = fmt.Sprintf("asks for %s of %s, and LimitRange %s wants %s at least", quantity(l.Resource, request), l.Resource, l.Name, quantity(l.Resource, l.Min))
	default:
		return
	}
	j.block("workload", fmt.Sprintf("a Pod of %s %s", name, why), fmt.Sprintf("have LimitRange %s changed", l.Name), elsewhere)
}

func (j *judge) containerSize(p boxes, b box) {
	for _, l := range j.target.Limits {
		request, limit := b.memory, b.memLimit
		if l.Resource == "cpu" {
			request, limit = b.cpu, b.cpuLimit
		}
		if l.Type != "Container" || l.Resource != "cpu" && l.Resource != "memory" {
			continue
		}
		why := ""
		switch {
		case l.Max > 0 && max(request, limit) > l.Max:
			why = fmt.Sprintf("asks for %s of %s, and LimitRange %s allows %s at most", quantity(l.Resource, max(request, limit)), l.Resource, l.Name, quantity(l.Resource, l.Max))
		case l.Min > 0 && request < l.Min:
			why = fmt.Sprintf("asks for %s of %s, and LimitRange %s wants %s at least", quantity(l.Resource, request), l.Resource, l.Name, quantity(l.Resource, l.Min))
		case limit > 0 && request > limit:
			why = fmt.Sprintf("asks for %s of %s, and LimitRange %s limits a container that names no limit to %s", quantity(l.Resource, request), l.Resource, l.Name, quantity(l.Resource, limit))
		default:
			continue
		}
		j.block("workload", fmt.Sprintf("container %s of %s %s", b.name, p.name, why), fmt.Sprintf("have LimitRange %s changed", l.Name), elsewhere)
	}
}

// quantity writes an amount as Kubernetes does and statelift.yaml takes it.
func quantity(resource string, n int64) string {
	if resource == "cpu" || strings.HasSuffix(resource, ".cpu") {
		if n%1000 == 0 {
			return strconv.FormatInt(n/1000, 10)
		}
		return strconv.FormatInt(n, 10) + "m"
	}
	if resource != "storage" && resource != "memory" && !strings.HasSuffix(resource, ".memory") && !strings.HasSuffix(resource, "requests.storage") {
		return strconv.FormatInt(n, 10)
	}
	for _, u := range []struct {
		suffix string
		shift  int
	}{{"Gi", 30}, {"Mi", 20}, {"Ki", 10}} {
		if n != 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
