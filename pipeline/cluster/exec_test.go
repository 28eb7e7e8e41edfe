//go:build e2e

package cluster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
)

const webPod = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: other
    image: PROBE
    args: [serve, ":8081", /]
  - name: web
    image: PROBE
    args: [serve, ":8080", /data]
    ports: [{name: http, containerPort: 8080}]
    readinessProbe: {httpGet: {path: /hello, port: 8080}, periodSeconds: 1}
    volumeMounts: [{name: page, mountPath: /data}]
  volumes:
  - {name: page, configMap: {name: page}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {hello: "hello from a ConfigMap"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}, {name: none, port: 81, targetPort: 9999}, {name: gone, port: 82, targetPort: nobody}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
`

func servedPod(t *testing.T) (*cluster.Cluster, bedtest.Bed, string) {
	t.Helper()
	bed := bedtest.Open(t)
	ns := bed.Namespace(t)
	bed.Apply(t, ns, strings.ReplaceAll(webPod, "PROBE", bed.ProbeImage))
	bed.Run(t, "wait", "-n", ns, "--for=condition=Ready", "pod/web", "--timeout=120s")
	c, err := cluster.Connect(cluster.Options{Context: bed.Context, Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	return c, bed, ns
}

func TestExec(t *testing.T) {
	c, bed, ns := servedPod(t)
	match := map[string]string{"app": "web"}
	out, err := c.ExecIn(t.Context(), match, "web", []string{"/probe", "ls", "/data"})
	if err != nil || out.Code != 0 {
		t.Fatalf("%+v %v", out, err)
	}
	if want := bed.Run(t, "exec", "-n", ns, "web", "-c", "web", "--", "/probe", "ls", "/data"); string(out.Stdout) != want {
		t.Errorf("%q, kubectl says %q", out.Stdout, want)
	}
	out, err = c.ExecIn(t.Context(), match, "web", []string{"/probe", "ls", "/nowhere"})
	if err != nil || out.Code == 0 || len(out.Stderr) == 0 {
		t.Errorf("a command that fails: %+v %v", out, err)
	}
	if _, err := c.ExecIn(t.Context(), match, "web", []string{"/no/such/program"}); err == nil || !strings.Contains(err.Error(), "container web of Pod web") {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := c.ExecIn(t.Context(), match, "none", []string{"/probe"}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("a container that is not there: %v", err)
	}
	if _, err := c.ExecIn(t.Context(), map[string]string{"app": "nobody"}, "web", []string{"/probe"}); !errors.Is(err, cluster.ErrNoPod) {
		t.Errorf("no Pod: %v", err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	began := time.Now()
	if _, err := c.Exec(ctx, "web", "web", []string{"/probe", "serve", ":8099", "/"}); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 10*time.Second {
		t.Errorf("a command without an end: %v after %s", err, time.Since(began))
	}
}

func TestDialService(t *testing.T) {
	c, bed, ns := servedPod(t)
	for range 2 {
		conn, err := c.DialService(t.Context(), "web", 80)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != http.StatusOK || response.ContentLength != int64(len("hello from a ConfigMap")) {
			t.Errorf("%+v %v", response, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []struct {
		service string
		port    int32
		want    string
	}{
		{"none", 80, "service none"}, {"web", 8080, "service web has no port 8080"}, {"empty", 80, "service empty: no Pod of it is ready"},
		{"web", 82, "service web: Pod web has no port nobody"},
	} {
		if _, err := c.DialService(t.Context(), bad.service, bad.port); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s:%d: %v, want %s", bad.service, bad.port, err, bad.want)
		}
	}
	conn, err := c.DialService(t.Context(), "web", 81) // nobody listens there
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n") //nolint:errcheck // the answer tells
	if _, err := bufio.NewReader(conn).ReadString('\n'); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a port where nobody listens: %v", err)
	}
	// Creating alone is enough, as the permissions of a run are listed.
	bed.Run(t, "create", "role", "-n", ns, "helper", "--verb=create", "--resource=pods/exec,pods/portforward")
	bed.Run(t, "create", "role", "-n", ns, "reader", "--verb=get,list", "--resource=pods,services")
	bed.Run(t, "create", "rolebinding", "-n", ns, "helper", "--role=helper", "--serviceaccount="+ns+":who")
	bed.Run(t, "create", "rolebinding", "-n", ns, "reader", "--role=reader", "--serviceaccount="+ns+":who")
	bed.As(t, ns, "who")
	who, err := cluster.Connect(cluster.Options{Context: bed.Context, Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	if conn, err := who.DialService(t.Context(), "web", 80); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if out, err := who.ExecIn(t.Context(), map[string]string{"app": "web"}, "web", []string{"/probe", "ls", "/data"}); err != nil || out.Code != 0 {
		t.Errorf("%+v %v", out, err)
	}
}
