package handoff

import (
	"fmt"
	"strings"
)

// Target is the cluster that was looked at. Written by target, read by plan,
// report and deploy. Without a cluster (a rehearsal) Context is empty, and so is
// all else.
type Target struct {
	Context   string `json:"context,omitempty"` // as in the kubeconfig; "" is a rehearsal
	Namespace string `json:"namespace,omitempty"`
	Server    string `json:"server,omitempty"`  // address of the API, for people
	Version   string `json:"version,omitempty"` // gitVersion of the server
	// NamespaceExists is false when deploy would make the namespace, or made it.
	NamespaceExists bool `json:"namespaceExists,omitempty"`
	// NamespaceLeaving is true while the namespace is being deleted.
	NamespaceLeaving bool `json:"namespaceLeaving,omitempty"`
	// PodSecurity is the level that labels of the namespace enforce: privileged,
	// baseline or restricted (Pod Security Admission). "" is none: the cluster's
	// own default holds, which nobody can ask for.
	PodSecurity    string         `json:"podSecurity,omitempty"`
	StorageClasses []StorageClass `json:"storageClasses,omitempty"`
	// CSIDrivers are the CSI drivers that are installed, by name.
	CSIDrivers []string `json:"csiDrivers,omitempty"`
	Quotas     []Quota  `json:"quotas,omitempty"`
	Limits     []Limit  `json:"limits,omitempty"`
	Nodes      []Node   `json:"nodes,omitempty"`
	// Existing are objects of the namespace that this workspace did not make and
	// that a plan's names could collide with.
	Existing []Object `json:"existing,omitempty"`
	// Missing are permissions that a run needs and that the user does not have.
	Missing []Permission `json:"missing,omitempty"`
}

// StorageClass is what the cluster offers, and what is known of its driver.
type StorageClass struct {
	Name        string `json:"name"`
	Provisioner string `json:"provisioner"`
	Binding     string `json:"binding"` // Immediate or WaitForFirstConsumer
	Reclaim     string `json:"reclaim"`
	Expands     bool   `json:"expands,omitempty"`
	Default     bool   `json:"default,omitempty"`
	// AccessModes are those that the driver is known to serve with file systems
	// (ReadWriteOnce, ReadOnlyMany, ReadWriteMany, ReadWriteOncePod); Known is
	// false for a driver that statelift's table does not have.
	AccessModes []string `json:"accessModes,omitempty"`
	Known       bool     `json:"known"`
	Driver      string   `json:"driver,omitempty"` // for people: "Ceph RBD"
	// Fact is the address of the documentation that AccessModes are from.
	Fact string `json:"fact,omitempty"`
	// NoOwners is why files there cannot have the owners that they had; "" when
	// they can.
	NoOwners string `json:"noOwners,omitempty"`
	// Notes are what a user of the class should know.
	Notes []string `json:"notes,omitempty"`
}

// Quota is one resource of a ResourceQuota, in the unit of the resource: bytes,
// millicores or a count.
type Quota struct {
	Name     string `json:"name"`     // of the ResourceQuota
	Resource string `json:"resource"` // requests.storage, persistentvolumeclaims, pods, …
	Hard     int64  `json:"hard"`
	// Used is what others use: what this workspace made is not in it.
	Used int64 `json:"used"`
	// Scopes are what Pods the quota counts: NotTerminating, or PriorityClass In
	// high,low; all when there are none.
	Scopes []string `json:"scopes,omitempty"`
}

// Limit is one bound of a LimitRange.
type Limit struct {
	Name     string `json:"name"`
	Type     string `json:"type"`     // Container, Pod, PersistentVolumeClaim
	Resource string `json:"resource"` // cpu, memory, storage
	Min      int64  `json:"min,omitempty"`
	Max      int64  `json:"max,omitempty"`
	// Default and Request are what a container gets that names no limit and no
	// request.
	Default int64 `json:"default,omitempty"`
	Request int64 `json:"request,omitempty"`
}

// Node is where Pods can run.
type Node struct {
	Name   string `json:"name"`
	Arch   string `json:"arch"`
	OS     string `json:"os"`
	CPU    int64  `json:"cpu"`    // allocatable, millicores
	Memory int64  `json:"memory"` // allocatable, bytes
	Ready  bool   `json:"ready"`
	// Taints are those that keep ordinary Pods away, as KEY=VALUE:EFFECT.
	Taints []string `json:"taints,omitempty"`
}

// Object names one object of the cluster.
type Object struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Owner is who it belongs to, for people: its managed-by label, or its
	// workspace.
	Owner string `json:"owner,omitempty"`
}

// Permission is something that the API server was asked about
// (SelfSubjectAccessReview).
type Permission struct {
	Verb      string `json:"verb"`
	Group     string `json:"group,omitempty"`
	Resource  string `json:"resource"`
	Namespace string `json:"namespace,omitempty"` // "" is the whole cluster
	For       string `json:"for"`                 // what needs it
	// Optional ones are needed by some plans only, or make the report poorer.
	Optional bool `json:"optional,omitempty"`
}

// Block is why the target cannot serve the plan, with the choices that a person
// has.
type Block struct {
	About   string   `json:"about"` // volume, workload, object, permission or database
	Text    string   `json:"text"`
	Choices []string `json:"choices"` // each one a thing to do, with the line for statelift.yaml where there is one
}

// BlocksText lists blocks for people, numbered, each with its choices below it.
func BlocksText(blocks []Block) string {
	var b strings.Builder
	for i, block := range blocks {
		fmt.Fprintf(&b, "\n%d. %s", i+1, block.Text)
		for _, c := range block.Choices {
			fmt.Fprintf(&b, "\n   - %s", c)
		}
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// Admission says that the target serves the plan. Written by admit, read by
// deploy.
type Admission struct {
	Target string `json:"target"` // "rehearsal" or CONTEXT/NAMESPACE
}

// Upload says where a cluster finds the seeds and statelift itself. Written by
// upload, read by manifests and deploy. In a rehearsal without far sides it is
// empty.
type Upload struct {
	// Carrier is "registry", "bucket" or "".
	Carrier string `json:"carrier,omitempty"`
	// Seeds is what the copy Jobs read, as for `statelift copy --seed`:
	// registry:HOST/PREFIX/seeds or the specification of an S3 store; never with
	// credentials.
	Seeds string `json:"seeds,omitempty"`
	// Copier is the image with statelift itself, REF@DIGEST; "" without a
	// registry.
	Copier string `json:"copier,omitempty"`
	// Arch is the architecture of that image (GOARCH).
	Arch  string `json:"arch,omitempty"`
	Blobs int64  `json:"blobs,omitempty"`
	Bytes int64  `json:"bytes,omitempty"`
}
