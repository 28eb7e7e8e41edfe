package plan

import "github.com/statelift/statelift/pipeline/hostpath"

// Options is what changes the result.
type Options struct {
	Decisions Decisions `json:"decisions,omitzero"`
}

// Decisions is what the user decided in statelift.yaml, as far as the plan is
// concerned. Units are named as on the host: a unit (mariadb.service, or mariadb
// alone), an init script (/etc/init.d/NAME), a cron job (/etc/cron.d/NAME:LINE).
type Decisions struct {
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	// Together lists workloads by name with the units that share its Pod; a unit
	// listed here joins no other one by itself.
	Together map[string][]string `json:"together,omitempty"`
	// LeaveOut are units that become nothing, with the reason.
	LeaveOut map[string]string `json:"leaveOut,omitempty"`
	// Keep are units that become workloads whatever a rule says.
	Keep []string `json:"keep,omitempty"`
	// Volumes are choices by the volume's root on the host.
	Volumes map[hostpath.Path]VolumeChoice `json:"volumes,omitempty"`
	// Answers are answers to questions, by their IDs.
	Answers map[string]string `json:"answers,omitempty"`
	// Where says where a decision was written, for messages: file:line by the
	// key's path (volumes./srv/x, answers.ID).
	Where map[string]string `json:"where,omitempty"`
}

// VolumeChoice overrides what the plan derives for one volume.
type VolumeChoice struct {
	Name         string `json:"name,omitempty"`
	Request      int64  `json:"request,omitempty"` // bytes
	StorageClass string `json:"storageClass,omitempty"`
	AccessMode   string `json:"accessMode,omitempty"`
	Owner        string `json:"owner,omitempty"` // a unit
}

// names reports whether a decision on key speaks of the unit.
func names(key, unit string) bool {
	return key == unit || key+".service" == unit
}
