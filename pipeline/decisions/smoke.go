package decisions

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Smoke is one check that a lift ends with in a cluster: a page that must be
// served, or a command that must do well in a container. Exactly one of HTTP and
// Exec is given.
type Smoke struct {
	Name string    `json:"name,omitempty"` // for people; by default what it asks
	HTTP SmokeHTTP `json:"http,omitzero"`
	Exec SmokeExec `json:"exec,omitzero"`
	// Seconds is how long the check may take with all its attempts; 0 is 30.
	Seconds int32           `json:"seconds,omitempty"`
	Line    strictyaml.Line `json:"line,omitempty"`
}

// SmokeHTTP asks for a page with GET; it follows no redirection.
type SmokeHTTP struct {
	// Workload is one of the plan, whose Service is asked; Service is the name of
	// any other one in the namespace. One of them is given.
	Workload string `json:"workload,omitempty"`
	Service  string `json:"service,omitempty"`
	Port     int32  `json:"port,omitempty"` // by default the workload's first
	// TLS speaks HTTPS. The certificate is not verified: it is the host's own.
	TLS      bool   `json:"tls,omitempty"`
	Path     string `json:"path,omitempty"`     // with its query; by default /
	Host     string `json:"host,omitempty"`     // the header, and the server name of TLS
	Status   int    `json:"status,omitempty"`   // by default 200
	Contains string `json:"contains,omitempty"` // in the body
}

// SmokeExec runs a command in a container of a running Pod.
type SmokeExec struct {
	Workload  string   `json:"workload,omitempty"`
	Container string   `json:"container,omitempty"` // by default the workload's only one
	Command   []string `json:"command,omitempty"`
	Status    int      `json:"status,omitempty"`   // the exit code; by default 0
	Contains  string   `json:"contains,omitempty"` // in what it prints
}

// maxSeconds bounds one check.
const maxSeconds = 600

func (c *checker) smoke(d Decisions) {
	for _, s := range d.Smoke {
		h, e := s.HTTP, s.Exec
		http, exec := h != (SmokeHTTP{}), e.Workload != "" || e.Container != "" || len(e.Command) > 0 || e.Status != 0 || e.Contains != ""
		switch {
		case http == exec:
			c.fault(s.Line, "a smoke check wants exactly one of http and exec")
			continue
		case s.Seconds < 0 || s.Seconds > maxSeconds:
			c.fault(s.Line, "a smoke check of %d seconds is not between 1 and %d", s.Seconds, maxSeconds)
		case strings.ContainsFunc(s.Name, func(r rune) bool { return r < ' ' }):
			c.fault(s.Line, "the name of a smoke check is one line")
		}
		if http {
			c.smokeHTTP(s)
		} else {
			c.smokeExec(s)
		}
	}
}

func (c *checker) smokeHTTP(s Smoke) {
	h := s.HTTP
	switch {
	case (h.Workload == "") == (h.Service == ""):
		c.fault(s.Line, "http wants exactly one of workload and service")
	case h.Service != "" && h.Service != kubename.Label(h.Service, kubename.MaxLabel):
		c.fault(s.Line, "service %q is no DNS label (a-z, 0-9 and -)", h.Service)
	case h.Service != "" && h.Port == 0:
		c.fault(s.Line, "port is missing for the Service %s", h.Service)
	}
	if h.Port < 0 || h.Port > 65535 {
		c.fault(s.Line, "port %d is none", h.Port)
	}
	if h.Path != "" && !strings.HasPrefix(h.Path, "/") || strings.ContainsAny(h.Path, " \r\n\t#") {
		c.fault(s.Line, "path %q is none of a request (it begins with / and has no blanks)", h.Path)
	}
	if strings.ContainsAny(h.Host, " /\r\n\t") {
		c.fault(s.Line, "host %q is no name", h.Host)
	}
	if h.Status != 0 && (h.Status < 100 || h.Status > 599) {
		c.fault(s.Line, "status %d is none of HTTP (100 to 599)", h.Status)
	}
}

func (c *checker) smokeExec(s Smoke) {
	e := s.Exec
	switch {
	case e.Workload == "":
		c.fault(s.Line, "exec wants a workload")
	case len(e.Command) == 0 || e.Command[0] == "":
		c.fault(s.Line, "exec wants a command, as a list of words")
	case e.Status < 0 || e.Status > 255:
		c.fault(s.Line, "status %d is no exit code (0 to 255)", e.Status)
	}
	if slices.ContainsFunc(e.Command, func(w string) bool { return strings.ContainsRune(w, 0) }) {
		c.fault(s.Line, "a word of the command holds a NUL")
	}
	// The plan and its report show the command.
	if line := strings.Join(e.Command, " "); credential.RedactCommand(line) != line {
		c.fault(s.Line, "the command holds a credential: let it take that from a file or variable of the container")
	}
}
