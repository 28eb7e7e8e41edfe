// Package facts holds what the scan found out about a host beyond its files:
// one Go type per kind of fact. The scan's collectors write them to the
// inventory, the split and the plan read them.
//
// No fact holds a credential: collectors store [Redacted] in its place.
package facts

import (
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Redacted stands where a value looked like a credential.
const Redacted = "[redacted]"

// Kind names a kind of fact in the inventory.
type Kind string

// The kinds, each with the type that its facts have.
const (
	KindOS          Kind = "os"          // OS
	KindPackage     Kind = "package"     // Package
	KindDiversion   Kind = "diversion"   // Diversion
	KindAlternative Kind = "alternative" // Alternative
	KindUser        Kind = "user"        // User
	KindGroup       Kind = "group"       // Group
	KindUnit        Kind = "unit"        // Unit
	KindScript      Kind = "sysv"        // Script
	KindCron        Kind = "cron"        // Cron
	KindFstab       Kind = "fstab"       // Fstab
	KindTmpfile     Kind = "tmpfile"     // Tmpfile
	KindSetting     Kind = "setting"     // Setting
	KindListener    Kind = "listener"    // Listener
	KindProcess     Kind = "process"     // Process
	KindMount       Kind = "mount"       // Mount
	KindProblem     Kind = "problem"     // Problem
)

// Source is where a fact was read; Line counts from 1, 0 is the whole file.
type Source struct {
	Path hostpath.Path `json:"path,omitempty"`
	Line int           `json:"line,omitempty"`
}

// OS is os-release(5), and the machine's own names.
type OS struct {
	ID           string   `json:"id"`
	IDLike       []string `json:"idLike,omitempty"`
	VersionID    string   `json:"versionID"`
	PrettyName   string   `json:"prettyName"`
	Hostname     string   `json:"hostname,omitempty"`
	Architecture string   `json:"architecture"` // GOARCH of the host's programs, from the ELF header of its shell or libc
}

// Package is one installed package.
type Package struct {
	Manager      string `json:"manager"` // dpkg, rpm, apk
	Name         string `json:"name"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	Priority     string `json:"priority,omitempty"`
	Section      string `json:"section,omitempty"`
	Essential    bool   `json:"essential,omitempty"`
	Files        int    `json:"files"`
}

// Diversion is one of dpkg-divert(1).
type Diversion struct {
	From    hostpath.Path `json:"from"`
	To      hostpath.Path `json:"to"`
	Package string        `json:"package"` // "" for a local one
}

// Alternative is one group of update-alternatives(1).
type Alternative struct {
	Name string        `json:"name"`
	Link hostpath.Path `json:"link"`
	Auto bool          `json:"auto"`
}

// User is a line of passwd(5), without any password.
type User struct {
	Name  string        `json:"name"`
	UID   uint32        `json:"uid"`
	GID   uint32        `json:"gid"`
	Home  hostpath.Path `json:"home"`
	Shell string        `json:"shell"`
}

// Group is a line of group(5).
type Group struct {
	Name    string   `json:"name"`
	GID     uint32   `json:"gid"`
	Members []string `json:"members,omitempty"`
}

// Directive is one assignment of a unit file, after drop-ins, with lists that
// were reset by an empty value left out (systemd.syntax(7)). Values keep their
// specifiers and quotes; credentials in Environment= are redacted.
type Directive struct {
	Section string `json:"section"`
	Key     string `json:"key"`
	Value   string `json:"value"`
	Source
}

// Unit is a systemd unit as the manager would load it (systemd.unit(5)).
type Unit struct {
	Name       string          `json:"name"`              // apache2.service, getty@tty1.service
	Aliases    []string        `json:"aliases,omitempty"` // other names, by symlinks
	Type       string          `json:"type"`              // the suffix: service, socket, timer, mount, target, …
	Path       hostpath.Path   `json:"path,omitempty"`    // the main file; "" for one generated from a sysv script
	DropIns    []hostpath.Path `json:"dropIns,omitempty"`
	Enabled    bool            `json:"enabled"`            // wanted or required by a target, socket or timer through a link, or an alias of one that is
	WantedBy   []string        `json:"wantedBy,omitempty"` // the units whose .wants or .requires hold a link
	Masked     bool            `json:"masked,omitempty"`
	Static     bool            `json:"static,omitempty"`   // has no [Install] section
	Instance   string          `json:"instance,omitempty"` // of NAME@INSTANCE.service
	Package    string          `json:"package,omitempty"`  // owner of the main file
	Directives []Directive     `json:"directives,omitempty"`
}

// Values are the values of all assignments of section and key, in order.
func (u Unit) Values(section, key string) []Directive {
	var out []Directive
	for _, d := range u.Directives {
		if d.Section == section && d.Key == key {
			out = append(out, d)
		}
	}
	return out
}

// Last is the last assignment of section and key: what counts for a key that
// holds one value. ok is false when there is none.
func (u Unit) Last(section, key string) (d Directive, ok bool) {
	v := u.Values(section, key)
	if len(v) == 0 {
		return Directive{}, false
	}
	return v[len(v)-1], true
}

// Script is a System V init script without a unit of the same name.
type Script struct {
	Name        string        `json:"name"`
	Path        hostpath.Path `json:"path"`
	Package     string        `json:"package,omitempty"`
	Provides    []string      `json:"provides,omitempty"` // LSB header
	Description string        `json:"description,omitempty"`
	StartLevels []string      `json:"startLevels,omitempty"` // run levels with an S link
	Daemon      hostpath.Path `json:"daemon,omitempty"`      // DAEMON= or the argument of start-stop-daemon --exec
	Args        string        `json:"args,omitempty"`        // DAEMON_ARGS=, DAEMON_OPTS=, OPTIONS=
	User        string        `json:"user,omitempty"`        // USER=, --chuid
	PIDFile     hostpath.Path `json:"pidFile,omitempty"`
	// Paths are the absolute paths that the script's assignments name, by the
	// variable (DATADIR=/var/lib/x).
	Paths map[string]hostpath.Path `json:"paths,omitempty"`
	Reads []hostpath.Path          `json:"reads,omitempty"` // files that it sources: /etc/default/NAME
}

// Cron is one job of crontab(5) or one script of a cron.daily-like directory.
type Cron struct {
	Name     string `json:"name"`     // of the file, with the line for a table
	Schedule string `json:"schedule"` // five fields; @reboot as it is; @daily and the like spelled out
	User     string `json:"user"`
	Command  string `json:"command"` // redacted where it carries a credential; \% is %
	// Input is what the command gets on standard input: what follows the first %
	// of the line (crontab(5)).
	Input string `json:"input,omitempty"`
	// Env are the assignments in force, without those that look like credentials.
	Env     map[string]string `json:"env,omitempty"`
	Package string            `json:"package,omitempty"`
	Source
}

// Fstab is one line of fstab(5).
type Fstab struct {
	Spec    string        `json:"spec"` // password= and the like in options are redacted
	Target  hostpath.Path `json:"target"`
	FSType  string        `json:"fsType"`
	Options []string      `json:"options,omitempty"`
	Source
}

// Network reports whether the file system lives on another machine.
func (f Fstab) Network() bool {
	switch f.FSType {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "9p", "afs":
		return true
	}
	return false
}

// Tmpfile is one line of tmpfiles.d(5).
type Tmpfile struct {
	Type     string        `json:"type"`
	Path     hostpath.Path `json:"path"`
	Mode     string        `json:"mode,omitempty"`
	User     string        `json:"user,omitempty"`
	Group    string        `json:"group,omitempty"`
	Age      string        `json:"age,omitempty"`
	Argument string        `json:"argument,omitempty"`
	Package  string        `json:"package,omitempty"`
	Source
}

// Setting is one assignment of an application's configuration, read by the
// format that the application's profile names.
type Setting struct {
	Profile string `json:"profile"`
	// Key is dotted where the format has sections: mysqld.datadir,
	// VirtualHost.DocumentRoot, server.location.root, DB_NAME.
	Key    string `json:"key"`
	Value  string `json:"value"` // Redacted for a credential
	Secret bool   `json:"secret,omitempty"`
	Source
}

// Listener is an address that something listens on.
type Listener struct {
	Protocol string `json:"protocol"` // tcp, udp, unix
	Address  string `json:"address"`  // "" for all; "127.0.0.1", "::1"; the path for unix
	Port     int    `json:"port,omitempty"`
	Unit     string `json:"unit,omitempty"`
	Profile  string `json:"profile,omitempty"`
	Live     bool   `json:"live,omitempty"` // seen in /proc/net, not only configured
	Source
}

// Loopback reports whether only the host itself can reach it.
func (l Listener) Loopback() bool {
	return l.Protocol == "unix" || l.Address == "::1" || l.Address == "localhost" ||
		len(l.Address) >= 4 && l.Address[:4] == "127."
}

// Process is a running program of a live root.
type Process struct {
	PID     int             `json:"pid"`
	Exe     hostpath.Path   `json:"exe"`
	UID     uint32          `json:"uid"`
	Unit    string          `json:"unit,omitempty"`    // from its control group
	Writing []hostpath.Path `json:"writing,omitempty"` // regular files open for writing
}

// Mount is another file system mounted below the source: not descended into.
type Mount struct {
	Path   hostpath.Path `json:"path"`
	FSType string        `json:"fsType"`
	Device string        `json:"device"`
	// Size and Used are bytes as statfs(2) tells them; 0 for proc, sys and the like.
	Size int64 `json:"size"`
	Used int64 `json:"used"`
	// Virtual is true for what holds no data of its own: proc, sysfs, cgroup, …
	Virtual bool `json:"virtual"`
}

// Problem is something that a collector could not read. The scan goes on, the
// report names it.
type Problem struct {
	Collector string `json:"collector"`
	What      string `json:"what"`
	Source
}
