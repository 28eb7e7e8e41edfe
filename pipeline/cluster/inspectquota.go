package cluster

import (
	"cmp"
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// quotas reads the ResourceQuotas. What this workspace uses of them already is
// free for it.
func (c *Cluster) quotas(ctx context.Context, own own) ([]handoff.Quota, error) {
	var list *corev1.ResourceQuotaList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.CoreV1().ResourceQuotas(c.Namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	if ok, err := readable("resource quotas", err); !ok || len(list.Items) == 0 {
		return nil, err
	}
	used, err := c.use(ctx, own)
	if err != nil {
		return nil, err
	}
	var out []handoff.Quota
	for _, q := range list.Items {
		scopes := scopesOf(q.Spec)
		for name, hard := range q.Spec.Hard {
			quota := handoff.Quota{Name: q.Name, Resource: string(name), Hard: amount(name, hard), Scopes: scopes}
			if u, ok := q.Status.Used[name]; ok {
				quota.Used = max(0, amount(name, u)-used[quotaName(string(name))])
			}
			out = append(out, quota)
		}
	}
	slices.SortFunc(out, func(a, b handoff.Quota) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Resource, b.Resource))
	})
	return out, nil
}

// scopesOf says what a quota counts.
func scopesOf(spec corev1.ResourceQuotaSpec) []string {
	var out []string
	for _, s := range spec.Scopes {
		out = append(out, string(s))
	}
	if spec.ScopeSelector != nil {
		for _, e := range spec.ScopeSelector.MatchExpressions {
			if e.Operator == corev1.ScopeSelectorOpExists && e.ScopeName != corev1.ResourceQuotaScopePriorityClass {
				out = append(out, string(e.ScopeName))
				continue
			}
			out = append(out, strings.TrimSpace(string(e.ScopeName)+" "+string(e.Operator)+" "+strings.Join(e.Values, ",")))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// amount is in millicores for processors, else in bytes or pieces.
func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if n := string(name); n == "cpu" || strings.HasSuffix(n, ".cpu") {
		return q.MilliValue()
	}
	return q.Value()
}

// quotaName is the longer of the two names that a resource may have in a quota
// (Kubernetes: cpu is the same as requests.cpu).
func quotaName(name string) string {
	if name == "cpu" || name == "memory" || name == "ephemeral-storage" {
		return "requests." + name
	}
	return name
}

// use is what this workspace has in the namespace, by the names of quotas.
func (c *Cluster) use(ctx context.Context, own own) (map[string]int64, error) {
	out := map[string]int64{}
	for name, n := range own.count {
		out["count/"+name] += n
		if name == "services" || name == "secrets" || name == "configmaps" || name == "persistentvolumeclaims" {
			out[name] += n
		}
	}
	if len(own.instances) == 0 {
		return out, nil
	}
	selector := metav1.ListOptions{LabelSelector: managedLabel + "=" + Manager + "," + instanceLabel + " in (" + strings.Join(own.instances, ",") + ")"}
	var claims *corev1.PersistentVolumeClaimList
	err := c.retry(ctx, func() (err error) {
		claims, err = c.Client.CoreV1().PersistentVolumeClaims(c.Namespace).List(ctx, selector)
		return err
	})
	if ok, err := readable("persistentvolumeclaims", err); err != nil {
		return nil, err
	} else if ok {
		for _, p := range claims.Items {
			size := p.Spec.Resources.Requests.Storage().Value()
			out["requests.storage"] += size
			if p.Spec.StorageClassName != nil && *p.Spec.StorageClassName != "" {
				out[*p.Spec.StorageClassName+".storageclass.storage.k8s.io/requests.storage"] += size
				out[*p.Spec.StorageClassName+".storageclass.storage.k8s.io/persistentvolumeclaims"]++
			}
		}
	}
	var pods *corev1.PodList
	err = c.retry(ctx, func() (err error) {
		pods, err = c.Client.CoreV1().Pods(c.Namespace).List(ctx, selector)
		return err
	})
	if ok, err := readable("pods", err); !ok {
		return out, err
	}
	for _, p := range pods.Items {
		usePod(out, p)
	}
	return out, nil
}

// usePod adds what a Pod counts for. One that ended counts as an object only.
func usePod(out map[string]int64, p corev1.Pod) {
	out["count/pods"]++
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return
	}
	out["pods"]++
	for prefix, of := range map[string]func(corev1.Container) corev1.ResourceList{
		"requests.": func(c corev1.Container) corev1.ResourceList { return c.Resources.Requests },
		"limits.":   func(c corev1.Container) corev1.ResourceList { return c.Resources.Limits },
	} {
		sum, largest := corev1.ResourceList{}, corev1.ResourceList{}
		for _, c := range p.Spec.Containers {
			for name, q := range of(c) {
				total := sum[name]
				total.Add(q)
				sum[name] = total
			}
		}
		for _, c := range p.Spec.InitContainers {
			for name, q := range of(c) {
				if have := largest[name]; q.Cmp(have) > 0 {
					largest[name] = q
				}
			}
		}
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
			out[prefix+string(name)] += max(amount(name, sum[name]), amount(name, largest[name]))
		}
	}
}

// limits reads the LimitRanges.
func (c *Cluster) limits(ctx context.Context) ([]handoff.Limit, error) {
	var list *corev1.LimitRangeList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.CoreV1().LimitRanges(c.Namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	if ok, err := readable("limit ranges", err); !ok {
		return nil, err
	}
	var out []handoff.Limit
	for _, l := range list.Items {
		for _, item := range l.Spec.Limits {
			out = append(out, limitsOf(l.Name, item)...)
		}
	}
	slices.SortFunc(out, func(a, b handoff.Limit) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Resource, b.Resource))
	})
	return out, nil
}

func limitsOf(name string, item corev1.LimitRangeItem) []handoff.Limit {
	byResource := map[corev1.ResourceName]*handoff.Limit{}
	set := func(list corev1.ResourceList, put func(*handoff.Limit, int64)) {
		for r, q := range list {
			if byResource[r] == nil {
				byResource[r] = &handoff.Limit{Name: name, Type: string(item.Type), Resource: string(r)}
			}
			put(byResource[r], amount(r, q))
		}
	}
	set(item.Min, func(l *handoff.Limit, n int64) { l.Min = n })
	set(item.Max, func(l *handoff.Limit, n int64) { l.Max = n })
	set(item.Default, func(l *handoff.Limit, n int64) { l.Default = n })
	set(item.DefaultRequest, func(l *handoff.Limit, n int64) { l.Request = n })
	out := make([]handoff.Limit, 0, len(byResource))
	for _, l := range byResource {
		out = append(out, *l)
	}
	return out
}
