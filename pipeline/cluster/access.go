package cluster

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// need is a resource and what a run does with it.
type need struct {
	group, resource string
	verbs           []string
	what            string // for people
	cluster         bool   // not of the namespace
	optional        bool
}

// apply is what server-side apply takes, with the look before it, and the
// clean-up.
func apply() []string { return []string{"get", "list", "create", "patch", "delete"} }

func watched() []string { return append(apply(), "watch") }

// needs is the one list of all permissions that a run takes; exists says whether
// the namespace does.
func needs(exists bool) []need {
	out := []need{
		{"", "configmaps", apply(), "configuration", false, false},
		{"", "secrets", apply(), "credentials of services, and of bucket and registry during the copies", false, false},
		{"", "serviceaccounts", apply(), "the accounts of Pods", false, false},
		{"", "services", apply(), "how workloads are reached", false, false},
		{"networking.k8s.io", "networkpolicies", apply(), "who may reach workloads", false, false},
		{"", "persistentvolumeclaims", watched(), "volumes", false, false},
		{"batch", "jobs", watched(), "copying and checking volumes", false, false},
		{"apps", "statefulsets", watched(), "workloads with volumes", false, false},
		{"apps", "deployments", watched(), "workloads without volumes", false, false},
		{"batch", "cronjobs", apply(), "what ran at its times", false, false},
		{"", "pods", []string{"get", "list", "watch", "delete"}, "seeing how Jobs and workloads do, and starting them anew", false, false},
		{"", "pods/log", []string{"get"}, "receipts of copies, which come back by their logs", false, false},
		{"", "pods/exec", []string{"create"}, "checks that run inside the workloads", false, true},
		{"", "pods/portforward", []string{"create"}, "smoke checks that ask for pages", false, true},
		{"", "pods/portforward", []string{"create"}, "smoke checks of pages", false, true},
		{"", "events", []string{"list", "watch"}, "saying why something does not start", false, false},
		{"", "resourcequotas", []string{"list"}, "seeing whether the quota is large enough", false, true},
		{"", "limitranges", []string{"list"}, "seeing which sizes are allowed", false, true},
		{"storage.k8s.io", "storageclasses", []string{"list"}, "seeing which storage there is", true, true},
		{"storage.k8s.io", "csidrivers", []string{"list"}, "seeing whether network shares can be mounted", true, true},
		{"", "nodes", []string{"list"}, "seeing where Pods can run", true, true},
		{"", "persistentvolumes", []string{"get", "list", "create", "patch", "delete"}, "network shares that workloads mount", true, true},
		{"", "namespaces", []string{"get"}, "seeing the Pod security level of the namespace", true, true},
	}
	if !exists {
		out = append(out, need{"", "namespaces", []string{"create", "patch"}, "making the namespace", true, false})
	}
	return out
}

// Missing asks the API server for every permission that a run takes, and returns
// those that the user does not have, in the order of the list. exists says
// whether the namespace does.
func (c *Cluster) Missing(ctx context.Context, exists bool) ([]handoff.Permission, error) {
	var all []handoff.Permission
	for _, n := range needs(exists) {
		for _, verb := range n.verbs {
			p := handoff.Permission{Verb: verb, Group: n.group, Resource: n.resource, Namespace: c.Namespace, For: n.what, Optional: n.optional}
			if n.cluster {
				p.Namespace = ""
			}
			all = append(all, p)
		}
	}
	allowed := make([]bool, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8) // requests wait for the network, not for a processor
	for i, p := range all {
		g.Go(func() (err error) {
			allowed[i], err = c.may(ctx, p)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var missing []handoff.Permission
	for i, p := range all {
		if !allowed[i] {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// may asks whether the user has the permission.
func (c *Cluster) may(ctx context.Context, p handoff.Permission) (bool, error) {
	resource, sub, _ := strings.Cut(p.Resource, "/")
	attributes := &authorizationv1.ResourceAttributes{Verb: p.Verb, Group: p.Group, Resource: resource, Subresource: sub, Namespace: p.Namespace}
	if p.Resource == "namespaces" && p.Verb != "create" {
		// Requests for a namespace count as made in it.
		attributes.Name, attributes.Namespace = c.Namespace, c.Namespace
	}
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: attributes}}
	var answer *authorizationv1.SelfSubjectAccessReview
	err := c.retry(ctx, func() (err error) {
		answer, err = c.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, review, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("ask whether %s %s is allowed: %w", p.Verb, p.Resource, err)
	}
	return answer.Status.Allowed, nil
}
