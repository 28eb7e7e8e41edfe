//go:build e2e

package stages_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/stages/plan"
	"github.com/statelift/statelift/templates"
)

// What the plan says a level of Pod security forbids is what the API server
// warns of.
func TestPodSecurityAgreesWithTheServer(t *testing.T) {
	bed := bedtest.Open(t)
	ws, src, p := planned(t, hosts.WordPress(t), "")
	if _, err := writeManifests(t, &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: ws}, src, p); err != nil {
		t.Fatal(err)
	}
	for _, level := range []string{"baseline", "restricted"} {
		ns := bed.Namespace(t, "pod-security.kubernetes.io/warn="+level)
		blocks := plan.Blocks(p, handoff.Target{Context: "c", Namespace: ns, PodSecurity: level, Missing: []handoff.Permission{
			{Verb: "list", Resource: "nodes", Optional: true}, {Verb: "list", Resource: "storageclasses", Optional: true},
		}})
		text := ""
		for _, b := range blocks {
			text += b.Text
		}
		for _, w := range p.Workloads {
			file := ws.Path(workspace.Manifests, strings.ToLower(string(w.Kind))+"-"+p.ObjectName(w.Name)+".yaml")
			warned := bed.Warnings(t, "apply", "--dry-run=server", "-n", ns, "-f", file)
			forbidden := strings.Contains(warned, "would violate PodSecurity")
			says := regexp.MustCompile(`(of |, )` + w.Name + `( |,|;|$)`).MatchString(text)
			if forbidden != says {
				t.Errorf("%s, %s: the server says %q, the plan %q", level, w.Name, warned, text)
			}
		}
	}
}

// lift is a lift into the test cluster up to the gate.
type lift struct {
	ws     workspace.Workspace
	events map[string]string // stage → state and why
}

func (l *lift) run(t *testing.T, root, contextName, namespace, text string) error {
	t.Helper()
	d, err := decisions.Parse(workspace.Decisions, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	profiles, perr := profile.Load(templates.Profiles())
	rules, rerr := profile.LoadRules(templates.Rules())
	if err := errors.Join(perr, rerr, os.MkdirAll(l.ws.Path(workspace.Run), 0o700)); err != nil {
		t.Fatal(err)
	}
	l.events = map[string]string{}
	runner := &pipeline.Runner{
		Stages: stages.All(stages.Deps{
			Source: root, Context: contextName, Namespace: namespace, Hold: true, Version: "test", Decisions: d, Profiles: profiles, Rules: rules,
		}),
		Granted: pipeline.Local | pipeline.Cluster, Version: "test",
		Env:     pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: l.ws, Progress: silent{}},
		Ledgers: func(string) pipeline.Ledger { return forgetful{} },
		Observe: func(e pipeline.Event) {
			if e.State == pipeline.Running || e.State == pipeline.Fresh {
				l.events[e.Stage] = strings.TrimSpace(string(e.State) + " " + e.Why)
			}
		},
	}
	return runner.Run(context.Background(), "admit")
}

// The gate lets through what the cluster serves, and stops what it does not,
// with the choices, before any work.
func TestTargetIsLookedAtFirst(t *testing.T) {
	bed := bedtest.Open(t)
	root := busyHost(t)
	ns := bed.Namespace(t)
	l := &lift{ws: workspace.Workspace{Dir: t.TempDir()}}
	if err := l.run(t, root, bed.Context, ns, ""); err != nil {
		t.Fatal(err)
	}
	admitted, err := pipeline.Read(l.ws, handoff.AdmitKey)
	if err != nil || admitted.Target != bed.Context+"/"+ns {
		t.Fatalf("admitted to %q: %v", admitted.Target, err)
	}
	p, err := pipeline.Read(l.ws, handoff.PlanKey)
	if err != nil {
		t.Fatal(err)
	}
	report, err := os.ReadFile(l.ws.Path("report.html"))
	if err != nil || !strings.Contains(string(report), `id="cluster"`) || !strings.Contains(string(report), bed.StorageClass) {
		t.Errorf("the report says nothing of the cluster: %v", err)
	}

	// Nothing changed: nothing is done. (Other tests may have a class made in the
	// same cluster meanwhile.)
	for again := 0; again == 0 || again < 5 && strings.Contains(l.events["target"], "storageClasses"); again++ {
		if err := l.run(t, root, bed.Context, ns, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, stage := range []string{"target", "plan", "report", "admit"} {
		if l.events[stage] != "fresh" {
			t.Errorf("%s is %s in the second run", stage, l.events[stage])
		}
	}

	class := bedtest.Name("block")
	bed.Apply(t, ns, "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: "+class+"}\nprovisioner: disk.csi.azure.com\n")
	defer bed.Run(t, "delete", "storageclass", class)
	small := "apiVersion: v1\nkind: LimitRange\nmetadata: {name: small}\nspec: {limits: [{type: PersistentVolumeClaim, max: {storage: 100Mi}}]}\n"
	quota := "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: tight}\nspec: {hard: {persistentvolumeclaims: \"0\"}}\n"
	taken := "apiVersion: v1\nkind: Service\nmetadata: {name: " + p.ObjectName("tinyd") + "-pods}\nspec: {clusterIP: None, selector: {a: b}}\n"
	volume := p.Volumes[0].Path.String()
	for _, tt := range []struct {
		name, made, undo, text string
		want                   []string
	}{
		{"quota", quota, "resourcequota/tight", "", []string{"ResourceQuota tight allows 0 persistentvolumeclaims", "have ResourceQuota tight raised to"}},
		{"name", taken, "service/" + p.ObjectName("tinyd") + "-pods", "", []string{"objects already that the lift would make", "Service " + p.ObjectName("tinyd") + "-pods", "--namespace"}},
		{"size", small, "limitrange/small", "", []string{"asks for 1Gi, and LimitRange small allows 100Mi at most", "size: 100Mi"}},
		{"many writers", "", "", "volumes: [{path: " + volume + ", storageClass: " + class + ", accessMode: ReadWriteMany}]\n", []string{
			"is to be ReadWriteMany, and StorageClass " + class + " (Azure Disk) serves ReadWriteOnce, ReadWriteOncePod only", "by affinity",
		}},
		{"class", "", "", "volumes: [{path: " + volume + ", storageClass: fast}]\n", []string{"wants the StorageClass fast, and the cluster has none of that name", "storageClass: " + bed.StorageClass}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.made != "" {
				bed.Apply(t, ns, tt.made)
				defer bed.Run(t, "delete", "-n", ns, tt.undo)
			}
			var blocked *pipeline.Blocked
			for end := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
				if err := l.run(t, root, bed.Context, ns, tt.text); errors.As(err, &blocked) || time.Now().After(end) {
					break
				}
			}
			if blocked == nil {
				t.Fatal("it is not blocked")
			}
			for _, want := range tt.want {
				if !strings.Contains(blocked.Error(), want) {
					t.Errorf("%q is not in: %s", want, blocked)
				}
			}
			markdown, err := os.ReadFile(l.ws.Path("report.md"))
			if err != nil || !strings.Contains(string(markdown), "cannot go there as it is") {
				t.Errorf("the report does not say so: %v", err)
			}
		})
	}
	if err := l.run(t, root, bed.Context, ns, ""); err != nil {
		t.Errorf("after that all was undone: %v", err)
	}

	bed.Run(t, "label", "namespace", ns, "pod-security.kubernetes.io/enforce=restricted")
	if err := l.run(t, root, bed.Context, ns, ""); err == nil || !strings.Contains(err.Error(), "the copy Jobs run as root") || !strings.Contains(err.Error(), "enforce=baseline") {
		t.Errorf("in a namespace that is restricted: %v", err)
	}
	bed.Run(t, "label", "--overwrite", "namespace", ns, "pod-security.kubernetes.io/enforce=baseline")
	if err := l.run(t, root, bed.Context, ns, ""); err != nil {
		t.Errorf("as the message says: %v", err)
	}

	bed.As(t, ns, "lifter")
	err = l.run(t, root, bed.Context, ns, "")
	for _, want := range []string{"in namespace " + ns + " you may not: get, list, create, patch, delete configmaps (configuration)", "create", "jobs.batch", "have a Role in namespace " + ns} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without permissions: no %q in %v", want, err)
		}
	}
	rules := regexp.MustCompile(`have a Role in namespace \S+ granted with rules: (\[.*\])`).FindStringSubmatch(fmt.Sprint(err))
	if rules == nil {
		t.Fatalf("no rules in %v", err)
	}
	bed.Apply(t, ns, "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: lifter}\nrules: "+rules[1]+"\n")
	bed.Run(t, "create", "rolebinding", "lifter", "-n", ns, "--role=lifter", "--serviceaccount="+ns+":lifter")
	for end := time.Now().Add(3 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if err = l.run(t, root, bed.Context, ns, ""); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		t.Errorf("with the Role of the message: %v", err)
	}
}

// What a lift made itself is neither in its way nor takes from its quota.
func TestOwnObjectsAreNotInTheWay(t *testing.T) {
	bed := bedtest.Open(t)
	root := busyHost(t)
	ns := bed.Namespace(t)
	l := &lift{ws: workspace.Workspace{Dir: t.TempDir()}}
	if err := l.run(t, root, bed.Context, ns, ""); err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Read(l.ws, handoff.PlanKey)
	if err != nil {
		t.Fatal(err)
	}
	before, err := pipeline.Read(l.ws, handoff.TargetKey)
	if err != nil {
		t.Fatal(err)
	}
	id, err := l.ws.Identity()
	if err != nil {
		t.Fatal(err)
	}
	src, err := pipeline.Read(l.ws, handoff.SourceKey)
	if err != nil {
		t.Fatal(err)
	}
	made, err := writeManifests(t, &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: l.ws}, src, p)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range made.Files {
		if slices.Contains([]string{"PersistentVolumeClaim", "StatefulSet", "Service", "ConfigMap", "ServiceAccount"}, f.Kind) {
			bed.Run(t, "apply", "-n", ns, "-f", l.ws.Path(workspace.Manifests, f.Name))
			bed.Run(t, "label", "-n", ns, strings.ToLower(f.Kind)+"/"+f.Object, "statelift.io/workspace="+id)
		}
	}
	if err := l.run(t, root, bed.Context, ns, ""); err != nil {
		t.Errorf("the second run: %v", err)
	}
	after, err := pipeline.Read(l.ws, handoff.TargetKey)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(bedtest.Own(before), bedtest.Own(after)); diff != "" {
		t.Errorf("the target is another one (-before +after):\n%s", diff)
	}
}
