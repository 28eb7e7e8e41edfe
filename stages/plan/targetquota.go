package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// demand is what the plan takes of every quota: the most that is there at the
// same time. Volumes are filled before the workloads run, one copy at least at a
// time, and of the jobs the largest counts, since others can wait.
func (j *judge) demand() map[string]int64 {
	out := map[string]int64{}
	add := func(amounts map[string]int64, times int64) {
		for name, n := range amounts {
			out[name] += n * times
		}
	}
	services, jobs, copies := j.pods()
	for _, w := range services {
		add(workloadBoxes(j.plan, w).amounts(j.target.Limits), int64(w.Replicas))
	}
	largest := map[string]int64{}
	for _, w := range jobs {
		grow(largest, workloadBoxes(j.plan, w).amounts(j.target.Limits))
	}
	add(largest, 1)
	if copies {
		grow(out, copyBoxes().amounts(j.target.Limits))
	}
	for _, v := range j.plan.Volumes {
		j.claim(out, v.Request, j.className(v))
		if v.Seed {
			out["count/jobs.batch"]++
		}
	}
	for _, s := range j.plan.Shares {
		if mounted(s) {
			j.claim(out, handoff.ShareSize, "")
		}
	}
	for _, o := range Objects(j.plan) {
		if name := quotaOf(o.Kind); name != "" {
			out["count/"+name]++
			if !strings.Contains(name, ".") {
				out[name]++
			}
		}
	}
	return out
}

func (j *judge) className(v handoff.Volume) string {
	c, _ := j.classOf(v)
	return c.Name
}

// claim counts one claim.
func (j *judge) claim(out map[string]int64, size int64, class string) {
	out["requests.storage"] += size
	out["persistentvolumeclaims"]++
	out["count/persistentvolumeclaims"]++
	if class != "" {
		out[class+".storageclass.storage.k8s.io/requests.storage"] += size
		out[class+".storageclass.storage.k8s.io/persistentvolumeclaims"]++
	}
}

func grow(out, amounts map[string]int64) {
	for name, n := range amounts {
		out[name] = max(out[name], n)
	}
}

// quotaOf is the name by which quotas count objects of the kind; claims and Jobs
// are counted otherwise.
func quotaOf(kind string) string {
	return map[string]string{
		"ConfigMap": "configmaps", "Secret": "secrets", "Service": "services", "ServiceAccount": "serviceaccounts",
		"StatefulSet": "statefulsets.apps", "Deployment": "deployments.apps", "CronJob": "cronjobs.batch",
		"NetworkPolicy": "networkpolicies.networking.k8s.io",
	}[kind]
}

// counts reports whether a quota with those scopes counts what a lift makes:
// Pods that request something, have no deadline and no priority class.
func counts(q handoff.Quota) bool {
	for _, s := range q.Scopes {
		name, rest, _ := strings.Cut(s, " ")
		switch name {
		case "NotTerminating", "NotBestEffort":
		case "PriorityClass":
			if !strings.HasPrefix(rest, "NotIn") && !strings.HasPrefix(rest, "DoesNotExist") {
				return false
			}
		default: // Terminating, BestEffort, and what is not known
			return false
		}
	}
	return true
}

// longName is the longer one of the two names that a resource may have.
func longName(resource string) string {
	if resource == "cpu" || resource == "memory" {
		return "requests." + resource
	}
	return resource
}

func (j *judge) quotas() {
	demand := j.demand()
	for _, q := range j.target.Quotas {
		if !counts(q) {
			continue
		}
		name := longName(q.Resource)
		j.unnamed(q, name)
		need := demand[name]
		if need == 0 || q.Used+need <= q.Hard {
			continue
		}
		text := fmt.Sprintf("ResourceQuota %s allows %s %s", q.Name, quantity(name, q.Hard), q.Resource)
		if q.Used > 0 {
			text += fmt.Sprintf(", of which others use %s and %s is left", quantity(name, q.Used), quantity(name, max(0, q.Hard-q.Used)))
		}
		text += fmt.Sprintf("; the lift needs %s", quantity(name, need))
		if parts := j.parts(name); len(parts) > 0 {
			text += " (" + strings.Join(parts, ", ") + ")"
		}
		choices := []string{fmt.Sprintf("have ResourceQuota %s raised to %s %s at least", q.Name, quantity(name, q.Used+need), q.Resource), elsewhere}
		if less := j.lessRoom(name, q.Hard-q.Used); less != "" {
			choices = append([]string{less}, choices...)
		}
		j.block(quotaAbout(name), text, choices...)
	}
}

func quotaAbout(name string) string {
	switch {
	case strings.Contains(name, "storage"), strings.Contains(name, "persistentvolumeclaims"):
		return "volume"
	case name == "pods", name == "count/pods", strings.HasPrefix(name, "requests."), strings.HasPrefix(name, "limits."):
		return "workload"
	}
	return "object"
}

// parts says what the need is made of.
func (j *judge) parts(name string) (out []string) {
	if class, byClass := strings.CutSuffix(name, ".storageclass.storage.k8s.io/requests.storage"); byClass || name == "requests.storage" {
		for _, v := range j.plan.Volumes {
			if !byClass || class == j.className(v) {
				out = append(out, v.Name+" "+quantity(name, v.Request))
			}
		}
		for _, s := range j.plan.Shares {
			if !byClass && mounted(s) {
				out = append(out, "share "+s.Name+" "+quantity(name, handoff.ShareSize))
			}
		}
		return out
	}
	if !strings.HasPrefix(name, "requests.") && !strings.HasPrefix(name, "limits.") && name != "pods" {
		return nil
	}
	services, jobs, _ := j.pods()
	for _, w := range services {
		if n := workloadBoxes(j.plan, w).amounts(j.target.Limits)[name] * int64(w.Replicas); n > 0 {
			out = append(out, w.Name+" "+quantity(name, n))
		}
	}
	var largest int64
	for _, w := range jobs {
		largest = max(largest, workloadBoxes(j.plan, w).amounts(j.target.Limits)[name])
	}
	if largest > 0 {
		out = append(out, quantity(name, largest)+" for one job at a time")
	}
	return out
}

// lessRoom is the choice to give volumes less head-room, where that is enough.
func (j *judge) lessRoom(name string, left int64) string {
	if !strings.HasSuffix(name, "requests.storage") {
		return ""
	}
	class, byClass := strings.CutSuffix(name, ".storageclass.storage.k8s.io/requests.storage")
	var least int64
	var list []string
	for _, v := range j.plan.Volumes {
		if byClass && class != j.className(v) {
			continue
		}
		n := min(v.Request, request(v.Bytes, leastRoom))
		least += n
		if n < v.Request {
			list = append(list, fmt.Sprintf("{path: %s, size: %s}", yamlText(v.Path.String()), quantity(name, n)))
		}
	}
	for _, s := range j.plan.Shares {
		if mounted(s) && !byClass {
			least += handoff.ShareSize
		}
	}
	if least > left || len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("do with less room for growth: volumes: [%s]", strings.Join(list, ", "))
}

// leastRoom is the head-room that a file system needs for itself.
const leastRoom = 0.05

// unnamed finds containers that a quota refuses since they do not name the limit
// that it counts.
func (j *judge) unnamed(q handoff.Quota, name string) {
	if name != "limits.cpu" && name != "limits.memory" {
		return
	}
	missing := map[string]bool{}
	for _, p := range j.allBoxes() {
		for _, b := range slices.Concat(p.first, p.run) {
			b = b.with(j.target.Limits)
			if name == "limits.cpu" && b.cpuLimit == 0 || name == "limits.memory" && b.memLimit == 0 {
				missing[p.name+"/"+b.name] = true
			}
		}
	}
	if len(missing) == 0 {
		return
	}
	resource := strings.TrimPrefix(name, "limits.")
	j.block("workload", fmt.Sprintf("ResourceQuota %s counts %s, so that every container must name a limit, and these do not: %s", q.Name, name, strings.Join(slices.Sorted(maps.Keys(missing)), ", ")),
		fmt.Sprintf("have a LimitRange made in %s that gives containers a default limit of %s", j.where(), resource), elsewhere)
}
