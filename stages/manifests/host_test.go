package manifests

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
)

// bench is a workspace with an inventory over a small source.
type bench struct {
	dir    string
	root   string
	upload handoff.Upload
}

// newBench writes the files and scans them. Directories are made as needed.
func newBench(t *testing.T, files map[hostpath.Path]string) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir()}
	b.root = filepath.Join(b.dir, "root")
	if err := os.Mkdir(b.root, 0o755); err != nil {
		t.Fatal(err)
	}
	for p, content := range files {
		name := filepath.Join(b.root, string(p))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b.scan(t)
	return b
}

func (b *bench) scan(t *testing.T) {
	t.Helper()
	var paths []hostpath.Path
	err := filepath.WalkDir(b.root, func(name string, _ os.DirEntry, err error) error {
		paths = append(paths, hostpath.Clean(strings.TrimPrefix(name, b.root)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(paths, hostpath.Compare)
	w, err := catalog.Create(t.Context(), filepath.Join(b.dir, workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		dir, err := os.Open(filepath.Dir(filepath.Join(b.root, string(p))))
		if err != nil {
			t.Fatal(err)
		}
		name := p.Base()
		if p == hostpath.Root {
			name = filepath.Base(b.root)
		}
		e, err := tree.Lstat(dir, name, p)
		dir.Close()
		if err == nil {
			err = w.Add(t.Context(), catalog.Entry{Entry: e})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) run(t *testing.T, o Options, plan handoff.Plan, images handoff.Images, seeds handoff.Seeds) (handoff.Manifests, error) {
	t.Helper()
	env := &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: workspace.Workspace{Dir: b.dir}}
	return New(o).Run(t.Context(), env, handoff.Source{Kind: "directory", Root: b.root}, plan, images, seeds, b.upload)
}

func (b *bench) path(elem ...string) string {
	return filepath.Join(append([]string{b.dir, workspace.Manifests}, elem...)...)
}

func (b *bench) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(b.path(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// tool finds a program that fixtures/setup builds.
func tool(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("STATELIFT_TOOLS")
	if dir == "" {
		out, err := exec.Command("../../fixtures/setup").Output()
		if err != nil {
			t.Fatalf("fixtures/setup: %v", err)
		}
		dir = strings.TrimSpace(string(out))
	}
	return filepath.Join(dir, name)
}

// site is a plan with everything that a plan can have.
func site() (handoff.Plan, handoff.Images, handoff.Seeds) {
	mode := func(path hostpath.Path, uid, gid, mode uint32) []handoff.EphemeralDir {
		return []handoff.EphemeralDir{{Path: path, UID: uid, GID: gid, Mode: mode}}
	}
	group := int64(33)
	plan := handoff.Plan{
		Name: "atlas", Namespace: "shop", Into: "shop",
		HostAliases: []handoff.HostAlias{{IP: "10.20.0.8", Names: []string{"mailrelay.example.org"}}},
		Workloads: []handoff.Workload{
			{
				Name: "web", Kind: handoff.StatefulSet, Replicas: 1, WhyKind: "it owns /var/lib/mysql", GraceSeconds: 300, LowPorts: true, FSGroup: &group,
				Service: []handoff.Port{{Name: "http", Number: 80, Protocol: "TCP"}},
				Containers: []handoff.Container{
					{
						Name: "apache2", Unit: "apache2.service", Image: "atlas-apache2", Command: []string{"/usr/sbin/apachectl", "-D", "FOREGROUND"}, StartsAsRoot: true,
						Capabilities: []string{"NET_BIND_SERVICE", "SETGID", "SETUID"}, Ports: []handoff.Port{{Name: "http", Number: 80, Protocol: "TCP"}},
						Env: []handoff.Env{{Name: "PATH", Value: "/usr/bin"}}, Resources: handoff.Resources{CPU: 250, Memory: 256 << 20, MemoryLimit: 1 << 30},
						Ready: &handoff.Probe{HTTPPath: "/", Port: 80, Period: 10}, Live: &handoff.Probe{Port: 80, Period: 20, Failures: 6},
						Mounts: []handoff.Mount{
							{Volume: "web-config", Path: "/etc/apache2/ports.conf", SubPath: "apache2_ports.conf", ReadOnly: true},
							{Volume: "web-secret", Path: "/etc/wordpress/config.php", SubPath: "wordpress_config.php", ReadOnly: true},
							{Volume: "run-mysqld", Path: "/run/mysqld"}, {Volume: "apache2-tmp", Path: "/tmp"},
							{Volume: "media", Path: "/srv/media"}, {Volume: "logs", Path: "/var/log/apache2"},
						},
						LogLinks: map[hostpath.Path]string{"/var/log/apache2/error.log": "/dev/stderr", "/var/log/apache2/it's.log": "/dev/stdout"},
					},
					{
						Name: "mariadb", Unit: "mariadb.service", Image: "atlas-mariadb", Command: []string{"/usr/sbin/mariadbd"}, UID: 106, GID: 113, Groups: []uint32{4},
						Before: [][]string{{"/bin/true", "first"}}, ReadOnlyRoot: true, WorkDir: "/var/lib/mysql", Resources: handoff.Resources{CPU: 500, Memory: 512 << 20},
						Env:   []handoff.Env{{Name: "TOKEN", From: "web-secret", Key: "mariadb.TOKEN", Secret: true}, {Name: "MODE", From: "web-config", Key: "mariadb.MODE"}},
						Ready: &handoff.Probe{Exec: []string{"mysqladmin", "ping"}},
						Mounts: []handoff.Mount{
							{Volume: "run-mysqld", Path: "/run/mysqld"}, {Volume: "mariadb-tmp", Path: "/tmp"}, {Volume: "var-lib-mysql", Path: "/var/lib/mysql"},
						},
					},
				},
				Mounts: []handoff.PodVolume{
					{Name: "apache2-tmp", Origin: handoff.FromEphemeral, Dirs: mode("/tmp", 0, 0, 0o1777)},
					{Name: "logs", Origin: handoff.FromEphemeral, Dirs: append(mode("/var/log/apache2", 0, 4, 0o750), mode("/var/log/apache2/old", 33, 33, 0o700)...)},
					{Name: "mariadb-tmp", Origin: handoff.FromEphemeral, Dirs: mode("/tmp", 0, 0, 0o1777)},
					{Name: "media", Origin: handoff.FromShare, Of: "media"},
					{Name: "run-mysqld", Origin: handoff.FromEphemeral, Memory: true, Dirs: mode("/run/mysqld", 106, 0, 0o755)},
					{Name: "var-lib-mysql", Origin: handoff.FromVolume, Of: "var-lib-mysql"},
					{Name: "web-config", Origin: handoff.FromConfig, Of: "web-config"},
					{Name: "web-secret", Origin: handoff.FromSecret, Of: "web-secret"},
				},
			},
			{
				Name: "api", Kind: handoff.Deployment, Replicas: 2, WhyKind: "it owns no volume", GraceSeconds: 20,
				Containers: []handoff.Container{{
					Name: "api", Unit: "api.service", Image: "atlas-api", Command: []string{"/usr/local/bin/api"}, UID: 999, GID: 998, ReadOnlyRoot: true, Escalates: true,
					Capabilities: []string{"NET_RAW"}, Resources: handoff.Resources{CPU: 100, Memory: 128 << 20},
					Mounts: []handoff.Mount{{Volume: "api-tmp", Path: "/tmp"}},
				}},
				Mounts: []handoff.PodVolume{{Name: "api-tmp", Origin: handoff.FromEphemeral, Dirs: mode("/tmp", 0, 0, 0o1777)}},
			},
			{
				Name: "dump", Kind: handoff.CronJob, Replicas: 1, WhyKind: "it ran at 15 2 * * *", Schedule: "15 2 * * *", TimeZone: "Europe/Stockholm", Near: "web", GraceSeconds: 30,
				Containers: []handoff.Container{{
					Name: "dump", Unit: "cron:cron.d/site:5", Image: "atlas-dump", Command: []string{"/bin/bash", "-c", "/usr/local/sbin/dump"}, StartsAsRoot: true,
					Capabilities: []string{"CHOWN"}, Resources: handoff.Resources{CPU: 50, Memory: 64 << 20},
					Mounts: []handoff.Mount{{Volume: "var-backups", Path: "/var/backups"}, {Volume: "shared-config", Path: "/etc/dump.conf", SubPath: "dump.conf", ReadOnly: true}},
				}},
				Mounts: []handoff.PodVolume{
					{Name: "shared-config", Origin: handoff.FromConfig, Of: "shared-config"},
					{Name: "var-backups", Origin: handoff.FromVolume, Of: "var-backups", Dirs: mode("/var/backups", 0, 0, 0o750)},
				},
			},
		},
		Volumes: []handoff.Volume{
			{Name: "home-marta", Path: "/home/marta", Seed: true, Reason: "a person's files", Request: 1 << 30, AccessMode: "ReadWriteOnce"},
			{Name: "var-backups", Path: "/var/backups", Reason: "new dumps", Request: 1 << 30, AccessMode: "ReadWriteOnce", Owner: "dump"},
			{Name: "var-lib-mysql", Path: "/var/lib/mysql", Seed: true, Reason: "the database", Request: 4 << 30, AccessMode: "ReadWriteOnce", Owner: "web", Class: "fast"},
		},
		Configs: []handoff.FileSet{
			{Name: "shared-config", Files: []handoff.KeyFile{{Key: "dump.conf", Path: "/etc/dump.conf", Mode: 0o644}, {Key: "binary", Path: "/etc/binary", Mode: 0o644}}},
			{Name: "web-config", Owner: "web", Files: []handoff.KeyFile{
				{Key: "apache2_ports.conf", Path: "/etc/apache2/ports.conf", Mode: 0o644}, {Key: "mariadb.MODE", Path: "/etc/default/mariadb", Variable: "MODE"},
			}},
		},
		Secrets: []handoff.FileSet{{Name: "web-secret", Owner: "web", Files: []handoff.KeyFile{
			{Key: "wordpress_config.php", Path: "/etc/wordpress/config.php", Mode: 0o640, GID: 33, Copied: true},
			{Key: "mariadb.TOKEN", Path: "/etc/token.env", Variable: "TOKEN"},
		}}},
		Shares: []handoff.Share{
			{Name: "media", FSType: "nfs4", Server: "10.20.0.5", Export: "/export/media", Path: "/srv/media", Options: []string{"noatime"}, Users: []string{"web"}},
			{Name: "unused", FSType: "nfs", Server: "10.20.0.5", Export: "/export/x", Path: "/srv/x"},
			{Name: "scans", FSType: "cifs", Server: "files.example.org", Export: "scans", Path: "/srv/scans", Users: []string{"web"}},
		},
	}
	plan.Host.Architecture = "amd64"
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	images := handoff.Images{Images: []handoff.Image{
		{Name: "atlas-apache2", Digest: digest("a")}, {Name: "atlas-mariadb", Digest: digest("b"), Ref: "registry.example/atlas-mariadb@" + digest("b")},
		{Name: "atlas-api", Digest: digest("c")}, {Name: "atlas-dump", Digest: digest("d")},
	}}
	seeds := handoff.Seeds{Seeds: []handoff.Seed{{Volume: "home-marta", Digest: digest("e")}, {Volume: "var-lib-mysql", Digest: digest("f")}}}
	return plan, images, seeds
}

func siteFiles() map[hostpath.Path]string {
	return map[hostpath.Path]string{
		"/etc/apache2/ports.conf": "Listen 80\n", "/etc/wordpress/config.php": "<?php define('DB_PASSWORD', 'geheim');\n", "/etc/default/mariadb": "# x\nMODE=\"two words\"\n",
		"/etc/token.env": "TOKEN=token-value\n", "/etc/dump.conf": "dest = /var/backups\n", "/etc/binary": "\xff\x00\x01",
	}
}
