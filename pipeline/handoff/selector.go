package handoff

import "github.com/statelift/statelift/pipeline/kubename"

// Selector are the labels by which the Pods of a workload are found.
func (p Plan) Selector(workload string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":     kubename.Label(workload, kubename.MaxLabel),
		"app.kubernetes.io/instance": p.Name,
	}
}

// Pods are the labels that the Pods of all workloads have, and those of copies
// have not.
func (p Plan) Pods() map[string]string {
	return map[string]string{"app.kubernetes.io/managed-by": "statelift", "app.kubernetes.io/instance": p.Name, "statelift.io/step": "run"}
}
