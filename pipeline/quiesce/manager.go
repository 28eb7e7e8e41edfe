package quiesce

import (
	_ "embed"
	"slices"
	"strings"
)

// Names of units and scripts have no spaces: an argument may be a list of them.

const (
	// marks says in which directory the marks of what was stopped are.
	marks = "/var/lib/statelift/quiesced"

	unmarkScript = `cd ` + marks + ` && rm -f $1 && cd .. && rmdir --ignore-fail-on-non-empty quiesced && cd .. && rmdir --ignore-fail-on-non-empty statelift`

	// A mark is the name of what was stopped, with a line for each unit that is to be
	// started again, see [mark].
	markScript = `mkdir -p -m 0700 ` + marks + ` && (cd ` + marks + ` && printf '%s\n' $2 >>"$1") && `
)

// systemd is systemctl(1).
type systemd struct{}

// stop leaves a job to its end: only what starts it is stopped.
func (systemd) stop(t target, m mark) Command {
	names := slices.Clone(t.also)
	if !t.ending {
		names = append(names, t.name)
	}
	c := Command{What: "stop " + t.name, Argv: append([]string{"systemctl", "stop", "--"}, names...)}
	if len(m) > 0 {
		c.Argv = []string{"sh", "-c", markScript + "systemctl stop -- $3", "stop", t.name, strings.Join(m, " "), strings.Join(names, " ")}
	}
	return c
}

func (systemd) start(name string) Command {
	return Command{What: "start " + name, Argv: []string{"systemctl", "start", "--", name}}
}

// fenceFile is the drop-in's name.
const fenceFile = "statelift-fence.conf"

// The assertion never holds, as nothing is below /dev/null. A systemd before 218
// knows conditions only, with which a start does nothing and says nothing. The
// files are on the disk when this ends: a power cut is a boot, too.
const systemdFence = `files= never=AssertPathExists
[ "$(systemctl --version | sed -n 's/^systemd \([0-9]*\).*/\1/p')" -ge 218 ] || never=ConditionPathExists
for unit in $1; do
	service=${unit%/*} unit=${unit#*/}
	file="/etc/systemd/system/$unit.d/` + fenceFile + `"
	mkdir -p "${file%/*}" &&
	printf '%s\n' '# statelift cutover: the data of this service is served elsewhere. statelift rollback removes this file.' "# fenced with $service" '[Unit]' $never=/dev/null/fenced-by-statelift >"$file" || exit
	files="$files $file"
done
sync -- $files 2>/dev/null || sync
systemctl daemon-reload`

func (systemd) fence(targets []target) Command {
	var units []string
	for _, t := range targets {
		for _, name := range append(slices.Clone(t.also), t.name) {
			units = append(units, t.name+"/"+name)
		}
	}
	return Command{What: "keep " + strings.Join(namesOf(targets), ", ") + " from being started", Argv: []string{"sh", "-c", systemdFence, "fence", strings.Join(units, " ")}}
}

const systemdUnfence = `for unit in $1; do
	dir="/etc/systemd/system/$unit.d"
	[ ! -d "$dir" ] || { rm -f "$dir/` + fenceFile + `" && rmdir --ignore-fail-on-non-empty "$dir"; } || exit
done
systemctl daemon-reload`

func (systemd) unfence(names []string) Command {
	return Command{What: "let " + strings.Join(names, ", ") + " be started", Argv: []string{"sh", "-c", systemdUnfence, "unfence", strings.Join(names, " ")}}
}

// sysv is service(8) and the scripts in /etc/init.d.
type sysv struct{}

// serviceScript gives a script its word when no other command of this kind is under
// way for it: one that a killed call has left behind may still be stopping what is
// to be started. systemd sees to that by itself. The lock, flock(1), is on the
// script, and a daemon does not inherit it; where there is none it goes without.
const serviceScript = `script=/etc/init.d/$1
if flock -o "$script" true 2>/dev/null; then exec flock -o "$script" service "$1" `

func serviceDoes(word string) string {
	return serviceScript + word + `; fi
exec service "$1" ` + word
}

func (sysv) stop(t target, m mark) Command {
	c := Command{What: "stop " + t.name, Argv: []string{"sh", "-c", serviceDoes("stop"), "stop", t.name}}
	if len(m) > 0 {
		c.Argv = []string{"sh", "-c", markScript + "{ " + serviceDoes("stop") + "; }", "stop", t.name, strings.Join(m, " ")}
	}
	return c
}

func (sysv) start(name string) Command {
	return Command{What: "start " + name, Argv: []string{"sh", "-c", serviceDoes("start"), "start", name}}
}

//go:embed fence.sh
var sysvFence string

//go:embed unfence.sh
var sysvUnfence string

func (sysv) fence(targets []target) Command { return fenceScripts(namesOf(targets)) }

func fenceScripts(names []string) Command {
	return Command{What: "keep " + strings.Join(names, ", ") + " from being started", Argv: []string{"sh", "-c", sysvFence, "fence", strings.Join(names, " ")}}
}

func (sysv) unfence(names []string) Command {
	return Command{What: "let " + strings.Join(names, ", ") + " be started", Argv: []string{"sh", "-c", sysvUnfence, "unfence", strings.Join(names, " ")}}
}
