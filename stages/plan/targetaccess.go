package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

const (
	readWriteOnce    = "ReadWriteOnce"
	readWriteOncePod = "ReadWriteOncePod"
	readWriteMany    = "ReadWriteMany"
)

// users are the workloads whose Pods mount the volume, jobs left out: those run
// beside the workload that they share it with.
func users(pl handoff.Plan, v handoff.Volume) (out []handoff.Workload) {
	for _, w := range pl.Workloads {
		if w.Kind != handoff.CronJob && mountsVolume(w, v) {
			out = append(out, w)
		}
	}
	return out
}

func mountsVolume(w handoff.Workload, v handoff.Volume) bool {
	return slices.ContainsFunc(w.Mounts, func(m handoff.PodVolume) bool { return m.Origin == handoff.FromVolume && m.Of == v.Name })
}

// together reports whether all Pods of the workloads run on one node: there is
// one Pod, or each follows the same workload.
func together(list []handoff.Workload) bool {
	var pods int32
	anchors := map[string]bool{}
	for _, w := range list {
		pods += w.Replicas
		switch {
		case w.Near != "":
			anchors[w.Near] = true
		case w.Replicas == 1:
			anchors[w.Name] = true
		default:
			anchors[w.Name+" and its replicas"] = true // wherever they like
			anchors[w.Name] = true
		}
	}
	return pods <= 1 || len(anchors) <= 1
}

// pin keeps the Pods of a workload on one node where the user said that their
// common volume is ReadWriteOnce: the workload follows itself.
func (p *planner) pin() {
	for _, v := range p.plan.Volumes {
		d, _ := p.volumeDecision(v.Path)
		if v.AccessMode != readWriteOnce || d.AccessMode != readWriteOnce && p.decisions.Answers["access-"+v.Name] != readWriteOnce {
			continue
		}
		for i := range p.plan.Workloads {
			w := &p.plan.Workloads[i]
			if w.Kind != handoff.CronJob && w.Replicas > 1 && w.Near == "" && mountsVolume(*w, v) {
				w.Near = w.Name
			}
		}
	}
}

// access compares how volumes are used with what their class can serve.
func (j *judge) access() {
	for _, v := range j.plan.Volumes {
		list := users(j.plan, v)
		class, ok := j.classOf(v)
		cannot := ok && class.Known && !serves(class, v.AccessMode)
		switch {
		case cannot:
			text := fmt.Sprintf("volume %s (%s) is to be %s, and StorageClass %s (%s) serves %s only", v.Name, v.Path, v.AccessMode, class.Name, class.Driver, strings.Join(class.AccessModes, ", "))
			if v.AccessMode == readWriteMany {
				text += "; " + whoWrites(list)
			}
			choices := j.chooseClass(v)
			if v.AccessMode == readWriteMany {
				choices = append(choices, j.onePod(v, class, list)...)
				choices = append(choices, oneNode(v))
			} else {
				choices = append(choices, "use it otherwise: "+decide(v, "accessMode: "+readWriteOnce))
			}
			j.block("volume", text, choices...)
		case v.AccessMode == readWriteOncePod && podsOf(j.plan, v) > 1:
			j.block("volume", fmt.Sprintf("volume %s (%s) is to be %s, and %s mount it", v.Name, v.Path, v.AccessMode, strings.Join(mounters(j.plan, v), ", ")),
				"let them run on one node: "+decide(v, "accessMode: "+readWriteOnce))
		case v.AccessMode == readWriteOnce && !together(list) && len(j.usable(j.runs)) != 1:
			many := v
			many.AccessMode = readWriteMany
			choices := j.chooseClass(many, "accessMode: "+readWriteMany)
			choices = append(choices, j.onePod(v, class, list)...)
			choices = append(choices, oneNode(v))
			j.block("volume", fmt.Sprintf("volume %s (%s) is ReadWriteOnce, so that Pods of one node only can mount it; %s", v.Name, v.Path, whoWrites(list)), choices...)
		}
	}
}

// whoWrites says how many Pods want the volume.
func whoWrites(list []handoff.Workload) string {
	var parts []string
	for _, w := range list {
		parts = append(parts, fmt.Sprintf("%s (%d Pods)", w.Name, w.Replicas))
	}
	if len(parts) == 0 {
		return "no workload is known to mount it"
	}
	return strings.Join(parts, " and ") + " may run on several"
}

// onePod is a choice for each workload with several replicas. Where the driver
// can see to it that there is one Pod only, and no job needs the volume, it shall.
func (j *judge) onePod(v handoff.Volume, class handoff.StorageClass, list []handoff.Workload) (out []string) {
	mode := readWriteOnce
	if serves(class, readWriteOncePod) && len(list) == 1 && len(mounters(j.plan, v)) == 1 {
		mode = readWriteOncePod
	}
	for _, w := range list {
		if w.Replicas > 1 {
			out = append(out, fmt.Sprintf("keep one Pod: %s and %s", decideWorkload(w, "replicas: 1"), decide(v, "accessMode: "+mode)))
		}
	}
	return out
}

func oneNode(v handoff.Volume) string {
	return "keep all its Pods on one node, by affinity: " + decide(v, "accessMode: "+readWriteOnce)
}

// podsOf counts the Pods that mount the volume, with one for each job.
func podsOf(pl handoff.Plan, v handoff.Volume) (n int32) {
	for _, w := range pl.Workloads {
		if mountsVolume(w, v) {
			n += w.Replicas
		}
	}
	return n
}

// mounters names the workloads that mount the volume.
func mounters(pl handoff.Plan, v handoff.Volume) (out []string) {
	for _, w := range pl.Workloads {
		if mountsVolume(w, v) {
			out = append(out, w.Name)
		}
	}
	return out
}
