package handoff

// Smoke is a check that the user wants to see done in the cluster, with all that
// it did not say filled in. Exactly one of HTTP and Exec is there.
type Smoke struct {
	Name string     `json:"name"`
	Said string     `json:"said"` // the line that asks for it: statelift.yaml:12
	HTTP *SmokeHTTP `json:"http,omitempty"`
	Exec *SmokeExec `json:"exec,omitempty"`
	// Seconds is how long the check may take with all its attempts.
	Seconds int32 `json:"seconds"`
}

// SmokeHTTP is a page that is asked for with GET.
type SmokeHTTP struct {
	Service  string `json:"service"` // name of the object
	Port     int32  `json:"port"`    // of the Service
	TLS      bool   `json:"tls,omitempty"`
	Path     string `json:"path"`
	Host     string `json:"host,omitempty"`
	Status   int    `json:"status"`
	Contains string `json:"contains,omitempty"`
}

// SmokeExec is a command in a container of a workload.
type SmokeExec struct {
	Workload  string   `json:"workload"` // of the plan
	Container string   `json:"container"`
	Command   []string `json:"command"`
	Status    int      `json:"status"`
	Contains  string   `json:"contains,omitempty"`
}
