//go:build e2e

package cluster_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/templates"
)

func look(t *testing.T, o cluster.Options, workspace string) handoff.Target {
	t.Helper()
	drivers, err := cluster.LoadDrivers(templates.Drivers())
	if err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Connect(o)
	if err != nil {
		t.Fatal(err)
	}
	target, err := c.Inspect(t.Context(), cluster.Inspection{Workspace: workspace, Drivers: drivers})
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// What is found is what kubectl tells of the same cluster.
func TestInspectAgreesWithKubectl(t *testing.T) {
	bed := bedtest.Open(t)
	ns := bed.Namespace(t, "pod-security.kubernetes.io/enforce=baseline")
	class := bedtest.Name("rwx")
	bed.Apply(t, ns, `
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: `+class+`}
provisioner: rook-ceph.cephfs.csi.ceph.com
allowVolumeExpansion: true
reclaimPolicy: Retain
volumeBindingMode: WaitForFirstConsumer
`)
	t.Cleanup(func() { bed.Run(t, "delete", "storageclass", class) })
	bed.Apply(t, ns, `
apiVersion: v1
kind: ResourceQuota
metadata: {name: small}
spec: {hard: {requests.storage: 10Gi, persistentvolumeclaims: "3", cpu: "1500m", limits.memory: 2Gi, pods: "5", count/jobs.batch: "4"}}
---
apiVersion: v1
kind: LimitRange
metadata: {name: sizes}
spec:
  limits:
  - {type: PersistentVolumeClaim, min: {storage: 1Gi}, max: {storage: 8Gi}}
  - {type: Container, max: {cpu: "1"}, default: {memory: 256Mi}, defaultRequest: {memory: 64Mi}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: theirs, labels: {app.kubernetes.io/managed-by: Helm}, annotations: {meta.helm.sh/release-name: shop}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: mine, labels: {statelift.io/workspace: w1, app.kubernetes.io/instance: atlas}}
---
apiVersion: v1
kind: Secret
metadata: {name: other, labels: {statelift.io/workspace: w2}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: mine, labels: {statelift.io/workspace: w1, app.kubernetes.io/instance: atlas, app.kubernetes.io/managed-by: statelift}}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: theirs}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 3Gi}}}
`)
	waitFor(t, func() bool {
		return strings.TrimSpace(bed.Run(t, "get", "resourcequota", "small", "-n", ns, "-o", "jsonpath={.status.used.requests\\.storage}")) == "5Gi"
	})
	got := look(t, cluster.Options{Context: bed.Context, Namespace: ns}, "w1")

	var version struct {
		Server struct {
			GitVersion string `json:"gitVersion"`
		} `json:"serverVersion"`
	}
	if err := json.Unmarshal([]byte(bed.Run(t, "version", "-o", "json")), &version); err != nil {
		t.Fatal(err)
	}
	if got.Version != version.Server.GitVersion || got.Context != bed.Context || got.Namespace != ns || !got.NamespaceExists || got.PodSecurity != "baseline" {
		t.Errorf("target %+v", got)
	}
	i := slices.IndexFunc(got.StorageClasses, func(c handoff.StorageClass) bool { return c.Name == class })
	want := handoff.StorageClass{
		Name: class, Provisioner: "rook-ceph.cephfs.csi.ceph.com", Binding: "WaitForFirstConsumer", Reclaim: "Retain", Expands: true,
		AccessModes: []string{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}, Known: true, Driver: "CephFS", Fact: "https://docs.ceph.com/en/latest/csi/",
	}
	if i < 0 {
		t.Fatalf("no class %s in %+v", class, got.StorageClasses)
	} else if diff := cmp.Diff(want, got.StorageClasses[i]); diff != "" {
		t.Errorf("class (-want +got):\n%s", diff)
	}
	own := slices.IndexFunc(got.StorageClasses, func(c handoff.StorageClass) bool { return c.Default })
	if own < 0 || got.StorageClasses[own].Name != bed.StorageClass || got.StorageClasses[own].Known {
		t.Errorf("default class: %+v", got.StorageClasses)
	}
	const g = 1 << 30
	if diff := cmp.Diff([]handoff.Quota{
		{Name: "small", Resource: "count/jobs.batch", Hard: 4}, {Name: "small", Resource: "cpu", Hard: 1500}, {Name: "small", Resource: "limits.memory", Hard: 2 * g},
		{Name: "small", Resource: "persistentvolumeclaims", Hard: 3, Used: 1}, {Name: "small", Resource: "pods", Hard: 5}, {Name: "small", Resource: "requests.storage", Hard: 10 * g, Used: 3 * g},
	}, got.Quotas); diff != "" {
		t.Errorf("quotas (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]handoff.Limit{
		{Name: "sizes", Type: "Container", Resource: "cpu", Max: 1000, Default: 1000, Request: 1000},
		{Name: "sizes", Type: "Container", Resource: "memory", Default: 256 << 20, Request: 64 << 20},
		{Name: "sizes", Type: "PersistentVolumeClaim", Resource: "storage", Min: g, Max: 8 * g},
	}, got.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]handoff.Object{
		{Kind: "ConfigMap", Name: "theirs", Owner: "Helm release shop"}, {Kind: "PersistentVolumeClaim", Name: "theirs"},
		{Kind: "Secret", Name: "other", Owner: "another workspace of statelift (w2)"},
	}, bedtest.Own(got).Existing); diff != "" {
		t.Errorf("existing (-want +got):\n%s", diff)
	}
	if len(got.Missing) != 0 {
		t.Errorf("the administrator lacks %+v", got.Missing)
	}
	checkNode(t, bed, got)

	// Nothing in it changes from moment to moment.
	if diff := cmp.Diff(bedtest.Own(got), bedtest.Own(look(t, cluster.Options{Context: bed.Context, Namespace: ns}, "w1"))); diff != "" {
		t.Errorf("looked at again (-first +second):\n%s", diff)
	}
}

func checkNode(t *testing.T, bed bedtest.Bed, got handoff.Target) {
	t.Helper()
	if len(got.Nodes) != 1 {
		t.Fatalf("nodes %+v", got.Nodes)
	}
	n := got.Nodes[0]
	told := strings.Fields(bed.Run(t, "get", "node", bed.Node, "-o", "jsonpath={.status.nodeInfo.architecture} {.status.nodeInfo.operatingSystem} {.status.allocatable.cpu} {.status.allocatable.memory}"))
	kib, err := strconv.ParseInt(strings.TrimSuffix(told[3], "Ki"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	cpu, err := strconv.ParseInt(told[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	want := handoff.Node{Name: bed.Node, Arch: told[0], OS: told[1], CPU: cpu * 1000, Memory: kib >> 10 << 20, Ready: true}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("node (-want +got):\n%s", diff)
	}
}

// A namespace that is not there would be made; one that this workspace made
// counts as such.
func TestInspectNamespaceOfItsOwn(t *testing.T) {
	bed := bedtest.Open(t)
	absent := look(t, cluster.Options{Context: bed.Context, Namespace: bedtest.Name("absent")}, "w1")
	if absent.NamespaceExists || len(absent.Missing) != 0 || len(bedtest.Own(absent).Existing) != 0 {
		t.Errorf("absent: %+v", absent)
	}
	ns := bed.Namespace(t, "statelift.io/workspace=w1", "pod-security.kubernetes.io/enforce=baseline")
	if got := look(t, cluster.Options{Context: bed.Context, Namespace: ns}, "w1"); got.NamespaceExists || got.PodSecurity != "" {
		t.Errorf("its own: %+v", got)
	}
	if got := look(t, cluster.Options{Context: bed.Context, Namespace: ns}, "w2"); !got.NamespaceExists || got.PodSecurity != "baseline" {
		t.Errorf("another's: %+v", got)
	}
}

// Who may not make the namespace is told so.
func TestMissingNamespacePermission(t *testing.T) {
	bed := bedtest.Open(t)
	home := bed.Namespace(t)
	bed.As(t, home, "lifter")
	role := bedtest.Name("viewer")
	bed.Run(t, "create", "clusterrole", role, "--verb=get", "--resource=namespaces")
	t.Cleanup(func() { bed.Run(t, "delete", "clusterrole", role) })
	bed.Run(t, "create", "clusterrolebinding", role, "--clusterrole="+role, "--serviceaccount="+home+":lifter")
	t.Cleanup(func() { bed.Run(t, "delete", "clusterrolebinding", role) })
	options := cluster.Options{Context: bed.Context, Namespace: bedtest.Name("absent")}
	waitFor(t, func() bool { return !look(t, options, "w1").NamespaceExists })
	var got []string
	for _, p := range look(t, options, "w1").Missing {
		if p.Resource == "namespaces" {
			got = append(got, p.Verb)
			if p.Optional || p.Namespace != "" {
				t.Errorf("%+v", p)
			}
		}
	}
	if diff := cmp.Diff([]string{"create", "patch"}, got); diff != "" {
		t.Errorf("missing for the namespace (-want +got):\n%s", diff)
	}
}

// Each missing permission is named, as kubectl auth can-i tells it, and what
// cannot be read makes no error.
func TestMissingPermissions(t *testing.T) {
	bed := bedtest.Open(t)
	ns := bed.Namespace(t)
	bed.As(t, ns, "lifter")
	options := cluster.Options{Context: bed.Context, Namespace: ns}
	nothing := look(t, options, "w1")
	if !nothing.NamespaceExists || nothing.StorageClasses != nil || nothing.Nodes != nil {
		t.Errorf("without any permission: %+v", nothing)
	}
	agree := func(missing []handoff.Permission, verb, resource string) {
		t.Helper()
		where := []string{"-n", ns}
		name, _, _ := strings.Cut(resource, ".")
		if slices.Contains([]string{"storageclasses", "csidrivers", "nodes", "persistentvolumes"}, name) { // of no namespace
			where = []string{"-A"}
		}
		asked, sub, ok := strings.Cut(resource, "/")
		if ok { // kubectl takes what is after a slash for a name
			where = append(where, "--subresource="+sub)
		}
		_, err := bed.Try("", append([]string{"auth", "can-i", verb, asked, "--as", "system:serviceaccount:" + ns + ":lifter"}, where...)...)
		lacks := slices.ContainsFunc(missing, func(p handoff.Permission) bool { return p.Verb == verb && p.Resource == name })
		if lacks != (err != nil) {
			t.Errorf("%s %s: missing %t, kubectl says %v", verb, resource, lacks, err)
		}
	}
	for _, p := range [][2]string{{"create", "jobs.batch"}, {"patch", "secrets"}, {"get", "pods/log"}, {"list", "storageclasses.storage.k8s.io"}, {"get", "namespaces"}} {
		agree(nothing.Missing, p[0], p[1])
	}
	bed.Apply(t, ns, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lifter}
rules:
- {apiGroups: ["", apps, batch, networking.k8s.io], resources: ["*"], verbs: ["*"]}
`)
	bed.Run(t, "create", "rolebinding", "lifter", "-n", ns, "--role=lifter", "--serviceaccount="+ns+":lifter")
	waitFor(t, func() bool { return len(look(t, options, "w1").Missing) < len(nothing.Missing) })
	some := look(t, options, "w1")
	var optional []string
	for _, p := range some.Missing {
		agree(some.Missing, p.Verb, p.Resource)
		if !p.Optional || p.For == "" {
			t.Errorf("%+v is still missing", p)
		}
		optional = append(optional, p.Verb+" "+p.Resource)
	}
	want := []string{"list storageclasses", "list csidrivers", "list nodes", "get persistentvolumes", "list persistentvolumes", "create persistentvolumes", "patch persistentvolumes", "delete persistentvolumes"}
	if diff := cmp.Diff(want, optional); diff != "" {
		t.Errorf("missing with all rights in the namespace (-want +got):\n%s", diff)
	}

	absent := look(t, cluster.Options{Context: bed.Context, Namespace: bedtest.Name("absent")}, "w1")
	if !absent.NamespaceExists { // the user may not even see that it is not there
		t.Errorf("absent: %+v", absent)
	}
}

func waitFor(t *testing.T, done func() bool) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatal("it did not happen within three minutes")
}
