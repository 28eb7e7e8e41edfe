//go:build e2e

package install_test

import (
	"slices"
	"strings"
	"testing"
)

// TestTwoVolumesOfOneWorkload: the copies of volumes that one Pod mounts name
// each other's claims, so that one node is chosen for all, and are proved again
// afterwards each by itself.
func TestTwoVolumesOfOneWorkload(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	l.write(t, "srv/spool/first job", []byte("print me\n"))
	l.write(t, "etc/systemd/system/daemon1.service", []byte(strings.Replace(unit, "User=daemon1", "User=daemon1\nEnvironment=SPOOL=/srv/spool", 1)))
	l.shell(t, `chown -R 991:991 "$1/srv/spool"`, l.host)
	l.statelift(t, l.args()...)

	claims := strings.Fields(l.kubectl(t, "get", "statefulset", "small-daemon1", "-o", "jsonpath={.spec.template.spec.volumes[*].persistentVolumeClaim.claimName}"))
	slices.Sort(claims)
	if !slices.Equal(claims, []string{"small-srv-spool", "small-var-lib-daemon"}) {
		t.Fatalf("the daemon mounts %v", claims)
	}
	together := 0
	copies := l.kubectl(t, "get", "jobs", "-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.template.spec.volumes[*].persistentVolumeClaim.claimName} {.status.succeeded}{"\n"}{end}`)
	for line := range strings.Lines(copies) {
		fields := strings.Fields(line)
		for _, claim := range claims {
			if !strings.HasPrefix(fields[0], strings.Replace(claim, "small-", "small-copy-", 1)) {
				continue
			}
			together++
			named := slices.Sorted(slices.Values(fields[1 : len(fields)-1]))
			if fields[1] != claim || !slices.Equal(named, claims) || fields[len(fields)-1] != "1" {
				t.Errorf("job %s", line)
			}
		}
	}
	if together != len(claims) {
		t.Errorf("jobs:\n%s", copies)
	}
	l.arrived(t, "srv/spool", "small-srv-spool")
	l.arrived(t, "var/lib/daemon", "small-var-lib-daemon", "/starts", "/address")

	l.kubectl(t, "scale", "--replicas=0", "statefulset/small-daemon1")
	l.kubectl(t, "wait", "--for=delete", "pod/small-daemon1-0", "--timeout=60s")
	table := l.refused(t, 6, "verify", "-w", l.workspace, "--volumes")
	for _, volume := range []string{"srv-spool", "srv-papers"} {
		if !strings.Contains(table, volume+" in ") {
			t.Errorf("%s is not proved again:\n%s", volume, table)
		}
	}
	t.Log(table)
}
