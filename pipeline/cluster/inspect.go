package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/statelift/statelift/pipeline/handoff"
)

// WorkspaceLabel is on every object that statelift applies; its value is the
// identity of the workspace.
const WorkspaceLabel = "statelift.io/workspace"

// Inspection says how a cluster is looked at.
type Inspection struct {
	Workspace string   // whose own objects are not in the way, and not others' use of a quota
	Drivers   []Driver // what is known of storage drivers
}

// firstAnswer is how long the API server may take for its version. Whether there
// is a cluster at all must be known soon.
const firstAnswer = 20 * time.Second

// Inspect reads what decides whether a plan fits: nothing that changes from
// moment to moment is in the result, nor what this workspace made itself. It
// writes nothing. What the user may not read is left out, and Missing says so.
func (c *Cluster) Inspect(ctx context.Context, o Inspection) (handoff.Target, error) {
	t := handoff.Target{Context: c.Context, Namespace: c.Namespace, Server: withoutUser(c.Server)}
	var err error
	if t.Version, err = c.version(ctx); err != nil {
		return handoff.Target{}, Explain(c.Context, err)
	}
	if err := c.inspectNamespace(ctx, o, &t); err != nil {
		return handoff.Target{}, Explain(c.Context, err)
	}
	// Each writes its own part of the target.
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { t.StorageClasses, err = c.storageClasses(gctx, o.Drivers); return err })
	g.Go(func() (err error) { t.CSIDrivers, err = c.csiDrivers(gctx); return err })
	g.Go(func() (err error) { t.Nodes, err = c.nodes(gctx); return err })
	g.Go(func() (err error) { t.Limits, err = c.limits(gctx); return err })
	g.Go(func() (err error) {
		t.Missing, err = c.Missing(gctx, t.NamespaceExists || t.NamespaceLeaving)
		return err
	})
	g.Go(func() error {
		found, err := c.objects(gctx, o.Workspace)
		if err != nil {
			return err
		}
		t.Existing = found.others
		t.Quotas, err = c.quotas(gctx, found.own)
		return err
	})
	if err := g.Wait(); err != nil {
		return handoff.Target{}, Explain(c.Context, err)
	}
	return t, nil
}

// withoutUser is an address as a person may see it.
func withoutUser(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return ""
	}
	u.User = nil
	return u.String()
}

func (c *Cluster) version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, firstAnswer)
	defer cancel()
	data, err := c.Client.Discovery().RESTClient().Get().AbsPath("/version").Do(ctx).Raw()
	if err != nil {
		return "", err
	}
	var info version.Info
	if err := json.Unmarshal(data, &info); err != nil || info.GitVersion == "" {
		return "", fmt.Errorf("%s answers, but not as an API server of Kubernetes", withoutUser(c.Server))
	}
	return info.GitVersion, nil
}

// The labels by which a namespace and an object say what they are.
const (
	enforceLabel  = "pod-security.kubernetes.io/enforce"
	managedLabel  = "app.kubernetes.io/managed-by"
	instanceLabel = "app.kubernetes.io/instance"
)

// inspectNamespace looks at the namespace. One that this workspace made counts
// as not there yet: it would be made again.
func (c *Cluster) inspectNamespace(ctx context.Context, o Inspection, t *handoff.Target) error {
	var ns *corev1.Namespace
	err := c.retry(ctx, func() (err error) {
		ns, err = c.Client.CoreV1().Namespaces().Get(ctx, c.Namespace, metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsForbidden(err): // who may work in a namespace need not see it
		t.NamespaceExists = true
		return nil
	case err != nil:
		return fmt.Errorf("namespace %s: %w", c.Namespace, err)
	}
	t.NamespaceLeaving = ns.DeletionTimestamp != nil
	if ns.Labels[WorkspaceLabel] == o.Workspace && o.Workspace != "" {
		return nil
	}
	t.NamespaceExists = true
	t.PodSecurity = ns.Labels[enforceLabel]
	return nil
}

// readable tells a list that the user may not read, which Missing reports, from
// one that could not be read.
func readable(what string, err error) (ok bool, _ error) {
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsForbidden(err), apierrors.IsNotFound(err):
		return false, nil
	}
	return false, fmt.Errorf("list %s: %w", what, err)
}
