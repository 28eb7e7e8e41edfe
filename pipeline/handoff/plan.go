package handoff

import (
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
)

// Plan is the decision for the whole host; plan.yaml is the same for people.
// Written by plan, read by images, objects, manifests, seed, deploy, verify and
// the report.
type Plan struct {
	Name      string   `json:"name"` // of the host, a DNS label: prefix of what is made
	Host      facts.OS `json:"host"`
	Namespace string   `json:"namespace,omitempty"`
	// Into is the namespace that is lifted into: that of the target, without one
	// that of statelift.yaml. It is a part of names that no namespace keeps apart.
	Into      string     `json:"into,omitempty"`
	Workloads []Workload `json:"workloads"`
	Volumes   []Volume   `json:"volumes"`
	Configs   []FileSet  `json:"configs"` // ConfigMaps
	Secrets   []FileSet  `json:"secrets"` // Secrets
	Shares    []Share    `json:"shares"`
	// Databases are the directories in volumes that are databases.
	Databases []Database `json:"databases,omitempty"`
	Objects   ObjectPlan `json:"objects"`
	LeftOut   []LeftOut  `json:"leftOut"` // units, scripts and cron jobs that become nothing
	Questions []Question `json:"questions"`
	Risks     []Risk     `json:"risks"`
	Look      []Look     `json:"look"` // "please look"
	Estimate  Estimate   `json:"estimate"`
	Balance   Balance    `json:"balance"`
	// Blocks are why the target cannot serve this plan, and which databases are no
	// copy when they are copied.
	Blocks []Block `json:"blocks,omitempty"`
	// CopierArch is what the program is for that fills the volumes (GOARCH); ""
	// in a rehearsal.
	CopierArch string `json:"copierArch,omitempty"`
	// HostAliases are lines that an administrator added to /etc/hosts.
	HostAliases []HostAlias `json:"hostAliases,omitempty"`
	// Mentions are places where configuration names the host itself.
	Mentions []Mention `json:"mentions,omitempty"`
	// Rewrites are what is said otherwise in the cluster than on the host.
	Rewrites []Rewrite `json:"rewrites,omitempty"`
	// Smoke are the checks that the user wants to see done in the cluster.
	Smoke []Smoke `json:"smoke,omitempty"`
	// Patched are files of packages whose content somebody changed.
	Patched []hostpath.Path `json:"patched,omitempty"`
}

// ObjectName is the name of the Kubernetes object made for the workload,
// volume, file set or share of that name: it starts with the plan's own name
// and leaves room for what Kubernetes appends to it.
func (p Plan) ObjectName(name string) string {
	return kubename.Label(p.Name+"-"+name, maxObjectName)
}

// ClusterName is [Plan.ObjectName] for an object that is in no namespace: lifts
// into other namespaces of the same cluster have other names.
func (p Plan) ClusterName(name string) string {
	if p.Into == "" {
		return p.ObjectName(name)
	}
	return kubename.Scoped(p.Into, p.Name+"-"+name, kubename.MaxLabel)
}

// maxObjectName is the limit of CronJobs, the tightest: eleven characters of
// the DNS label are for its Jobs.
const maxObjectName = 52

// WorkloadKind is the Kubernetes kind of a workload.
type WorkloadKind string

// The kinds.
const (
	StatefulSet WorkloadKind = "StatefulSet" // owns a volume
	Deployment  WorkloadKind = "Deployment"
	CronJob     WorkloadKind = "CronJob"
)

// Workload becomes a StatefulSet, a Deployment or a CronJob.
type Workload struct {
	Name        string       `json:"name"` // DNS label
	Kind        WorkloadKind `json:"kind"`
	Replicas    int32        `json:"replicas"`
	WhyKind     string       `json:"whyKind"`
	WhyTogether string       `json:"whyTogether,omitempty"` // why these containers share a Pod
	Schedule    string       `json:"schedule,omitempty"`    // of a CronJob: five fields
	TimeZone    string       `json:"timeZone,omitempty"`
	Containers  []Container  `json:"containers"`
	Mounts      []PodVolume  `json:"mounts"` // the Pod's volumes, mounted by its containers
	// GraceSeconds is terminationGracePeriodSeconds.
	GraceSeconds int64 `json:"graceSeconds"`
	// FSGroup is set only where a claim's files need it.
	FSGroup *int64 `json:"fsGroup,omitempty"`
	// LowPorts lets services bind ports below 1024 without a privilege: the safe
	// sysctl net.ipv4.ip_unprivileged_port_start.
	LowPorts bool `json:"lowPorts,omitempty"`
	// Near is a workload on whose node this one must run, since they share a
	// ReadWriteOnce volume.
	Near    string  `json:"near,omitempty"`
	Service []Port  `json:"service,omitempty"` // ports that other hosts reach
	Verdict Verdict `json:"verdict"`
	// External is there when the data live in a server outside the cluster: the
	// workload has no Pods then, but that of the Job that brings them there.
	External *External `json:"external,omitempty"`
}

// Container is one service of a workload.
type Container struct {
	Name    string        `json:"name"`    // DNS label
	Unit    string        `json:"unit"`    // what it was on the host: unit, script or cron job
	Profile string        `json:"profile"` // the application profile
	Image   string        `json:"image"`   // name in the images hand-off
	Command []string      `json:"command"` // in the foreground; without credentials
	Env     []Env         `json:"env,omitempty"`
	WorkDir hostpath.Path `json:"workDir,omitempty"`
	UID     uint32        `json:"uid"`
	GID     uint32        `json:"gid"`
	Groups  []uint32      `json:"groups,omitempty"` // supplementary
	// StartsAsRoot is for a service that drops privileges by itself.
	StartsAsRoot bool             `json:"startsAsRoot,omitempty"`
	Capabilities []string         `json:"capabilities,omitempty"` // kept; all others are dropped
	Ports        []Port           `json:"ports,omitempty"`
	Mounts       []Mount          `json:"mounts,omitempty"`
	StopSignal   string           `json:"stopSignal,omitempty"`
	Ready        *Probe           `json:"ready,omitempty"`
	Live         *Probe           `json:"live,omitempty"`
	Startup      *Probe           `json:"startup,omitempty"`
	Resources    Resources        `json:"resources"`
	Evidence     []claim.Evidence `json:"evidence,omitempty"`
	// Before are commands to run before the service, as ExecStartPre= did.
	Before [][]string `json:"before,omitempty"`
	// ReadOnlyRoot is true when everything that the service can write is
	// mounted, so that the image itself may be read-only.
	ReadOnlyRoot bool `json:"readOnlyRoot,omitempty"`
	// Escalates is true when the program gains capabilities by its file, which
	// allowPrivilegeEscalation=false would prevent.
	Escalates bool `json:"escalates,omitempty"`
	// LogLinks are log files that lead to /dev/stdout or /dev/stderr.
	LogLinks map[hostpath.Path]string `json:"logLinks,omitempty"`
}

// Env is one variable: a plain Value, or a key of a FileSet when From is set.
type Env struct {
	Name   string `json:"name"`
	Value  string `json:"value,omitempty"`
	From   string `json:"from,omitempty"` // name of a FileSet
	Key    string `json:"key,omitempty"`
	Secret bool   `json:"secret,omitempty"` // the FileSet is a Secret
}

// Port is where a container listens.
type Port struct {
	Name     string `json:"name"` // IANA_SVC_NAME, at most 15 characters
	Number   int32  `json:"number"`
	Protocol string `json:"protocol"` // TCP, UDP
	// From are the workloads that alone reach it; none is everybody.
	From []string `json:"from,omitempty"`
}

// Origin is what stands behind a mount.
type Origin string

// The origins.
const (
	FromVolume    Origin = "volume"
	FromConfig    Origin = "config"
	FromSecret    Origin = "secret"
	FromEphemeral Origin = "ephemeral"
	FromShare     Origin = "share"
	FromObjects   Origin = "objects" // an emptyDir that each Pod fills from the bucket
)

// PodVolume is a volume of the Pod.
type PodVolume struct {
	Name   string `json:"name"` // DNS label, unique in the Pod
	Origin Origin `json:"origin"`
	Of     string `json:"of,omitempty"` // name of the Volume, FileSet or Share; the directory of objects
	// For ephemeral ones: what the directory must be like.
	Dirs []EphemeralDir `json:"dirs,omitempty"`
	// Files are empty files that must be there, each under the key of its path
	// ([kubename.Key]); Mounts name them by SubPath.
	Files     []EphemeralDir `json:"files,omitempty"`
	Memory    bool           `json:"memory,omitempty"` // tmpfs, as /run was
	SizeLimit int64          `json:"sizeLimit,omitempty"`
}

// Mount puts (a part of) a PodVolume at a place of the container.
type Mount struct {
	Volume   string        `json:"volume"` // PodVolume.Name
	Path     hostpath.Path `json:"path"`
	SubPath  string        `json:"subPath,omitempty"`
	ReadOnly bool          `json:"readOnly,omitempty"`
}

// Volume becomes a PersistentVolumeClaim and is filled by a seed.
type Volume struct {
	Name    string        `json:"name"` // DNS label
	Path    hostpath.Path `json:"path"` // the volume's root on the host
	Seed    bool          `json:"seed"` // false: it starts empty
	Reason  string        `json:"reason"`
	Entries int64         `json:"entries"`
	Files   int64         `json:"files"`
	Bytes   int64         `json:"bytes"`
	// Request is the size of the claim in bytes: Bytes with head-room, rounded
	// up to GiB.
	Request int64  `json:"request"`
	Mode    uint32 `json:"mode"`
	UID     uint32 `json:"uid"`
	GID     uint32 `json:"gid"`
	// Writers and Readers are containers as WORKLOAD/CONTAINER.
	Writers    []string         `json:"writers,omitempty"`
	Readers    []string         `json:"readers,omitempty"`
	AccessMode string           `json:"accessMode"` // ReadWriteOnce, ReadWriteMany, …
	WhyAccess  string           `json:"whyAccess"`
	Class      string           `json:"storageClass,omitempty"`
	Owner      string           `json:"owner"` // the workload that it belongs to; "" for none
	Confidence claim.Confidence `json:"confidence"`
	// Check is the profile's own command to check the data.
	Check []string `json:"check,omitempty"`
	// CheckIn is the container that runs Check, as WORKLOAD/CONTAINER.
	CheckIn string `json:"checkIn,omitempty"`
}

// FileSet becomes a ConfigMap or a Secret: files of the host under keys.
type FileSet struct {
	Name  string    `json:"name"`  // DNS subdomain
	Owner string    `json:"owner"` // workload
	Files []KeyFile `json:"files"`
	Bytes int64     `json:"bytes"` // of all values
	// Values are what no file holds: variables taken from a unit. Not for
	// credentials; those are read again from Files when the Secret is made.
	Values map[string]string `json:"values,omitempty"`
}

// KeyFile is one file of a FileSet.
type KeyFile struct {
	Key  string        `json:"key"` // [-._a-zA-Z0-9]+
	Path hostpath.Path `json:"path"`
	Size int64         `json:"size"`
	Mode uint32        `json:"mode"`
	UID  uint32        `json:"uid"`
	GID  uint32        `json:"gid"`
	// Variable is set when the value is not the file but the value of one
	// assignment in it (an EnvironmentFile).
	Variable string `json:"variable,omitempty"`
	// Credential is set when the value is not the file but that of SetCredential=
	// with this name in it (systemd.exec(5)).
	Credential string `json:"credential,omitempty"`
	// Option is set when the value is not the file but that of one option in it, a
	// credentials file of mount.cifs(8).
	Option string `json:"option,omitempty"`
	// As is where the file is mounted when that is not Path: what a unit gets as a
	// credential.
	As hostpath.Path `json:"as,omitempty"`
	// Copied is for a service that refuses a root-owned file: an init container
	// copies it into an emptyDir with owner and mode.
	Copied bool `json:"copied,omitempty"`
	// Edits are made in the value (the file's content, or that of Variable), in
	// their order. Size is that after them.
	Edits []Edit `json:"edits,omitempty"`
	// Made is the content of a file that the host does not have; Path is where
	// it is mounted. It holds no credential.
	Made string `json:"made,omitempty"`
}

// At is where the file is mounted.
func (f KeyFile) At() hostpath.Path {
	if f.As != "" {
		return f.As
	}
	return f.Path
}

// Edit puts New in the place of Old, which begins at the byte At of the file as
// it is on the host. Neither holds a credential.
type Edit struct {
	At  int64  `json:"at"`
	Old string `json:"old"`
	New string `json:"new"`
}

// Rewrite is one setting, variable, option or account that has to be another
// one in the cluster, and is.
type Rewrite struct {
	For  []string `json:"for"`  // containers as WORKLOAD/CONTAINER
	What string   `json:"what"` // the setting, the variable, the command
	// Old and New are the values; Old is empty for what was not said before.
	Old string `json:"old,omitempty"`
	New string `json:"new"`
	Why string `json:"why"`
	// Source is where the old value is, or would be; without a path it is no file
	// of the host.
	facts.Source
	// In is the object that holds the file or variable: "ConfigMap NAME",
	// "Secret NAME"; "" for what the workload's own manifest says.
	In string `json:"in,omitempty"`
}

// Share is a network share that is mounted as it is.
type Share struct {
	Name     string        `json:"name"`
	FSType   string        `json:"fsType"`
	Server   string        `json:"server"`
	Export   string        `json:"export"`
	Path     hostpath.Path `json:"path"` // mount point on the host
	Options  []string      `json:"options,omitempty"`
	ReadOnly bool          `json:"readOnly,omitempty"`
	Users    []string      `json:"users,omitempty"` // workloads that reach below Path
	// Driver is the CSI driver that mounts what Kubernetes does not mount by
	// itself; "" when none is known. Secret is the FileSet with its credentials.
	Driver   string         `json:"driver,omitempty"`
	Secret   string         `json:"secret,omitempty"`
	Evidence claim.Evidence `json:"evidence"`
}

// NFS reports whether Kubernetes mounts the share by itself; others need a CSI
// driver of the cluster.
func (s Share) NFS() bool { return s.FSType == "nfs" || s.FSType == "nfs4" }

// SMB reports whether the share is one of mount.cifs(8).
func (s Share) SMB() bool { return s.FSType == "cifs" || s.FSType == "smb3" || s.FSType == "smbfs" }

// Mounted reports whether the share becomes a PersistentVolume.
func (s Share) Mounted() bool { return (s.NFS() || s.Driver != "") && len(s.Users) > 0 }

// ObjectPlan is what goes to the object store.
type ObjectPlan struct {
	Entries int64 `json:"entries"`
	Files   int64 `json:"files"`
	Bytes   int64 `json:"bytes"`
	Largest int64 `json:"largest"`
}

// LeftOut is a unit, script or job that becomes no workload, and why.
type LeftOut struct {
	Unit   string `json:"unit"`
	Reason string `json:"reason"`
	Rule   string `json:"rule"`
}

// Question is for the user; the plan goes on with Default until it is answered
// in statelift.yaml.
type Question struct {
	ID      string   `json:"id"`
	About   string   `json:"about"`
	Text    string   `json:"text"`
	Choices []string `json:"choices,omitempty"`
	Default string   `json:"default"`
	Answer  string   `json:"answer,omitempty"` // the lines for statelift.yaml
}

// Risk is something that may go wrong, and the remedy.
type Risk struct {
	About  string `json:"about"`
	Text   string `json:"text"`
	Remedy string `json:"remedy"`
	Level  string `json:"level"` // high, medium, low
}

// Look is a path that a person should look at.
type Look struct {
	Path       hostpath.Path    `json:"path"`
	Class      claim.Class      `json:"class"`
	Files      int64            `json:"files"`
	Bytes      int64            `json:"bytes"`
	Confidence claim.Confidence `json:"confidence"`
	Reason     string           `json:"reason"`
}

// School is the answer to "where should the state live".
type School string

// The schools.
const (
	InCluster School = "in the cluster"
	Outside   School = "state outside the cluster"
	Refactor  School = "refactor first"
	KeepOut   School = "keep it out of Kubernetes"
)

// Verdict is the school that fits a workload, with reasons and the numbers
// that were measured.
type Verdict struct {
	School  School   `json:"school"`
	Reasons []string `json:"reasons"`
	Others  []string `json:"others,omitempty"` // why the other schools were not chosen
}

// Estimate is a forecast; Basis says from what.
type Estimate struct {
	ImageBytes  int64  `json:"imageBytes"`
	SeedBytes   int64  `json:"seedBytes"`
	ObjectBytes int64  `json:"objectBytes"`
	Workspace   int64  `json:"workspaceBytes"` // disk that the run needs here
	CopySeconds int64  `json:"copySeconds"`
	Basis       string `json:"basis"`
}

// HostAlias is an entry of hostAliases.
type HostAlias struct {
	IP    string   `json:"ip"`
	Names []string `json:"names"`
	facts.Source
}

// Mention is a place where configuration names the host by name or address.
type Mention struct {
	What string `json:"what"`
	facts.Source
}

// Probe is how a container is asked whether it is well.
type Probe struct {
	HTTPPath string   `json:"httpPath,omitempty"`
	Port     int32    `json:"port,omitempty"`
	TLS      bool     `json:"tls,omitempty"`
	Exec     []string `json:"exec,omitempty"`
	Initial  int32    `json:"initialSeconds,omitempty"`
	Period   int32    `json:"periodSeconds,omitempty"`
	Timeout  int32    `json:"timeoutSeconds,omitempty"`
	Failures int32    `json:"failures,omitempty"`
}

// Resources are requests and limits: CPU in millicores, memory in bytes.
type Resources struct {
	CPU         int64 `json:"cpu"`
	Memory      int64 `json:"memory"`
	MemoryLimit int64 `json:"memoryLimit,omitempty"`
}

// Report names the planning report's files. Written by report, read by nobody.
type Report struct {
	Files []ReportFile `json:"files"`
}

// ReportFile is one file of the report, relative to the workspace.
type ReportFile struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}
