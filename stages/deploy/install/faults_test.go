//go:build e2e

package install_test

import (
	"context"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// decide writes statelift.yaml.
func (l *lift) decide(t *testing.T, text string) {
	t.Helper()
	if err := os.MkdirAll(l.workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.workspace, "statelift.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestVolumeTooSmall: a full volume is named with the remedy; with the remedy it
// ends well. Only this one is made anew.
func TestVolumeTooSmall(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	class := l.namespace + "-ext4"
	if _, err := l.Try("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: "+class+"}\nprovisioner: bed.statelift/ext4\nvolumeBindingMode: WaitForFirstConsumer\n",
		"apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Run(t, "delete", "storageclass", class) })
	decision := "volumes:\n- path: /var/lib/daemon\n  storageClass: " + class + "\n  size: "
	l.decide(t, decision+"40Mi\n")
	out := l.refused(t, 1, l.args()...)
	for _, want := range []string{"volume is full", "larger size", "the logs are in", "statelift clean"} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing is said of %q:\n%s", want, out)
		}
	}
	l.noCredentials(t)
	if logs, err := filepath.Glob(filepath.Join(l.workspace, "run/logs/*.log")); err != nil || len(logs) == 0 {
		t.Errorf("logs: %v, %v", logs, err)
	}
	if out := l.statelift(t, "status", "-w", l.workspace); !strings.Contains(out, "Job") || !strings.Contains(out, "there") {
		t.Errorf("status says:\n%s", out)
	}
	papers := l.kubectl(t, "get", "pvc", "small-srv-papers", "-o", "jsonpath={.metadata.uid}")
	l.decide(t, decision+"400Mi\n")
	l.statelift(t, "run", "-w", l.workspace)
	l.kubectl(t, "wait", "--for=condition=Ready", "pod/small-daemon1-0", "--timeout=60s")
	if now := l.kubectl(t, "get", "pvc", "small-srv-papers", "-o", "jsonpath={.metadata.uid}"); now != papers {
		t.Error("the claim of another volume was made anew, too")
	}
}

// TestRegistryThatWantsCredentials: nodes and copies get them, the copies for the
// run only; an image that is refused is named within seconds.
func TestRegistryThatWantsCredentials(t *testing.T) {
	t.Parallel()
	l := newLift(t)
	address, refuse := l.guardedRegistry(t)
	login := `{"auths": {"` + address + `": {"auth": "` + base64.StdEncoding.EncodeToString([]byte("lifter:"+password)) + `"}}}`
	run := func(args ...string) (string, error) {
		cmd := l.command(t, args...)
		cmd.Env = append(cmd.Env, "DOCKER_AUTH_CONFIG="+login)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	args := []string{"run", l.host, "-w", l.workspace, "--context", l.Context, "--namespace", l.namespace,
		"--registry", "http://" + address + "/" + l.namespace, "--carrier", "registry"}

	refuse(true)
	out, err := run(args...)
	if err == nil || !strings.Contains(out, "without other credentials") || !strings.Contains(out, "docker login") || strings.Contains(out, password) {
		t.Fatalf("%v: %s\n%s", err, out, l.describe())
	}
	l.noCredentials(t)
	refuse(false)
	if out, err := run(args...); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, l.describe())
	}
	l.noCredentials(t)
	if got := l.kubectl(t, "get", "secret", "small-pull", "-o", "jsonpath={.type}"); got != "kubernetes.io/dockerconfigjson" {
		t.Errorf("the pull Secret is %s", got)
	}
	l.shell(t, `! grep -rF "$2" "$1" --exclude-dir=images --exclude-dir=seeds`, l.workspace, password)
	if out, err := run("run", "-w", l.workspace); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

const password = "open-Sesame-48151623"

// guardedRegistry is the bed's registry behind a password, at an address that
// nodes reach. While it refuses, it gives nodes no image.
func (l *lift) guardedRegistry(t *testing.T) (address string, refuse func(bool)) {
	t.Helper()
	var refusing bool
	back := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: l.Registry})
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(l.HostIP, "0"))
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		if user != "lifter" || pass != password || refusing && strings.HasPrefix(r.UserAgent(), "containerd") {
			w.Header().Set("WWW-Authenticate", `Basic realm="lift"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		r.Host = address // so that Location leads here again
		back.ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	dir := filepath.Join(l.RegistryHosts, address)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	hosts := "server = \"http://" + address + "\"\n[host.\"http://" + address + "\"]\n  capabilities = [\"pull\", \"resolve\"]\n"
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	return address, func(yes bool) { refusing = yes }
}

// TestShards fills a large volume by several Pods, kills the run meanwhile, and
// proves it in the end.
func TestShards(t *testing.T) {
	l := newLift(t)
	l.shell(t, `truncate -s 1200M "$1/srv/papers/large"; printf end >>"$1/srv/papers/large"
		head -c 20000000 /dev/urandom >"$1/srv/papers/random"`, l.host)
	l.statelift(t, l.args("--shards", "3")...)
	if out := l.kubectl(t, "get", "jobs", "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec.completions} {.status.succeeded}{\"\\n\"}{end}"); !strings.Contains(out, "small-shards-srv-papers-") || !strings.Contains(out, " 3 3\n") {
		t.Errorf("Jobs:\n%s", out)
	}
	l.arrived(t, "srv/papers", "small-srv-papers")
}
