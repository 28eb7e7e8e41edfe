package cluster

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/statelift/statelift/pipeline/handoff"
)

// page is how many objects one answer holds.
const page = 500

// found is what is in the namespace.
type found struct {
	others []handoff.Object
	own    own
}

// own is what this workspace made.
type own struct {
	count     map[string]int64 // by RESOURCE or RESOURCE.GROUP, as in count/ quotas
	instances []string         // values of the instance label, which its Pods carry
}

// made are the kinds of objects that a lift makes, by resource.
func made() map[schema.GroupVersionResource]string {
	v1 := func(group, resource string) schema.GroupVersionResource {
		return schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}
	}
	return map[schema.GroupVersionResource]string{
		v1("", "configmaps"): "ConfigMap", v1("", "secrets"): "Secret", v1("", "services"): "Service",
		v1("", "serviceaccounts"): "ServiceAccount", v1("", "persistentvolumeclaims"): "PersistentVolumeClaim",
		v1("", "persistentvolumes"): "PersistentVolume", v1("networking.k8s.io", "networkpolicies"): "NetworkPolicy",
		v1("apps", "statefulsets"): "StatefulSet", v1("apps", "deployments"): "Deployment",
		v1("batch", "cronjobs"): "CronJob", v1("batch", "jobs"): "Job",
	}
}

// objects lists what is there of the kinds that a lift makes. Only metadata is
// asked for: the content of Secrets stays where it is.
func (c *Cluster) objects(ctx context.Context, workspace string) (found, error) {
	client, err := metadata.NewForConfig(c.Config)
	if err != nil {
		return found{}, err
	}
	out := found{own: own{count: map[string]int64{}}}
	instances := map[string]bool{}
	kinds := made()
	for _, resource := range slices.SortedFunc(maps.Keys(kinds), byName) {
		api := client.Resource(resource).Namespace(c.Namespace)
		if kinds[resource] == "PersistentVolume" {
			api = client.Resource(resource)
		}
		err := c.eachObject(ctx, api, func(o metav1.PartialObjectMetadata) {
			if workspace != "" && o.Labels[WorkspaceLabel] == workspace {
				out.own.count[resource.GroupResource().String()]++
				instances[o.Labels[instanceLabel]] = true
				return
			}
			if mayCollide(kinds[resource], o) {
				out.others = append(out.others, handoff.Object{Kind: kinds[resource], Name: o.Name, Owner: ownerOf(o)})
			}
		})
		if _, err := readable(resource.Resource, err); err != nil {
			return found{}, err
		}
	}
	delete(instances, "")
	out.own.instances = slices.Sorted(maps.Keys(instances))
	slices.SortFunc(out.others, func(a, b handoff.Object) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func byName(a, b schema.GroupVersionResource) int {
	return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Resource, b.Resource))
}

// eachObject visits all objects, page by page.
func (c *Cluster) eachObject(ctx context.Context, api metadata.ResourceInterface, visit func(metav1.PartialObjectMetadata)) error {
	o := metav1.ListOptions{Limit: page}
	for {
		var list *metav1.PartialObjectMetadataList
		err := c.retry(ctx, func() (err error) {
			list, err = api.List(ctx, o)
			return err
		})
		if err != nil {
			return err
		}
		for _, item := range list.Items {
			visit(item)
		}
		if o.Continue = list.Continue; o.Continue == "" {
			return nil
		}
	}
}

// mayCollide leaves out what no lift could ever want the name of, and what comes
// and goes by itself: the names that a lift gives are DNS labels, and it makes
// no volume that a provisioner makes.
func mayCollide(kind string, o metav1.PartialObjectMetadata) bool {
	switch {
	case strings.Contains(o.Name, "."):
		return false
	case kind == "Job" && metav1.GetControllerOf(&o) != nil:
		return false
	case kind == "PersistentVolume" && o.Annotations["pv.kubernetes.io/provisioned-by"] != "":
		return false
	case kind == "ServiceAccount" && o.Name == "default":
		return false
	}
	return true
}

// ownerOf says for people whose an object is.
func ownerOf(o metav1.PartialObjectMetadata) string {
	if w := o.Labels[WorkspaceLabel]; w != "" {
		return "another workspace of statelift (" + w + ")"
	}
	if release := o.Annotations["meta.helm.sh/release-name"]; release != "" {
		return "Helm release " + release
	}
	return o.Labels[managedLabel]
}
