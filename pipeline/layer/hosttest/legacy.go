package hosttest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Planted are strings that must be in no image.
var Planted = []string{"PLANTED-shadow-hash", "PLANTED-passwd-hash", "PLANTED-group-hash", "PLANTED-database", "PLANTED-token"}

// Legacy writes a small host: two packages, a service of its own, accounts, a
// database, and under /opt/every one of each kind of entry.
func Legacy(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	file := func(name, data string, mode os.FileMode) {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(data), mode); err != nil {
			t.Fatal(err)
		}
	}
	file("etc/passwd", "root:PLANTED-passwd-hash:0:0:root:/root:/bin/sh\napp-user:x:700:700::/srv/app:/bin/false\n", 0o644)
	file("etc/group", "root:x:0:\nshadow:x:42:\napp-user:PLANTED-group-hash:700:\n", 0o644)
	file("etc/shadow", "root:PLANTED-shadow-hash:1::::::\napp-user:!:1::::::\n", 0o640)
	file("etc/gshadow", "root:*::\napp-user:PLANTED-group-hash::\n", 0o640)
	file("etc/app.env", "TOKEN=PLANTED-token\n", 0o600)
	file("usr/bin/base", "base", 0o755)
	file("usr/bin/tool", "tool", 0o4755)
	file("usr/bin/patched", "patched", 0o755)
	file("usr/share/tool/data", strings.Repeat("data ", 10000), 0o644)
	file("usr/local/bin/app", "application", 0o755)
	file("usr/local/bin/other", "other application", 0o755)
	file("usr/local/lib/unclaimed", "shared by all", 0o644)
	file("var/lib/db/table", "PLANTED-database", 0o600)
	file("var/log/app/app.log", "a log", 0o644)
	file("var/backups/dump.sql.gz", "PLANTED-database of old", 0o600)
	file("var/backups/older.sql.gz", "older", 0o600)
	file("srv/app/site", "site", 0o644)
	for _, cmd := range [][]string{
		{"mkdir", "-p", root + "/opt/every", root + "/run/app", root + "/proc", root + "/root", root + "/tmp", root + "/home/u"},
		{"ln", "-s", "/run", root + "/var/run"},
		{"chown", "700:700", root + "/var/lib/db", root + "/var/log/app", root + "/run/app", root + "/srv/app"},
		{"chmod", "0750", root + "/var/lib/db"},
		{"chmod", "0700", root + "/root"},
		{"chmod", "1777", root + "/tmp"},
	} {
		if out, err := exec.Command(cmd[0], cmd[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", cmd, err, out)
		}
	}
	if err := trees.Every(root + "/opt/every"); err != nil {
		t.Fatal(err)
	}
	// The same times in every copy, also of directories.
	out, err := exec.Command("find", root, "-xdev", "(", "-path", root+"/opt/every/*", "-prune", "-o", "-exec", "touch", "-hcd", "@1700000000", "{}", "+", ")").CombinedOutput()
	if err != nil {
		t.Fatalf("touch: %v\n%s", err, out)
	}
	return root
}

// LegacyPlace is what a split makes of its paths.
func LegacyPlace(e tree.Entry) Place {
	image := func(pkg string) Place {
		return Place{Class: claim.Image, Package: pkg, State: catalog.Same}
	}
	within := func(dir hostpath.Path) bool { return e.Path.Within(dir) }
	switch {
	case e.Type == tree.Socket, within("/run"), within("/proc"), within("/tmp"), within("/var/log/app"):
		return Place{Class: claim.Ephemeral}
	case within("/var/lib/db"):
		return Place{Class: claim.Volume}
	case within("/var/backups"):
		return Place{Class: claim.Object}
	case e.Path == "/etc/app.env":
		return Place{Class: claim.Secret}
	case e.Path == "/etc/shadow", e.Path == "/etc/gshadow", within("/root"), within("/home"), within("/srv"):
		return Place{Class: claim.Drop}
	case e.Path == "/usr/bin/base", e.Path == "/usr", e.Path == "/usr/bin":
		return image("base-files")
	case e.Path == "/usr/bin/patched":
		return Place{Class: claim.Image, Package: "tool", State: catalog.Changed}
	case e.Path == "/usr/bin/tool", within("/usr/share/tool"):
		return image("tool")
	case e.Path == "/usr/local/bin/app", within("/opt/every"):
		return Place{Class: claim.Image, Serves: "app.service"}
	case e.Path == "/usr/local/bin/other":
		return Place{Class: claim.Image, Serves: "other.service"}
	}
	return Place{Class: claim.Image}
}

// LegacyPlan is what a plan makes of it.
func LegacyPlan() handoff.Plan {
	return handoff.Plan{
		Name:    "legacy",
		Volumes: []handoff.Volume{{Name: "app-data", Path: "/var/lib/db", Seed: true}},
		Host:    facts.OS{PrettyName: "Test OS 1", Architecture: "arm64"},
		Workloads: []handoff.Workload{
			{
				Name: "app", Kind: handoff.StatefulSet,
				Containers: []handoff.Container{{
					Name: "app", Unit: "app.service", Profile: "daemon", Image: "legacy-app",
					Command: []string{"/usr/local/bin/app", "--serve"}, WorkDir: "/srv/app", UID: 700, GID: 700,
					Env:        []handoff.Env{{Name: "MODE", Value: "lifted"}, {Name: "TOKEN", From: "app", Key: "TOKEN", Secret: true}},
					Ports:      []handoff.Port{{Name: "http", Number: 8080, Protocol: "TCP"}},
					StopSignal: "SIGQUIT",
					LogLinks:   map[hostpath.Path]string{"/var/log/app/app.log": "/dev/stdout", "/var/log/absent/x.log": "/dev/stderr"},
					Mounts: []handoff.Mount{
						{Volume: "data", Path: "/var/lib/db"},
						{Volume: "run", Path: "/var/run/app"},
						{Volume: "new", Path: "/var/lib/new/place"},
						{Volume: "env", Path: "/etc/app.env", SubPath: "app.env"},
					},
				}},
				Mounts: []handoff.PodVolume{
					{Name: "data", Origin: handoff.FromVolume},
					{Name: "run", Origin: handoff.FromEphemeral, Dirs: []handoff.EphemeralDir{{Path: "/run/made", UID: 700, GID: 700, Mode: 0o710}}},
					{Name: "env", Origin: handoff.FromSecret},
				},
			},
			{
				Name: "other", Kind: handoff.Deployment,
				Containers: []handoff.Container{{
					Name: "other", Unit: "other.service", Image: "legacy-other", Command: []string{"/usr/local/bin/other"}, StartsAsRoot: true, UID: 33, GID: 33,
				}},
			},
			{
				Name: "nightly", Kind: handoff.CronJob,
				Containers: []handoff.Container{{Name: "nightly", Unit: "nightly", Image: "legacy-nightly", Command: []string{"/bin/sh", "-c", "dump"}}},
			},
		},
	}
}

// LegacyPackages are what it has installed.
var LegacyPackages = []facts.Package{{Name: "base-files", Essential: true}, {Name: "tool"}}
