package install

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/store"
)

// objectsSecret is the part of the plan's names for the Secret with which Pods
// read the bucket (see the stage manifests).
const objectsSecret = "objects"

// useBucket adds the Secret with which Pods fetch objects to what is applied, when
// there are such Pods. It stays for as long as the workloads: each Pod that starts
// needs it.
func (r *run) useBucket() error {
	fetches := slices.ContainsFunc(r.plan.Workloads, func(w handoff.Workload) bool {
		return slices.ContainsFunc(w.Mounts, func(v handoff.PodVolume) bool { return v.Origin == handoff.FromObjects })
	})
	if !fetches {
		return nil
	}
	values, err := store.Credentials(r.options.Environment)
	if err != nil {
		return fmt.Errorf("credentials of the bucket: %w", err)
	}
	secret := copyjob.Secret(r.plan, r.cluster.Namespace, objectsSecret, "Opaque", values)
	r.objects.config = append([]*unstructured.Unstructured{secret}, r.objects.config...)
	return nil
}
