//go:build e2e

package diagnose_test

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

var update = flag.Bool("update", false, "write the scenes under testdata/ anew from the cluster")

// TestFaultsInTheCluster makes each fault in the real cluster, and wants it said
// within seconds.
func TestFaultsInTheCluster(t *testing.T) {
	bed := bedtest.Open(t)
	t.Cleanup(func() { bed.Run(t, "delete", "storageclass", "never", "--ignore-not-found") })
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, bed)
			for _, args := range f.before {
				s.kubectl(t, args)
			}
			s.apply(t, f.yaml)
			for _, args := range f.then {
				s.kubectl(t, args)
			}
			began := time.Now()
			scene, wrong := s.until(func(list []diagnose.Finding) string { return f.check(list) })
			if wrong != "" {
				t.Fatal(wrong)
			}
			t.Logf("said after %s", time.Since(began).Round(100*time.Millisecond))
			if *update {
				write(t, f.name, scene)
			}
		})
	}
	for name, args := range map[string]string{"running": "[pause]", "complete": "[env, HOME]"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, bed)
			s.apply(t, strings.Replace(jobHead+podHead+container+withClaim+claimHead, "[pause]", args, 1))
			s.kubectl(t, []string{"wait", "--for=jsonpath={.status.phase}=" + map[string]string{"running": "Running", "complete": "Succeeded"}[name], "pod", "-l", "job-name=it", "--timeout=60s"})
			scene, list := s.scene()
			if len(list) > 0 {
				t.Errorf("found: %v", list)
			}
			if *update {
				write(t, name, scene)
			}
		})
	}
}

// stage is a namespace in which a fault plays.
type stage struct {
	bed  bedtest.Bed
	ns   string
	view *cluster.View
	from time.Time
}

func newStage(t *testing.T, bed bedtest.Bed) *stage {
	t.Helper()
	s := &stage{bed: bed, ns: bed.Namespace(t), from: time.Now().Add(-time.Minute)}
	c, err := cluster.Connect(cluster.Options{Context: bed.Context, Namespace: s.ns})
	if err != nil {
		t.Fatal(err)
	}
	if s.view, err = c.Watch(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) apply(t *testing.T, yaml string) {
	t.Helper()
	s.bed.Apply(t, s.ns, strings.NewReplacer("PROBE", s.bed.ProbeImage, "REGISTRY", s.bed.Registry, "NOBODY", strings.TrimSuffix(s.bed.HostIP, "2")+"9").Replace(yaml))
}

// kubectl runs a command in the namespace; after "-f -" comes what is read.
func (s *stage) kubectl(t *testing.T, args []string) {
	t.Helper()
	stdin := ""
	if n := len(args); n > 2 && args[n-2] == "-" {
		stdin, args = args[n-1], args[:n-1]
	}
	if args[0] == "label" {
		args = append([]string{}, args...)
		args[2] = s.ns
	} else {
		args = append([]string{"-n", s.ns}, args...)
	}
	if _, err := s.bed.Try(stdin, args...); err != nil {
		t.Fatal(err)
	}
}

// scene is what the cluster says by now.
func (s *stage) scene() (diagnose.Scene, []diagnose.Finding) {
	out := diagnose.Scene{Want: 1, Job: s.view.Job("it"), Pods: s.view.Pods(nil)}
	var about []types.UID
	if out.Job != nil {
		about = append(about, out.Job.UID)
	}
	if out.Deployment = s.view.Deployment("it"); out.Deployment != nil {
		about, out.Owner = append(about, out.Deployment.UID), "Deployment it"
	}
	if set := s.view.StatefulSet("it"); set != nil {
		about, out.Owner = append(about, set.UID), "StatefulSet it"
	}
	for _, p := range out.Pods {
		about = append(about, p.UID)
	}
	if c := s.view.Claim("data"); c != nil {
		out.Claims = []*corev1.PersistentVolumeClaim{c}
		about = append(about, c.UID)
	}
	out.Events = s.view.Events(s.from, about...)
	return out, diagnose.Explain(out)
}

// until waits for a scene in which all is said as check wants it.
func (s *stage) until(check func([]diagnose.Finding) string) (scene diagnose.Scene, wrong string) {
	ctx, stop := context.WithTimeout(context.Background(), 90*time.Second)
	defer stop()
	for {
		changed := s.view.Changed()
		scene, list := s.scene()
		if wrong = check(list); wrong == "" {
			return scene, ""
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return scene, wrong
		}
	}
}

func write(t *testing.T, name string, s diagnose.Scene) {
	t.Helper()
	if s.Job != nil {
		s.Job = s.Job.DeepCopy()
		s.Job.ManagedFields, s.Job.Annotations = nil, nil
	}
	if s.Deployment != nil {
		s.Deployment = s.Deployment.DeepCopy()
		s.Deployment.ManagedFields, s.Deployment.Annotations = nil, nil
	}
	for i := range s.Pods {
		s.Pods[i] = s.Pods[i].DeepCopy()
		s.Pods[i].ManagedFields = nil
		s.Pods[i].Spec.Volumes = nil
	}
	for i := range s.Claims {
		s.Claims[i] = s.Claims[i].DeepCopy()
		s.Claims[i].ManagedFields, s.Claims[i].Annotations = nil, nil
	}
	for i := range s.Events {
		s.Events[i] = s.Events[i].DeepCopy()
		s.Events[i].ManagedFields = nil
		s.Events[i].ObjectMeta = metav1.ObjectMeta{Name: s.Events[i].Name}
	}
	data, err := json.MarshalIndent(s, "", " ")
	if err == nil {
		err = os.WriteFile(sceneFile(name), append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
