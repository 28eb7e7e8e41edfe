//go:build e2e

package verify

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/handoff"
)

const shop = `
apiVersion: v1
kind: Service
metadata: {name: shop-web}
spec: {selector: {app.kubernetes.io/name: web, app.kubernetes.io/instance: shop}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {hello: "welcome to the shop"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-web}
spec:
  replicas: 1
  selector: {matchLabels: {app.kubernetes.io/name: web, app.kubernetes.io/instance: shop}}
  template:
    metadata: {labels: {app.kubernetes.io/name: web, app.kubernetes.io/instance: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: PROBE
        args: [serve, ":8080", /data]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /PAGE, port: 8080}, periodSeconds: 1}
        volumeMounts: [{name: page, mountPath: /data}]
      - name: helper
        image: PROBE
        args: [pause]
      volumes: [{name: page, configMap: {name: page}}]
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: shop-dump}
spec:
  schedule: "15 2 * * *"
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: dump, image: PROBE, args: [pause]}]}}}}
`

// shopPlan is of the shop, with smoke checks that take at most so many seconds.
func shopPlan(seconds int32) handoff.Plan {
	return handoff.Plan{
		Name: "shop",
		Workloads: []handoff.Workload{
			{Name: "web", Kind: handoff.Deployment, Replicas: 1, Containers: []handoff.Container{
				{Name: "web", Ready: &handoff.Probe{HTTPPath: "/hello", Port: 8080}}, {Name: "helper"},
			}},
			{Name: "dump", Kind: handoff.CronJob},
		},
		Volumes: []handoff.Volume{
			{Name: "data", Check: []string{"/probe", "sha256", "/data/hello"}, CheckIn: "web/web"},
			{Name: "broken", Check: []string{"/probe", "fail", "table a is corrupt"}, CheckIn: "web/helper"},
			{Name: "none"},
		},
		Smoke: []handoff.Smoke{
			{Name: "page", Said: "statelift.yaml:3", Seconds: seconds, HTTP: &handoff.SmokeHTTP{Service: "shop-web", Port: 80, Path: "/hello", Status: 200, Contains: "welcome"}},
			{Name: "gone", Said: "statelift.yaml:7", Seconds: 1, HTTP: &handoff.SmokeHTTP{Service: "shop-web", Port: 80, Path: "/none", Status: 200}},
			{Name: "ls", Said: "statelift.yaml:9", Seconds: seconds, Exec: &handoff.SmokeExec{Workload: "web", Container: "helper", Command: []string{"/probe", "ls", "/"}, Contains: "probe"}},
			{Name: "fail", Said: "statelift.yaml:12", Seconds: 1, Exec: &handoff.SmokeExec{Workload: "web", Container: "helper", Command: []string{"/probe", "fail", "no stock"}}},
		},
	}
}

// table is what was checked: WHAT NAME ok|not DETAIL.
func table(r *run) string {
	var b strings.Builder
	for _, c := range r.checks {
		verdict := "ok "
		if !c.OK {
			verdict = "NOT "
		}
		fmt.Fprintf(&b, "%s %s %s%s\n", c.What, c.Name, verdict, strings.ReplaceAll(c.Detail, "\n", "; "))
	}
	return b.String()
}

func has(t *testing.T, table string, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if !strings.Contains(table, l) {
			t.Errorf("there is no %q in\n%s", l, table)
		}
	}
}

func TestInCluster(t *testing.T) {
	bed := bedtest.Open(t)
	ns := bed.Namespace(t)
	bed.Apply(t, ns, strings.NewReplacer("PROBE", bed.ProbeImage, "PAGE", "hello").Replace(shop))
	bed.Run(t, "rollout", "status", "-n", ns, "deployment/shop-web", "--timeout=120s")
	look := func(seconds int32) string {
		r := &run{Stage: &Stage{}, made: Made{Plan: shopPlan(seconds), Target: handoff.Target{Context: bed.Context, Namespace: ns}}}
		if err := r.inCluster(t.Context()); err != nil {
			t.Fatal(err)
		}
		return table(r)
	}
	got := look(20)
	has(t, got,
		"workload web ok web is ready by its probes (readiness)", "helper is running, and has no probe", "workload dump ok CronJob at 15 2 * * *",
		"data data ok the data check in web/web ends well", "data broken NOT the data check in web/helper ends with exit code 3; it ends", "table a is corrupt",
		`smoke page ok GET /hello: status 200, with "welcome"`, "smoke gone NOT GET /none: status 404, not 200", "(statelift.yaml:7, ",
		`smoke ls ok /probe in web/helper: exit code 0, with "probe"`, `smoke fail NOT /probe in web/helper: exit code 3, not 0; it ends`,
	)
	if n := strings.Count(got, "\n"); n != 8 {
		t.Errorf("%d lines:\n%s", n, got)
	}

	bed.Run(t, "scale", "-n", ns, "deployment/shop-web", "--replicas=0")
	bed.Run(t, "wait", "-n", ns, "--for=delete", "pod", "-l", "app.kubernetes.io/name=web", "--timeout=60s")
	has(t, look(1),
		"workload web NOT Deployment shop-web has 0 replicas, and the plan 1: kubectl scale --replicas=1 deployment/shop-web -n "+ns,
		"data data NOT web/web: no Pod of it is ready", "smoke page NOT GET /hello: service shop-web: no Pod of it is ready",
	)

	// A Pod that is never ready is found at once, with the reason.
	bed.Apply(t, ns, strings.NewReplacer("PROBE", bed.ProbeImage, "PAGE", "none").Replace(shop))
	deadline := time.Now().Add(time.Minute)
	for {
		if out, _ := bed.Try("", "get", "-n", ns, "pods", "-o", "jsonpath={.items[*].status.phase}"); out == "Running" || time.Now().After(deadline) {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	has(t, look(1), "workload web NOT 0 of 1 Pods are ready; ")
}
