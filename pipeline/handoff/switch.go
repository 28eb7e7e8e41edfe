package handoff

import (
	"fmt"
	"time"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// Switch is the journal of a cutover and of the way back. Written by cutover,
// rollback and accept before each step, read by status, and by run, sync and
// clean, which must do no harm to a switch under way.
type Switch struct {
	State SwitchState `json:"state"`
	Began time.Time   `json:"began"` // of this cutover
	// Into is where the workloads are; nil when nothing says so. What goes on, or
	// back, does it there, whatever the workspace and the kubeconfig say by then.
	Into *SwitchPlace `json:"into,omitempty"`
	// Stopped is when the first service of the source was told to stop, Ready when
	// all workloads of the cluster were ready, Served when the first smoke check did
	// well.
	Stopped time.Time `json:"stopped,omitzero"`
	Ready   time.Time `json:"ready,omitzero"`
	Served  time.Time `json:"served,omitzero"`
	// Returned is when the source served again.
	Returned time.Time `json:"returned,omitzero"`

	// Quiesce says that statelift stops and starts the source's services, with
	// OnSource before each command; without it the user vouched that they are
	// stopped and stay so.
	Quiesce  bool   `json:"quiesce"`
	OnSource string `json:"onSource,omitempty"`
	// Touched says that a command that changes the source was, or may have been,
	// run and not undone.
	Touched bool `json:"touched,omitempty"`
	// Opened says that the cluster's fence was, or may have been, opened: what runs
	// there may have written since.
	Opened bool `json:"opened,omitempty"`
	// Written is the number of the last round before the cluster was opened, also by
	// an earlier cutover, 0 when it never was: until a later round, the volumes are
	// what somebody wrote to them.
	Written int `json:"written,omitempty"`

	// Round is the number of the final round, 0 before it.
	Round int `json:"round,omitempty"`
	// PredictedDowntime was told before the cutover, 0 when nothing was known, and
	// Predicted are its parts; Granted is what --max-downtime allowed, 0 without it.
	PredictedDowntime time.Duration `json:"predictedDowntimeNanoseconds,omitempty"`
	Predicted         []SwitchCost  `json:"predicted,omitempty"`
	Granted           time.Duration `json:"grantedNanoseconds,omitempty"`
	// Learnt is what the steps of earlier cutovers took, also of those that were
	// taken back; the next one goes by it.
	Learnt SwitchCosts  `json:"learnt,omitzero"`
	Steps  []SwitchStep `json:"steps,omitempty"` // that were done, in their order
	// Failure is why a cutover went back by itself, "" when the user asked for it.
	Failure string `json:"failure,omitempty"`
	// Changes are what was written in the cluster, of a switch that came back.
	Changes []VolumeChanges `json:"changes,omitempty"`
}

// SwitchPlace is a namespace of a cluster; all is "" in a rehearsal.
type SwitchPlace struct {
	Context   string `json:"context,omitempty"` // of the kubeconfig
	Namespace string `json:"namespace,omitempty"`
	// Cluster is the UID of the namespace kube-system, which no other cluster has, ""
	// when it may not be read.
	Cluster string `json:"cluster,omitempty"`
}

// SwitchState is how far a switch is. It is written before what it names is
// begun, so that whatever a kill leaves is known to be possible.
type SwitchState string

// The states, in the order of a switch. A switch that was never begun has none.
const (
	SwitchStopping  SwitchState = "stopping"  // the source's services are being stopped and fenced
	SwitchJudging   SwitchState = "judging"   // its databases are being looked at
	SwitchSyncing   SwitchState = "syncing"   // the final round and its proof
	SwitchReleasing SwitchState = "releasing" // the cluster's fence is being opened: from here on it may write
	SwitchChecking  SwitchState = "checking"  // the cluster serves, and is being checked
	SwitchServing   SwitchState = "serving"   // the cluster serves, and there is a way back
	SwitchAccepted  SwitchState = "accepted"  // the cluster serves, for good
	SwitchHolding   SwitchState = "holding"   // on the way back: the cluster is being held
	SwitchStarting  SwitchState = "starting"  // on the way back: the source is being unfenced and started
	SwitchListing   SwitchState = "listing"   // the source serves; what the cluster wrote is being listed
	SwitchReturned  SwitchState = "returned"  // the source serves
)

// UnmarshalText refuses a state that this statelift does not know: to take one for
// the beginning would begin a second switch beside the first.
func (s *SwitchState) UnmarshalText(text []byte) error {
	state := SwitchState(text)
	switch state {
	case "", SwitchStopping, SwitchJudging, SwitchSyncing, SwitchReleasing, SwitchChecking, SwitchServing, SwitchAccepted,
		SwitchHolding, SwitchStarting, SwitchListing, SwitchReturned:
		*s = state
		return nil
	}
	return fmt.Errorf("%.40q is no state of a switch that this statelift knows: go on with the version that wrote it", text)
}

// Side is one of the two places that could serve.
type Side string

// The sides.
const (
	SourceSide  Side = "source"
	ClusterSide Side = "cluster"
)

// Truth is the side whose data counts.
func (s SwitchState) Truth() Side {
	switch s {
	case SwitchReleasing, SwitchChecking, SwitchServing, SwitchAccepted:
		return ClusterSide
	}
	return SourceSide
}

// Settled reports whether nothing is left to be done or undone.
func (s SwitchState) Settled() bool {
	switch s {
	case "", SwitchServing, SwitchAccepted, SwitchReturned:
		return true
	}
	return false
}

// SwitchCosts are the parts of a downtime beside the final round, as an earlier
// cutover took them; 0 is not known.
type SwitchCosts struct {
	Stop  time.Duration `json:"stopNanoseconds,omitempty"`  // of the source's services, with their fence
	Judge time.Duration `json:"judgeNanoseconds,omitempty"` // the look at its databases
	Start time.Duration `json:"startNanoseconds,omitempty"` // of the workloads, until they are ready
	Smoke time.Duration `json:"smokeNanoseconds,omitempty"` // until the first smoke check did well
}

// SwitchCost is what a step of the downtime should take.
type SwitchCost struct {
	Name string        `json:"name"` // of the step
	Took time.Duration `json:"tookNanoseconds"`
	By   string        `json:"by"` // for people: what was measured, or that it is supposed
}

// SwitchStep is one step with what it took.
type SwitchStep struct {
	Name      string        `json:"name"`
	Took      time.Duration `json:"tookNanoseconds"`
	Predicted time.Duration `json:"predictedNanoseconds,omitempty"` // 0 when nothing was known
	By        string        `json:"by,omitempty"`                   // what Predicted goes by
	// Down says that nobody served meanwhile.
	Down   bool   `json:"down,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// VolumeChanges is what was written to one volume in the cluster since the
// cutover.
type VolumeChanges struct {
	Volume string `json:"volume"`
	// Outside is the server, HOST:PORT, when these are the databases of the workload
	// Volume in a server outside the cluster; then paths are tables: /DATABASE/TABLE.
	Outside string `json:"outside,omitempty"`
	Added   int64  `json:"added"`   // paths
	Altered int64  `json:"altered"` // paths whose content changed
	Dressed int64  `json:"dressed"` // paths of which only metadata changed
	Removed int64  `json:"removed"` // paths
	Bytes   int64  `json:"bytes"`   // of content of added and altered files
	// File holds all of them, one JSON document per line ([Change]), relative to
	// the workspace; First are the first hundred.
	File   string   `json:"file"`
	SHA256 string   `json:"sha256"`
	First  []Change `json:"first,omitempty"`
	// Archive is the tar archive with what was added and changed, "" when none was
	// asked for.
	Archive       string `json:"archive,omitempty"`
	ArchiveSHA256 string `json:"archiveSHA256,omitempty"`
}

// Change is one path that is not as the newest round left it.
type Change struct {
	Path hostpath.Path `json:"path"` // in the volume
	What string        `json:"what"` // added, altered, dressed, removed
	Type string        `json:"type,omitempty"`
	Size int64         `json:"size,omitempty"`
	// Rows and RowsBefore are of a table.
	Rows       int64 `json:"rows,omitempty"`
	RowsBefore int64 `json:"rowsBefore,omitempty"`
}
