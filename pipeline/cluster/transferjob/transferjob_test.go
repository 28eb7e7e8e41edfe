package transferjob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/fixtures/outside"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
)

func manifest(args ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "batch/v1", "kind": "Job",
		"metadata": map[string]any{"name": "atlas-transfer-database", "annotations": map[string]any{Annotation: "database"}},
		"spec": map[string]any{"suspend": true, "template": map[string]any{"spec": map[string]any{
			"containers": []any{map[string]any{"name": Container, "args": args}},
		}}},
	}}
}

func argsOf(t *testing.T, job *unstructured.Unstructured) []string {
	t.Helper()
	boxes, _, err := unstructured.NestedSlice(job.Object, "spec", "template", "spec", "containers")
	if err != nil || len(boxes) != 1 {
		t.Fatal(boxes, err)
	}
	args, _, err := unstructured.NestedStringSlice(boxes[0].(map[string]any), "args")
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// A Job is named by what it does, and its manifest stays as it is.
func TestPrepare(t *testing.T) {
	from := manifest("transfer", SourceFlag, "db=sha256:1", "--", "mariadbd")
	before := from.DeepCopy()
	names := map[string]bool{}
	for _, test := range []struct {
		source, moves string
		look          bool
		args          []string
	}{
		{"", "db=sha256:1", false, []string{"transfer", SourceFlag, "db=sha256:1", "--", "mariadbd"}},
		{"db=sha256:1+sha256:2", "db=sha256:1+sha256:2", false, []string{"transfer", SourceFlag, "db=sha256:1+sha256:2", "--", "mariadbd"}},
		{"look 1", "look 1", true, []string{"transfer", "--look", SourceFlag, "look 1", "--", "mariadbd"}},
		{"look 2", "look 2", true, []string{"transfer", "--look", SourceFlag, "look 2", "--", "mariadbd"}},
	} {
		job, source, err := prepare(from, test.source, test.look)
		if err != nil || source != test.moves {
			t.Fatalf("%+v: %q, %v", test, source, err)
		}
		if diff := cmp.Diff(test.args, argsOf(t, job)); diff != "" {
			t.Errorf("%+v (-want +got):\n%s", test, diff)
		}
		if suspended, _, _ := unstructured.NestedBool(job.Object, "spec", "suspend"); suspended {
			t.Errorf("%+v: it is suspended", test)
		}
		if again, _, _ := prepare(from, test.source, test.look); again.GetName() != job.GetName() || names[job.GetName()] {
			t.Errorf("%+v: it is called %s, and then %s", test, job.GetName(), again.GetName())
		}
		names[job.GetName()] = true
	}
	if diff := cmp.Diff(before, from); diff != "" {
		t.Errorf("the manifest was changed:\n%s", diff)
	}
	for _, bad := range []*unstructured.Unstructured{manifest("transfer"), manifest(SourceFlag), {Object: map[string]any{"kind": "Job"}}} {
		if _, _, err := prepare(bad, "x", false); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// A receipt that contradicts itself, or is of something else, proves nothing.
func TestCheck(t *testing.T) {
	w := handoff.Workload{Name: "database", External: &handoff.External{Engine: "mariadb", Host: "db.example", Port: 3306, Databases: []string{"shop"}}}
	good := handoff.TransferReceipt{
		Workload: "database", Source: "s", Engine: "mariadb", Server: "db.example:3306", Databases: []handoff.DatabaseProof{{Name: "shop"}}, Proved: true,
	}
	if err := check(good, w, "s"); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*handoff.TransferReceipt){
		"another workload":        func(r *handoff.TransferReceipt) { r.Workload = "other" },
		"another state":           func(r *handoff.TransferReceipt) { r.Source = "t" },
		"another server":          func(r *handoff.TransferReceipt) { r.Server = "old.example:3306" },
		"another engine":          func(r *handoff.TransferReceipt) { r.Engine = "postgresql" },
		"a database is missing":   func(r *handoff.TransferReceipt) { r.Databases = []handoff.DatabaseProof{{Name: "other"}} },
		"proved with differences": func(r *handoff.TransferReceipt) { r.Differences = []string{"a table"} },
		"nothing differs":         func(r *handoff.TransferReceipt) { r.Proved = false },
	} {
		bad := good
		change(&bad)
		if err := check(bad, w, "s"); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

type ledger map[string]string

func (l ledger) Lookup(_ context.Context, item string) (string, bool, error) {
	mark, ok := l[item]
	return mark, ok, nil
}

func (l ledger) Commit(_ context.Context, item, mark string) error {
	l[item] = mark
	return nil
}

// What is proved is not moved again, unless another state of the source, another
// server or other databases are asked for. Whoever moves wants the password, which
// is not there.
func TestMoveAgain(t *testing.T) {
	order := func(host, source, server string) *unstructured.Unstructured {
		return manifest("transfer", OrderFlag, `{"host":"`+host+`"}`, SourceFlag, source, "--", server)
	}
	m := &Mover{
		Ledger: ledger{}, Runner: &copyjob.Runner{Waiter: &await.Waiter{Cluster: &cluster.Cluster{}}}, Environment: func(string) string { return "" },
		Plan: handoff.Plan{Workloads: []handoff.Workload{{Name: "database", External: &handoff.External{PasswordEnv: "UNSET"}}}},
	}
	first := order("old.example", "db=sha256:1", "mariadbd")
	sum, err := orderOf(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.keep(t.Context(), "database", state{Source: "db=sha256:1", Order: sum, Receipt: &handoff.TransferReceipt{Proved: true}}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		job   *unstructured.Unstructured
		moves bool
	}{
		"the same":        {first, false},
		"another server":  {order("new.example", "db=sha256:1", "mariadbd"), true},
		"another state":   {order("old.example", "db=sha256:2", "mariadbd"), true},
		"another command": {order("old.example", "db=sha256:1", "mysqld"), true},
	} {
		receipt, err := m.Move(t.Context(), test.job, "")
		var blocked *pipeline.Blocked
		if errors.As(err, &blocked) != test.moves || receipt.Proved == test.moves || test.moves != (err != nil) {
			t.Errorf("%s: %v, proved=%v", name, err, receipt.Proved)
		}
	}
}

// A password comes from a variable or from a file that nobody else reads; where it
// is not there, the message says where it is wanted, and never shows one.
func TestPassword(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	m := &Mover{Environment: func(name string) string { return map[string]string{"SET": "from the variable"}[name] }}
	for _, test := range []struct {
		name     string
		external handoff.External
		want     string
		blocked  bool
	}{
		{"variable", handoff.External{PasswordEnv: "SET"}, "from the variable", false},
		{"no variable", handoff.External{PasswordEnv: "UNSET"}, "", true},
		{"file", handoff.External{PasswordFile: file("good", "from the file\r\n", 0o600)}, "from the file", false},
		{"others read it", handoff.External{PasswordFile: file("open", "hidden", 0o644)}, "", true},
		{"no file", handoff.External{PasswordFile: filepath.Join(dir, "none")}, "", true},
		{"a directory", handoff.External{PasswordFile: dir}, "", true},
		{"a long file", handoff.External{PasswordFile: file("long", strings.Repeat("x", 2*maxPassword), 0o600)}, "", true},
	} {
		got, err := m.Password(handoff.Workload{Name: "database", External: &test.external})
		var blocked *pipeline.Blocked
		if got != test.want || errors.As(err, &blocked) != test.blocked || test.blocked != (err != nil) {
			t.Errorf("%s: %.20q, %v", test.name, got, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "database") || strings.Contains(err.Error(), "hidden")) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestWorkload(t *testing.T) {
	m := &Mover{Plan: handoff.Plan{Workloads: []handoff.Workload{{Name: "site"}, {Name: "database", External: &handoff.External{Host: "db"}}}}}
	if w, err := m.workload(manifest()); err != nil || w.External.Host != "db" {
		t.Errorf("%+v, %v", w, err)
	}
	m.Plan.Workloads[1].External = nil
	if _, err := m.workload(manifest()); err == nil {
		t.Error("a workload whose data are in the cluster is moved")
	}
}

// The certificates by which a server is known are looked at before anything is sent.
func TestAuthorities(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"none": "", "key": "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n", "long": strings.Repeat("x", maxAuthorities+1)} {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var blocked *pipeline.Blocked
		if _, err := authorities(name); !errors.As(err, &blocked) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is taken: %v", name, err)
		}
	}
	var blocked *pipeline.Blocked
	if _, err := authorities(filepath.Join(dir, "absent")); !errors.As(err, &blocked) {
		t.Errorf("a file that is not there: %v", err)
	}
	good := outside.Stranger(t)
	want, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := authorities(good); err != nil || got != string(want) {
		t.Errorf("%q, %v", got, err)
	}
}
