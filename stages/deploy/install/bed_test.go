//go:build e2e

package install_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/cluster/bedtest"
)

// lift is a small host on its way into the cluster.
type lift struct {
	bedtest.Bed
	host, workspace, namespace string
}

// newLift has a host with a service that has state: many small files and a large
// one.
func newLift(t *testing.T) *lift {
	t.Helper()
	l := &lift{Bed: bedtest.Read(t), host: t.TempDir(), workspace: filepath.Join(t.TempDir(), "ws"), namespace: bedtest.Name("lift")}
	l.build(t)
	t.Cleanup(func() { l.Try("", "delete", "namespace", l.namespace, "--wait=false", "--ignore-not-found") })
	return l
}

const unit = `[Unit]
Description=Counts its starts
[Service]
ExecStart=/usr/local/bin/daemon /var/lib/daemon/starts
User=daemon1
[Install]
WantedBy=multi-user.target
`

func (l *lift) build(t *testing.T) {
	t.Helper()
	for name, text := range map[string]string{
		"etc/os-release":                     "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12\"\n",
		"etc/hostname":                       "small\n",
		"etc/passwd":                         "root:x:0:0:root:/root:/bin/sh\ndaemon1:x:991:991::/var/lib/daemon:/usr/sbin/nologin\n",
		"etc/group":                          "root:x:0:\ndaemon1:x:991:\n",
		"etc/systemd/system/daemon1.service": unit,
		"var/lib/daemon/starts":              "41\n",
		"srv/papers/a letter.txt":            "Dear all\n",
		"var/lib/dpkg/status":                "",
	} {
		l.write(t, name, []byte(text))
	}
	random := make([]byte, 48<<20)
	rand.Read(random)
	l.write(t, "var/lib/daemon/large", random)
	for i := range 1500 {
		l.write(t, fmt.Sprintf("var/lib/daemon/d%02d/f%d", i%40, i), random[i*997:i*1003])
	}
	l.shell(t, `mkdir -p "$1/etc/systemd/system/multi-user.target.wants"
		ln -s ../daemon1.service "$1/etc/systemd/system/multi-user.target.wants/daemon1.service"
		ln "$1/var/lib/daemon/d01/f1" "$1/var/lib/daemon/again"
		mkfifo "$1/var/lib/daemon/queue"
		chown -R 991:991 "$1/var/lib/daemon"
		setfattr -n user.note -v kept "$1/var/lib/daemon/large"
		truncate -s 200M "$1/var/lib/daemon/sparse"
		find "$1" -depth -exec touch -h -d 2021-03-04T05:06:07.123456789 {} +`, l.host)
	program := filepath.Join(l.host, "usr/local/bin/daemon")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "./testdata/daemon")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func (l *lift) write(t *testing.T, name string, data []byte) {
	t.Helper()
	name = filepath.Join(l.host, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l *lift) shell(t *testing.T, script string, args ...string) string {
	t.Helper()
	out, err := exec.Command("sh", append([]string{"-ec", script, "sh"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// args are those of a run into the cluster.
func (l *lift) args(more ...string) []string {
	return append([]string{"run", l.host, "-w", l.workspace, "--context", l.Context, "--namespace", l.namespace,
		"--registry", "http://" + l.Registry + "/" + l.namespace, "--carrier", "registry"}, more...)
}

// command calls statelift as users have it.
func (l *lift) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	program := os.Getenv("STATELIFT_BINARY")
	if program == "" {
		t.Fatal("STATELIFT_BINARY names no program: make build")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+l.Kubeconfig)
	return cmd
}

func (l *lift) statelift(t *testing.T, args ...string) string {
	t.Helper()
	out, err := l.command(t, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("statelift %s: %v\n%s\n%s", strings.Join(args, " "), err, out, l.describe())
	}
	return string(out)
}

// refused wants a call to fail with that exit code.
func (l *lift) refused(t *testing.T, code int, args ...string) string {
	t.Helper()
	out, err := l.command(t, args...).CombinedOutput()
	exit, ok := err.(*exec.ExitError)
	if !ok || exit.ExitCode() != code {
		t.Fatalf("statelift %s: %v, want exit code %d\n%s\n%s", strings.Join(args, " "), err, code, out, l.describe())
	}
	return string(out)
}

func (l *lift) describe() string {
	var b bytes.Buffer
	for _, what := range []string{"pods,jobs,pvc,statefulsets", "events"} {
		out, _ := l.Try("", "-n", l.namespace, "get", what)
		b.WriteString(out + "\n")
	}
	return b.String()
}

func (l *lift) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return l.Run(t, append([]string{"-n", l.namespace}, args...)...)
}

// versions tells whether anything that a lift makes was changed.
func (l *lift) versions(t *testing.T) string {
	t.Helper()
	return l.kubectl(t, "get", "configmaps,secrets,pvc,services,serviceaccounts,networkpolicies,jobs,cronjobs,deployments,statefulsets,pods",
		"-o", `jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.resourceVersion}{"\n"}{end}`)
}

// directory is that of a claim's volume on the node.
func (l *lift) directory(t *testing.T, claim string) string {
	t.Helper()
	pv := l.kubectl(t, "get", "pvc", claim, "-o", "jsonpath={.spec.volumeName}")
	return filepath.Join(l.Volumes, pv)
}

// receipts are all files under receipts/ with their content.
func (l *lift) receipts(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	list, err := filepath.Glob(filepath.Join(l.workspace, "receipts", "*"))
	if err != nil || len(list) == 0 {
		t.Fatalf("receipts: %v, %v", list, err)
	}
	for _, name := range list {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(name)] = string(data)
	}
	return out
}

// arrived compares a volume with the host's directory, by rsync.
func (l *lift) arrived(t *testing.T, dir, claim string, but ...string) {
	t.Helper()
	args := []string{"-aHAXSn", "--numeric-ids", "--delete", "--checksum", "--itemize-changes"}
	for _, name := range but {
		args = append(args, "--exclude", name)
	}
	args = append(args, filepath.Join(l.host, dir)+"/", l.directory(t, claim)+"/")
	out, err := exec.Command("rsync", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("rsync: %v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		// The application has written its file, and with that the root's time.
		if !strings.HasPrefix(line, ".d..t......") {
			t.Errorf("%s is not as %s: %s", claim, dir, line)
		}
	}
}
