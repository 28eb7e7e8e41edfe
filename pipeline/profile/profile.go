// Package profile is what statelift knows about applications and hosts, as data:
// one YAML file per application under templates/profiles, and the rules for what
// every host has under templates/rules. Adding an application means adding a file
// and a fixture, no Go code.
package profile

import (
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Profile describes one application.
type Profile struct {
	Name    string `json:"name"` // the file's name without .yaml
	Title   string `json:"title"`
	Summary string `json:"summary,omitempty"`
	// Recognise says when the profile applies: any of the lists matches.
	Recognise Recognise `json:"recognise"`
	// Settings is the configuration that is read for it.
	Settings []Settings `json:"settings,omitempty"`
	// Config are the places of its configuration, trees or globs: what a package
	// shipped there and nobody changed stays in the image, everything else that
	// is a regular file serves this application as config, or as secret when it
	// carries a credential.
	Config []string `json:"config,omitempty"`
	// Paths are the claims it makes.
	Paths []Path `json:"paths,omitempty"`
	// Secrets are settings and files that carry credentials.
	Secrets Secrets `json:"secrets,omitzero"`
	// Rewrites are configuration files that the service itself writes: they
	// cannot be in a ConfigMap, the directory that holds one becomes a volume.
	Rewrites []string `json:"rewrites,omitempty"`
	Run      Run      `json:"run,omitzero"`
	Data     Data     `json:"data,omitzero"`
	Network  Network  `json:"network,omitzero"`

	// File is the name of the file that it was read from.
	File string          `json:"-"`
	Line strictyaml.Line `json:"-"`
}

// Recognise matches units (globs of names without the type: mariadb, php*-fpm),
// packages (globs) and programs (globs of absolute paths of ExecStart). For an
// application that runs in another one's process (Run.PartOf), programs are those
// of its code by which a job is seen to use it.
type Recognise struct {
	Units    []string `json:"units,omitempty"`
	Packages []string `json:"packages,omitempty"` // helps only together with a unit, or when there is no unit (a library of PHP code)
	Programs []string `json:"programs,omitempty"`
	// Files are globs of paths whose presence means the application is there
	// even without a unit: /etc/wordpress/config-*.php.
	Files []string `json:"files,omitempty"`
}

// Settings names configuration files and their format.
type Settings struct {
	// Format is one of ini, mysql, apache, nginx, postgresql, redis, env, php,
	// sshd (keyword value), java (properties), xml (attributes).
	Format string   `json:"format"`
	Files  []string `json:"files"` // globs; includes are followed by the format's own rules
}

// Formats are the formats that Settings may name.
func Formats() []string {
	return []string{"ini", "mysql", "apache", "nginx", "postgresql", "redis", "env", "php", "sshd", "java", "xml"}
}

// Path is one claim of a profile. Exactly one of Path and Setting is set.
type Path struct {
	Path    string `json:"path,omitempty"`    // absolute; a glob when Reach is glob
	Setting string `json:"setting,omitempty"` // glob of setting keys, see [MatchKey]; each value is an absolute path
	// Default is the path when no setting names one.
	Default    string           `json:"default,omitempty"`
	Class      claim.Class      `json:"class"`
	Reach      claim.Reach      `json:"reach,omitempty"` // default tree
	Reason     string           `json:"reason"`
	Confidence claim.Confidence `json:"confidence,omitempty"` // default high
	// When narrows the claim, see [claim.Condition].
	When string `json:"when,omitempty"`
	// Parent applies the claim to the directory that holds the path: a socket's
	// or a pid file's run-time directory, a log file's directory.
	Parent bool `json:"parent,omitempty"`
	// Below appends a relative path to what a setting names.
	Below string `json:"below,omitempty"`
	// Code says that the tree holds code and data: it is divided below its root
	// where evidence is good. Class is what remains without evidence.
	Code bool `json:"code,omitempty"`
	// Unless are paths at which the claim would be nonsense when a setting names
	// them, beside those of [NeverClaimed].
	Unless []string `json:"unless,omitempty"`

	Line strictyaml.Line `json:"-"`
}

// Secrets says where credentials are.
type Secrets struct {
	Settings []string `json:"settings,omitempty"` // globs of keys whose value is a credential
	Files    []string `json:"files,omitempty"`    // globs of paths
	// KeyFiles are globs of settings whose values are paths of files that hold a
	// credential: private keys, password files.
	KeyFiles []string `json:"keyFiles,omitempty"`
}

// Run is how the application runs in a container.
type Run struct {
	// Command runs the service in the foreground; {exec} is the program of
	// ExecStart, {args} its arguments, {user} and {unit} the names of both,
	// {setting:KEY} a setting,
	// {setting:KEY|FALLBACK} one with a value for when it is not set. Empty:
	// ExecStart as it is, for Type=simple, exec, notify.
	Command []string      `json:"command,omitempty"`
	Env     []handoff.Env `json:"env,omitempty"`
	// StartsAsRoot is for a service that binds, then drops privileges by itself.
	StartsAsRoot bool           `json:"startsAsRoot,omitempty"`
	User         string         `json:"user,omitempty"` // when the unit names none
	Group        string         `json:"group,omitempty"`
	Capabilities []string       `json:"capabilities,omitempty"`
	StopSignal   string         `json:"stopSignal,omitempty"`
	GraceSeconds int64          `json:"graceSeconds,omitempty"`
	Ports        []handoff.Port `json:"ports,omitempty"` // when configuration names none
	// Loopback services listen for their own host only by default.
	Loopback bool           `json:"loopback,omitempty"`
	Ready    *handoff.Probe `json:"ready,omitempty"`
	Live     *handoff.Probe `json:"live,omitempty"`
	Startup  *handoff.Probe `json:"startup,omitempty"`
	// Logs says how what it logs reaches standard output: "stdout" by an option
	// in Command, "link" by links from the files named to /dev/stdout.
	Logs     string            `json:"logs,omitempty"`
	LogLinks map[string]string `json:"logLinks,omitempty"` // path, setting:KEY for all its values → /dev/stdout or /dev/stderr
	Runtime  []Runtime         `json:"runtime,omitempty"`  // directories that must exist
	// SharedMemory is how large /dev/shm must be, in bytes (shm_overview(7)): hosts
	// give it half of their memory, containers 64 MiB. What is in it counts as the
	// container's memory.
	SharedMemory int64             `json:"sharedMemory,omitempty"`
	Resources    handoff.Resources `json:"resources,omitzero"`
	// PartOf names profiles that run this one's code inside their process
	// (wordpress in apache2 or php-fpm): no container of its own.
	PartOf []string `json:"partOf,omitempty"`
	// Uses names profiles that it needs over a socket or loopback.
	Uses []string `json:"uses,omitempty"`
	// LeaveOut is the reason why the service becomes no workload (host plumbing).
	LeaveOut string `json:"leaveOut,omitempty"`
}

// Runtime is a run-time directory.
type Runtime struct {
	Path  string `json:"path"`
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	Mode  string `json:"mode,omitempty"` // octal
}

// Data is how its data is treated.
type Data struct {
	Writers string  `json:"writers,omitempty"` // "one": only one instance may ever write; "many"
	Quiesce Quiesce `json:"quiesce,omitzero"`
	Store   Store   `json:"store,omitzero"`
	Backup  Backup  `json:"backup,omitzero"`
	// Clean says how a clean shutdown is seen in its files, for people.
	Clean string   `json:"clean,omitempty"`
	Check []string `json:"check,omitempty"` // command that checks the data after arrival
	// Outside says why and how the state may live outside the cluster.
	Outside string         `json:"outside,omitempty"`
	School  handoff.School `json:"school,omitempty"` // what usually fits
}

// NeverClaimed are directories that no setting may claim as a whole, whatever it
// says: a log file in /var/log does not make /var/log its own.
func NeverClaimed() []string {
	return []string{"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc",
		"/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/usr/sbin",
		"/usr/share", "/var", "/var/cache", "/var/lib", "/var/local", "/var/log", "/var/mail", "/var/opt", "/var/run",
		"/var/spool", "/var/tmp", "/var/www", "/dev/null", "/dev/stdout", "/dev/stderr", "/dev/shm"}
}
