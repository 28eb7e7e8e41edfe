//go:build e2e

package warmup_test

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/cluster/warmup"
	"github.com/statelift/statelift/pipeline/handoff"
)

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

// held is a workload at zero that needs what is not there yet: its claim, and the
// ConfigMap of the fence.
const held = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: shop-%[1]s}
spec:
  replicas: 0
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      initContainers: [{name: before, image: %[2]q, args: [serve, ":8080", /], volumeMounts: [{name: data, mountPath: /data}]}]
      containers: [{name: main, image: %[2]q, args: [serve, ":8080", /], volumeMounts: [{name: data, mountPath: /data}]}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: none}}]
`

// TestWarm tries workloads whose Pods could not start yet, one of which never will:
// its image is not there.
func TestWarm(t *testing.T) {
	bed := bedtest.Open(t)
	namespace := bed.Namespace(t)
	c, err := cluster.Connect(cluster.Options{Context: bed.Context, Namespace: namespace})
	if err != nil {
		t.Fatal(err)
	}
	ledgers, err := pipeline.OpenLedgers(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledgers.Close() })
	made, err := cluster.OpenMade(t.Context(), ledgers.Of("deploy"))
	if err != nil {
		t.Fatal(err)
	}
	view, err := c.Watch(t.Context(), "app.kubernetes.io/instance=shop")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	w := warmup.Warmer{
		Plan: handoff.Plan{Name: "shop", Workloads: []handoff.Workload{
			{Name: "good", Kind: handoff.StatefulSet, Replicas: 1}, {Name: "lacks", Kind: handoff.StatefulSet, Replicas: 1},
			{Name: "report", Kind: handoff.CronJob}, {Name: "idle", Kind: handoff.StatefulSet},
		}},
		Runner: &copyjob.Runner{
			Owner:  &cluster.Owner{Cluster: c, Made: made, Workspace: "w-" + namespace, Log: log, Patience: time.Minute},
			Waiter: &await.Waiter{Cluster: c, View: view, Log: log, Progress: silent{}, Logs: t.TempDir(), Patience: 20 * time.Second, Began: time.Now()},
		},
	}
	bed.Apply(t, namespace, fmt.Sprintf(held, "good", bed.ProbeImage))
	bed.Apply(t, namespace, fmt.Sprintf(held, "lacks", bed.ProbeImage+"-that-is-not-there"))
	results, err := w.Warm(t.Context())
	if err != nil || len(results) != 2 {
		t.Fatalf("%+v, %v", results, err)
	}
	if r := results[0]; r.Workload != "good" || r.Err != nil || r.Took <= 0 || r.Took > time.Minute {
		t.Errorf("a workload that only waits for its data: %+v", r)
	}
	if r := results[1]; r.Workload != "lacks" || r.Err == nil || !strings.Contains(r.Err.Error(), "that-is-not-there") {
		t.Errorf("a workload without an image: %+v", r)
	}
	if left := bed.Run(t, "-n", namespace, "get", "jobs,pods", "-o", "name"); left != "" {
		t.Errorf("left of it: %s", left)
	}
	if left := made.All(); len(left) > 0 {
		t.Errorf("recorded as made: %v", left)
	}
}
