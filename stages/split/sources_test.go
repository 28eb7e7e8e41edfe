package split_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Other file systems were not read: shares stay, kernel's ones go, and the loss
// of a local one is not silent.
func TestFileSystems(t *testing.T) {
	w := newWorld(t)
	w.dir("/proc", mounted("proc"))
	w.dir("/media/nfs", mounted("nfs4"))
	w.dir("/var/lib/db", mounted("xfs"))
	w.dir("/run/x", mounted("tmpfs"))
	w.dir("/old", mounted("ext4"))
	w.dir("/gone", mounted("ext4"))
	w.file("/srv/media/hidden", "x")
	w.dir("/srv/scratch")
	w.dir("/srv/disk")
	w.file("/srv/secret", "x", problem("permission denied"))
	w.file("/srv/ok", "x", problem("permission denied"))
	w.file("/boot/grub.cfg", "x", problem("permission denied"))
	w.file("/tmp/x", "x", problem("permission denied"))
	w.dir("/tmp/dir", problem("permission denied"))
	w.dir("/tmp/thrown", problem("permission denied"))
	w.fact(facts.KindFstab, "1", facts.Fstab{Spec: "10.0.0.1:/m", Target: "/srv/media", FSType: "nfs4", Source: facts.Source{Path: "/etc/fstab", Line: 4}})
	w.fact(facts.KindFstab, "2", facts.Fstab{Spec: "tmpfs", Target: "/srv/scratch", FSType: "tmpfs"})
	w.fact(facts.KindFstab, "3", facts.Fstab{Spec: "/dev/sdb", Target: "/srv/disk", FSType: "ext4"})
	w.yaml = "accept:\n- path: /old\n- path: /srv/ok\npaths:\n- {path: /gone, class: drop}\n- {path: /tmp/thrown, class: drop}\n"
	r := w.split()
	r.want(`
		drop /proc
		share /media/nfs
		unreadable /var/lib/db
		ephemeral /run/x
		unreadable /old
		drop /gone
		share /srv/media
		share /srv/media/hidden
		ephemeral /srv/scratch
		volume /srv/disk
		unreadable /srv/secret
		unreadable /srv/ok
		unreadable /boot/grub.cfg
		unreadable /tmp/x
		unreadable /tmp/dir
		drop /tmp/thrown
	`)
	want := []hostpath.Path{"/boot/grub.cfg", "/srv/secret", "/tmp/dir", "/tmp/x", "/var/lib/db"}
	if !slices.Equal(r.split.Unreadable, want) || r.split.UnreadableCount != 5 || len(r.split.Accepted) != 2 {
		t.Errorf("unreadable %v (%d), accepted %v", r.split.Unreadable, r.split.UnreadableCount, r.split.Accepted)
	}
	_, err := w.try(context.Background())
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) || len(inc.Because) != 5 || !strings.Contains(inc.Because[1], "/srv/secret") {
		t.Errorf("error: %v", err)
	}
}

// What statelift.yaml says and the host has not is an error with the line.
func TestDecisionsThatDoNotFit(t *testing.T) {
	for yaml, want := range map[string]string{
		"paths:\n- {path: /nowhere, class: drop}\n":                                "statelift.yaml:2: /nowhere is not on the host",
		"paths:\n- {path: '/nowhere/*', class: drop}\n":                            "statelift.yaml:2: nothing on the host matches",
		"paths:\n- {path: /srv/f, class: volume}\n":                                "statelift.yaml:2: /srv/f is no directory",
		"paths:\n- {path: /srv, class: share}\n":                                   "statelift.yaml:2: /srv is on no network share",
		"paths:\n- {path: /var/lib/app/code, class: image}\n":                      "statelift.yaml:2: /var/lib/app/code cannot be image: it is below the volume /var/lib/app",
		"units:\n- {unit: nope.service, keep: true}\n":                             "statelift.yaml:2: the host has no unit nope.service",
		"rules: {off: [host/nope]}\n":                                              `there is no rule "host/nope"`,
		"profiles: {off: [nope]}\n":                                                `there is no profile "nope"`,
		"profiles: {use: {app.service: nope}}\n":                                   `there is no profile "nope"`,
		"paths:\n- {path: /srv, class: volume}\n- {path: /srv/f, class: volume}\n": "",
	} {
		w := newWorld(t)
		w.file("/srv/f", "x")
		w.unit("app.service", "", "ExecStart=/usr/bin/app", "StateDirectory=app")
		w.file("/var/lib/app/code/x", "x")
		w.yaml = yaml
		w.write()
		_, err := w.try(context.Background())
		var input *pipeline.InputError
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", yaml, err)
		case want != "" && (!errors.As(err, &input) || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v", yaml, err)
		}
	}
}

// What the user keeps in the image is spared from a volume by default.
func TestDecisionForImage(t *testing.T) {
	w := newWorld(t)
	w.file("/srv/thing/code/x.bin", "x")
	w.file("/srv/thing/data/x.bin", "x")
	w.yaml = "paths:\n- {path: /srv/thing/code, class: image}\n"
	w.split().want(`
		image /srv/thing
		image /srv/thing/code/x.bin
		volume /srv/thing/data
	`)
}

// The user overrules, and the claim names the line.
func TestDecisions(t *testing.T) {
	w := newWorld(t)
	w.unit("app.service", "", "ExecStart=/usr/bin/app", "StateDirectory=app")
	w.unit("rsyslog.service", "rsyslog", "ExecStart=/usr/sbin/rsyslogd")
	w.file("/var/lib/app/x", "1")
	w.file("/var/lib/app/keep/x", "1")
	w.file("/etc/rsyslog.d/x.conf", "1", pkg("rsyslog", catalog.ConffileChanged))
	w.file("/boot/x", "1")
	w.yaml = `paths:
- {path: /var/lib/app, class: ephemeral, reason: only a cache}
- {path: /boot/x, class: image}
units:
- {unit: rsyslog.service, keep: true}
rules: {off: [etc/host-services]}
`
	r := w.split()
	r.want("ephemeral /var/lib/app/x\nimage /boot/x\nconfig /etc/rsyslog.d/x.conf")
	c := r.why("/var/lib/app/x")
	if c.By != "statelift.yaml:2" || c.Reason != "only a cache" || c.Serves != "app.service" {
		t.Errorf("%+v", c)
	}
}
