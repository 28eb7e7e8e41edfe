package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// data adds a directory of class volume that belongs to a user.
func (h *testHost) data(path hostpath.Path, uid, mode uint32, serves ...string) {
	h.items = append(h.items, item{path: path, class: claim.Volume, claim: 1, uid: uid, gid: uid, mode: mode})
	h.split.Volumes = append(h.split.Volumes, handoff.VolumeRoot{Path: path, Entries: 1, UID: uid, GID: uid, Mode: mode, Serves: serves, Reason: "data", Confidence: claim.High})
}

func TestAccess(t *testing.T) {
	h := small(
		unit("one.service", true, "Service.User=app", "Service.ExecStart=/bin/one"),
		unit("two.service", true, "Service.User=app", "Service.ExecStart=/bin/two"),
		unit("reader.service", true, "Service.User=www-data", "Service.ExecStart=/bin/reader /srv/shared/x"),
	)
	h.crons = []facts.Cron{{Name: "cron.d/x:1", Schedule: "1 * * * *", User: "app", Command: "/bin/tidy /srv/own/old", Source: facts.Source{Path: "/etc/cron.d/x", Line: 1}}}
	h.data("/srv/own", 900, 0o755, "one.service")
	h.data("/srv/shared", 900, 0o755, "one.service")
	h.data("/srv/both", 900, 0o755, "one.service", "two.service")
	h.data("/srv/nobody", 4711, 0o700)
	h.data("/srv/seen", 4712, 0o700)
	h.processes = []facts.Process{{PID: 3, Unit: "two.service", Writing: []hostpath.Path{"/srv/seen/log"}}}
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	type use struct {
		Owner            string
		Writers, Readers []string
		Why              string
	}
	for path, want := range map[hostpath.Path]use{
		"/srv/own":    {"one", []string{"one/one", "tidy/tidy"}, nil, "several writers"},
		"/srv/shared": {"one", []string{"one/one"}, []string{"reader/reader"}, "one writes it and reader reads it"},
		"/srv/both":   {"one", []string{"one/one", "two/two"}, nil, "several writers"},
		"/srv/nobody": {"", nil, nil, "nobody is known"},
		"/srv/seen":   {"two", []string{"two/two"}, nil, "only two"},
	} {
		v := volume(t, pl, path)
		if diff := cmp.Diff(want, use{v.Owner, v.Writers, v.Readers, want.Why}); diff != "" || !strings.Contains(v.WhyAccess, want.Why) {
			t.Errorf("%s: %s (-want +got):\n%s", path, v.WhyAccess, diff)
		}
	}
	if !question(pl, "access-srv-both") || question(pl, "access-srv-own") {
		t.Errorf("questions: %+v", pl.Questions)
	}
	near := map[string]string{}
	kinds := map[string]handoff.WorkloadKind{}
	for _, w := range pl.Workloads {
		near[w.Name], kinds[w.Name] = w.Near, w.Kind
	}
	if diff := cmp.Diff(map[string]string{"one": "", "two": "one", "reader": "one", "tidy": "one"}, near); diff != "" {
		t.Errorf("near (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]handoff.WorkloadKind{"one": "StatefulSet", "two": "StatefulSet", "reader": "Deployment", "tidy": "CronJob"}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
	if !slices.ContainsFunc(pl.Look, func(l handoff.Look) bool { return l.Path == "/srv/nobody" }) {
		t.Errorf("look: %+v", pl.Look)
	}
	for _, c := range workload(t, pl, "reader").Containers {
		if !slices.Contains(c.Mounts, handoff.Mount{Volume: "srv-shared", Path: "/srv/shared", ReadOnly: true}) {
			t.Errorf("mounts of reader: %+v", c.Mounts)
		}
	}

	h.decisions.Answers = map[string]string{"access-srv-both": "ReadWriteMany"}
	if pl, _, err = h.plan(t); err != nil {
		t.Fatal(err)
	}
	if v := volume(t, pl, "/srv/both"); v.AccessMode != "ReadWriteMany" || workload(t, pl, "two").Near != "" {
		t.Errorf("answered: %s, near %q", v.AccessMode, workload(t, pl, "two").Near)
	}
}

func TestRequest(t *testing.T) {
	for bytes, want := range map[int64]int64{0: 1, 1: 1, 700 << 20: 1, 800 << 20: 2, 10 << 30: 13, 1<<40 + 1: 1332} {
		if got := request(bytes, headroom); got != want*gib {
			t.Errorf("%d bytes: %d GiB, want %d", bytes, got/gib, want)
		}
	}
}

// TestUnmountable: what no object can hold or mount makes the plan incomplete;
// it is never left out in silence.
func TestUnmountable(t *testing.T) {
	h := small(unit("one.service", true, "Service.User=app", "Service.ExecStart=/bin/one"))
	h.claims = []claim.Claim{{ID: 2, Class: claim.Config, Reach: claim.Tree, Path: "/etc/one", Reason: "config", By: "rule test", Serves: "one.service"}}
	for _, name := range []string{"caf\xe9.conf", "a:b.conf", "two\nlines.conf", "good.conf"} {
		h.items = append(h.items, item{path: hostpath.Path("/etc/one/" + name), class: claim.Config, claim: 2, content: "x"})
	}
	h.items = append(h.items, item{path: "/etc/one/big.conf", class: claim.Config, claim: 2, content: "x", size: 2 << 20})
	h.data("/srv/a:b", 900, 0o755, "one.service")
	pl, text, err := h.plan(t)
	var incomplete *pipeline.Incomplete
	if !errors.As(err, &incomplete) || len(incomplete.Because) != 4 {
		t.Fatalf("got %v", err)
	}
	if len(pl.Configs) != 1 || len(pl.Configs[0].Files) != 1 || !question(pl, "large-etc-one-big-conf") || text == "" {
		t.Errorf("configs %+v, questions %+v", pl.Configs, pl.Questions)
	}
	if !risk(pl, "one.service", "colon") || volume(t, pl, "/srv/a:b").Owner != "one" {
		t.Errorf("risks: %+v", pl.Risks)
	}
}

// TestCopied: only what its readers could not read, or what is private to
// somebody else, is copied to have its own owner.
func TestCopied(t *testing.T) {
	h := small(unit("one.service", true, "Service.User=app", "Service.ExecStart=/bin/one"))
	h.claims = []claim.Claim{{ID: 2, Class: claim.Secret, Reach: claim.Tree, Path: "/etc/one", Reason: "secret", By: "rule test", Serves: "one.service"}}
	for name, it := range map[hostpath.Path]item{
		"world":   {mode: 0o644},
		"root":    {mode: 0o600},
		"group":   {mode: 0o640, gid: 901},
		"member":  {mode: 0o640, gid: 4},
		"other":   {mode: 0o640, gid: 33},
		"own":     {mode: 0o600, uid: 900},
		"private": {mode: 0o600, uid: 33},
		"theirs":  {mode: 0o644, uid: 33},
	} {
		it.path, it.class, it.claim, it.content = "/etc/one/"+name, claim.Secret, 2, "x"
		h.items = append(h.items, it)
	}
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, f := range pl.Secrets[0].Files {
		got[f.Path.Base()] = f.Copied
	}
	want := map[string]bool{"world": false, "root": false, "group": true, "member": true, "other": false, "own": true, "private": true, "theirs": false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("copied (-want +got):\n%s", diff)
	}
}

func TestReadOnlyRoot(t *testing.T) {
	h := small(
		unit("one.service", true, "Service.User=app", "Service.ExecStart=/bin/one"),
		unit("two.service", true, "Service.User=www-data", "Service.ExecStart=/bin/two"),
		unit("root.service", true, "Service.ExecStart=/bin/root"),
		unit("strict.service", true, "Service.ProtectSystem=strict", "Service.ExecStart=/bin/strict"),
	)
	h.items = append(h.items,
		item{path: "/opt/one/cache", uid: 900, mode: 0o700}, // image: one writes into its own code
		item{path: "/srv/w", class: claim.Volume, uid: 33, mode: 0o777},
	)
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"one.service": false, "two.service": true, "root.service": false, "strict.service": true} {
		if got := container(t, pl, name).ReadOnlyRoot; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	keepOut := []profile.Profile{{Name: "san", Recognise: profile.Recognise{Units: []string{"san"}}, Data: profile.Data{School: handoff.KeepOut, Outside: "it exports disks"}}}
	for _, tt := range []struct {
		name   string
		unit   facts.Unit
		root   handoff.VolumeRoot
		school handoff.School
		says   string
	}{
		{"fits", unit("x.service", true, "Service.User=app", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{Files: 10, SmallFiles: 3, Bytes: 5000}, handoff.InCluster, "files 10 (3 of them"},
		{"small files", unit("x.service", true, "Service.User=app", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{Files: 700_000, SmallFiles: 600_000}, handoff.KeepOut, "600000 files below 4 KiB"},
		{"code", unit("x.service", true, "Service.User=app", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{Files: 100, Code: 60}, handoff.Refactor, "60 of its 100 files look like code"},
		{"a little code", unit("x.service", true, "Service.User=app", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{Files: 100, Code: 19}, handoff.InCluster, ""},
		{"large", unit("x.service", true, "Service.User=app", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{Files: 1, Bytes: 2 << 40}, handoff.Outside, "2.0 TiB"},
		{"device", unit("x.service", true, "Service.User=app", "Service.DeviceAllow=/dev/ttyUSB0 rw", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{}, handoff.KeepOut, "/dev/ttyUSB0"},
		{"harmless device", unit("x.service", true, "Service.User=app", "Service.DeviceAllow=/dev/null rw", "Service.ExecStart=/bin/x --out /dev/stdout"), handoff.VolumeRoot{}, handoff.InCluster, ""},
		{"kernel module", unit("x.service", true, "Service.ExecStartPre=/sbin/modprobe loop", "Service.ExecStart=/bin/x"), handoff.VolumeRoot{}, handoff.KeepOut, "kernel modules"},
		{"by profile", unit("san.service", true, "Service.ExecStart=/bin/x"), handoff.VolumeRoot{}, handoff.KeepOut, "it exports disks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := small(tt.unit)
			h.profiles = keepOut
			tt.root.Path, tt.root.Entries, tt.root.UID, tt.root.Mode, tt.root.Serves = "/srv/x", 1, 900, 0o755, []string{tt.unit.Name}
			h.items = append(h.items, item{path: "/srv/x", class: claim.Volume, uid: 900})
			h.split.Volumes = []handoff.VolumeRoot{tt.root}
			pl, _, err := h.plan(t)
			if err != nil {
				t.Fatal(err)
			}
			v := pl.Workloads[0].Verdict
			if v.School != tt.school || !strings.Contains(strings.Join(v.Reasons, "\n"), tt.says) || len(v.Others) != 3 {
				t.Errorf("%s: %v; others %v", v.School, v.Reasons, v.Others)
			}
		})
	}
}

// TestMounts: what is mounted below the source is kept as a share, made anew in
// memory, or named as missing.
func TestMounts(t *testing.T) {
	h := small(unit("one.service", true, "Service.User=app", "Service.ExecStart=/bin/one /srv/scratch/a /srv/media/b /mnt/live/c /srv/disk/d"))
	h.fstab = []facts.Fstab{
		{Spec: "nas:/export", Target: "/srv/media", FSType: "nfs", Options: []string{"ro", "vers=3", "x-systemd.automount"}},
		{Spec: "tmpfs", Target: "/srv/scratch", FSType: "tmpfs", Options: []string{"size=256m", "mode=0770", "uid=app", "gid=4"}},
		{Spec: "UUID=1", Target: "/", FSType: "ext4"},
	}
	h.mounts = []facts.Mount{
		{Path: "/proc", FSType: "proc", Virtual: true}, {Path: "/srv/media", FSType: "nfs", Device: "nas:/export"},
		{Path: "/mnt/live", FSType: "nfs4", Device: "[2001:db8::1]:/live"}, {Path: "/srv/disk", FSType: "xfs", Device: "/dev/sdb1", Size: 10 << 30, Used: 3 << 30},
	}
	pl, _, err := h.plan(t)
	if err != nil {
		t.Fatal(err)
	}
	type share struct {
		Server, Export string
		ReadOnly       bool
		Options, Users []string
	}
	got := map[hostpath.Path]share{}
	for _, s := range pl.Shares {
		got[s.Path] = share{s.Server, s.Export, s.ReadOnly, s.Options, s.Users}
	}
	want := map[hostpath.Path]share{
		"/srv/media": {"nas", "/export", true, []string{"vers=3"}, []string{"one"}},
		"/mnt/live":  {"2001:db8::1", "/live", false, nil, []string{"one"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("shares (-want +got):\n%s", diff)
	}
	if !risk(pl, "/srv/disk", "not descended into") || risk(pl, "/proc", "") {
		t.Errorf("risks: %+v", pl.Risks)
	}
	w := workload(t, pl, "one")
	i := slices.IndexFunc(w.Mounts, func(v handoff.PodVolume) bool { return v.Name == "dir-srv-scratch" })
	if i < 0 || !w.Mounts[i].Memory || w.Mounts[i].SizeLimit != 256<<20 || w.Mounts[i].Dirs[0].Mode != 0o770 || w.Mounts[i].Dirs[0].UID != 900 || w.Mounts[i].Dirs[0].GID != 4 {
		t.Errorf("mounts: %+v", w.Mounts)
	}
}
