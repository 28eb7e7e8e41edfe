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

	unmarkScript = `cd ` + marks + ` && rm -f $1 && cd .. && rmdir quiesced && cd .. && rmdir --ignore-fail-on-non-empty statelift`

	markScript = `mkdir -p -m 0700 ` + marks + ` && (cd ` + marks + ` && touch $1) && `
)

// systemd is systemctl(1).
type systemd struct{}

func (systemd) stop(t target, mark []string) Command {
	names := append(slices.Clone(t.also), t.name)
	c := Command{What: "stop " + t.name, Argv: append([]string{"systemctl", "stop", "--"}, names...)}
	if len(mark) > 0 {
		c.Argv = []string{"sh", "-c", markScript + "systemctl stop -- $2", "stop", strings.Join(mark, " "), strings.Join(names, " ")}
	}
	return c
}

func (systemd) start(name string) Command {
	return Command{What: "start " + name, Argv: []string{"systemctl", "start", "--", name}}
}

// The assertion never holds, as nothing is below /dev/null.
const systemdFence = `for unit in $1; do
	mkdir -p "/etc/systemd/system/$unit.d" &&
	printf '%s\n' '# statelift cutover: the data of this service is served elsewhere. statelift rollback removes this file.' '[Unit]' AssertPathExists=/dev/null/fenced-by-statelift >"/etc/systemd/system/$unit.d/statelift-fence.conf" || exit
done
systemctl daemon-reload`

func (systemd) fence(names []string) Command {
	return Command{What: "keep " + strings.Join(names, ", ") + " from being started", Argv: []string{"sh", "-c", systemdFence, "fence", strings.Join(names, " ")}}
}

const systemdUnfence = `for unit in $1; do
	rm -f "/etc/systemd/system/$unit.d/statelift-fence.conf" && rmdir --ignore-fail-on-non-empty "/etc/systemd/system/$unit.d" || exit
done
systemctl daemon-reload`

func (systemd) unfence(names []string) Command {
	return Command{What: "let " + strings.Join(names, ", ") + " be started", Argv: []string{"sh", "-c", systemdUnfence, "unfence", strings.Join(names, " ")}}
}

// sysv is service(8) and the scripts in /etc/init.d.
type sysv struct{}

func (sysv) stop(t target, mark []string) Command {
	c := Command{What: "stop " + t.name, Argv: []string{"service", t.name, "stop"}}
	if len(mark) > 0 {
		c.Argv = []string{"sh", "-c", markScript + `service "$1" stop`, "stop", strings.Join(mark, " ")}
	}
	return c
}

func (sysv) start(name string) Command {
	return Command{What: "start " + name, Argv: []string{"service", name, "start"}}
}

//go:embed fence.sh
var sysvFence string

//go:embed unfence.sh
var sysvUnfence string

func (sysv) fence(names []string) Command {
	return Command{What: "keep " + strings.Join(names, ", ") + " from being started", Argv: []string{"sh", "-c", sysvFence, "fence", strings.Join(names, " ")}}
}

func (sysv) unfence(names []string) Command {
	return Command{What: "let " + strings.Join(names, ", ") + " be started", Argv: []string{"sh", "-c", sysvUnfence, "unfence", strings.Join(names, " ")}}
}
