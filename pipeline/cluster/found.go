package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
)

// State is what has become of a thing that was made.
type State string

// The states.
const (
	There   State = "there"
	Leaving State = "leaving" // it is being deleted
	Gone    State = "gone"
	Foreign State = "foreign" // the name is another object's now
)

// Found is a thing and what has become of it.
type Found struct {
	Thing
	State State     `json:"state"`
	Live  types.UID `json:"-"` // of the object that is there now
}

// Find looks up what a workspace made. An object counts as the workspace's only
// by its label, and by its UID where that was recorded.
func (c *Cluster) Find(ctx context.Context, t Thing, workspace string) (Found, error) {
	out := Found{Thing: t, State: Gone}
	u, err := c.Live(ctx, t.Ref)
	if err != nil || u == nil {
		return out, err
	}
	out.Live = u.GetUID()
	switch {
	case u.GetLabels()[WorkspaceLabel] != workspace, t.UID != "" && t.UID != out.Live:
		out.State = Foreign
	case u.GetDeletionTimestamp() != nil:
		out.State = Leaving
	default:
		out.State = There
	}
	return out, nil
}

// Occupants are the objects in a namespace that Kubernetes did not put there by
// itself; some of them, when there are many.
func (c *Cluster) Occupants(ctx context.Context, namespace string) ([]string, error) {
	lists, err := c.Client.Discovery().ServerPreferredResources()
	if err != nil && !discovery.IsGroupDiscoveryFailedError(err) {
		return nil, fmt.Errorf("what is in namespace %s: %w", namespace, err)
	}
	const most = 20
	var out []string
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			return nil, fmt.Errorf("what is in namespace %s: %w", namespace, err)
		}
		for _, r := range list.APIResources {
			if !r.Namespaced || strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "list") || passes(r.Kind) {
				continue
			}
			found, err := c.Dynamic.Resource(gv.WithResource(r.Name)).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: most})
			if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("what is in namespace %s: %w", namespace, err)
			}
			for _, u := range found.Items {
				if len(u.GetOwnerReferences()) > 0 || bornWith(r.Kind, u.GetName()) || u.GetDeletionTimestamp() != nil {
					continue
				}
				if out = append(out, r.Kind+" "+u.GetName()); len(out) == most {
					return out, nil
				}
			}
		}
	}
	return out, nil
}

// passes are kinds that go by themselves.
func passes(kind string) bool {
	return slices.Contains([]string{"Event", "Endpoints", "EndpointSlice", "Lease", "PodMetrics"}, kind)
}

// bornWith is what every namespace has.
func bornWith(kind, name string) bool {
	return kind == "ServiceAccount" && name == "default" || kind == "ConfigMap" && name == "kube-root-ca.crt"
}
