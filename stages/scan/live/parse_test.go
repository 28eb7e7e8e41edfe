package live

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/hostpath"
)

func TestUnitOf(t *testing.T) {
	tests := []struct {
		name, cgroup, unit string
		container          bool
	}{
		{"version 2", "0::/system.slice/apache2.service\n", "apache2.service", false},
		{"version 1", "12:pids:/system.slice/x.service\n1:name=systemd:/system.slice/mariadb.service\n0::/other.service\n", "mariadb.service", false},
		{"below a unit", "0::/system.slice/docker.service/x/y\n", "docker.service", false},
		{"nested slices", "0::/system.slice/system-postgresql.slice/postgresql@15-main.service\n", "postgresql@15-main.service", false},
		{"escaped", "0::/system.slice/_cgroup.service\n", "cgroup.service", false},
		{"user", "0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service\n", "user@1000.service", false},
		{"session", "0::/user.slice/user-0.slice/session-3.scope\n", "session-3.scope", false},
		{"init", "0::/init.scope\n", "init.scope", false},
		{"none", "0::/\n", "", false},
		{"no systemd", "1:name=systemd:/my/group\n", "", false},
		{"docker", "0::/system.slice/docker-0123.scope\n", "docker-0123.scope", true},
		{"docker, version 1", "1:name=systemd:/docker/0123\n", "", true},
		{"kubernetes", "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-0123.scope\n", "cri-containerd-0123.scope", true},
		{"podman", "0::/machine.slice/libpod-0123.scope\n", "libpod-0123.scope", true},
		{"lxc", "0::/lxc.payload.a/system.slice/b.service\n", "", true},
		{"empty", "", "", false},
	}
	for _, tt := range tests {
		unit, container := unitOf(tt.cgroup)
		if unit != tt.unit || container != tt.container {
			t.Errorf("%s: %q %v, want %q %v", tt.name, unit, container, tt.unit, tt.container)
		}
	}
}

func TestSharedMappings(t *testing.T) {
	got := sharedMappings("7f00-7f01 rw-s 00000000 08:01 12 /srv/my db\n7f00-7f01 r--s 00000000 08:01 13 /srv/read\n7f00-7f01 rw-p 00000000 08:01 14 /srv/private\n7f00-7f01 rw-s 00000000 08:01 15 /srv/gone (deleted)\n7f00-7f01 rw-s 00000000 00:00 0 \nnonsense\n")
	if diff := cmp.Diff([]hostpath.Path{"/srv/my db"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestOpensForWriting(t *testing.T) {
	for info, want := range map[string]bool{
		"pos:\t0\nflags:\t0100001\nmnt_id:\t1\n": true, "flags:\t02\n": true, "flags:\t0100000\n": false, "flags:\t010000002\n": false, "": false, "flags:\tx\n": false,
	} {
		if got := opensForWriting(info); got != want {
			t.Errorf("%q: %v", info, got)
		}
	}
}

func FuzzTables(f *testing.F) {
	f.Add("0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 123 1\n")
	f.Add("0: 00000000000000000000000001000000:0050 0:0 0A 0:0 0:0 0 0 0 123\n")
	f.Add("x: 00000002 00000000 00010000 0001 01 123 /run/a b\n")
	f.Add("1:name=systemd:/a.slice/b.service\n7f-7f rw-s 0 0 0 /x\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, protocol := range []string{"tcp", "udp"} {
			for _, x := range internet(s, protocol) {
				if x.listener.Port < 1 || x.listener.Port > 65535 || strings.Contains(x.listener.Address, " ") {
					t.Fatalf("%+v", x)
				}
			}
		}
		for _, x := range local(s) {
			if x.listener.Address == "" {
				t.Fatalf("%+v", x)
			}
		}
		unitOf(s)
		for _, p := range sharedMappings(s) {
			if p[0] != '/' {
				t.Fatal(p)
			}
		}
		opensForWriting(s)
		effectiveUID(s)
	})
}
