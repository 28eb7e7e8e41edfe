package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
)

// inCluster is the sample with a cluster that has something of everything.
func inCluster() *Document {
	doc := sample()
	doc.Target = &handoff.Target{
		Context: "prod", Namespace: "shop", Server: "https://10.0.0.1:6443", Version: "v1.36.3", NamespaceExists: true, PodSecurity: "baseline",
		StorageClasses: []handoff.StorageClass{
			{Name: "block", Provisioner: "rbd.csi.ceph.com", Driver: "Ceph RBD", Known: true, Default: true, AccessModes: []string{"ReadWriteOnce"}, Fact: "https://docs.ceph.com/en/latest/csi/rbd/", Binding: "Immediate", Reclaim: "Delete", Expands: true, Notes: []string{"a note | with a bar"}},
			{Name: "odd", Provisioner: "example.org/<odd>", Binding: "WaitForFirstConsumer", Reclaim: "Retain"},
			{Name: "smb", Provisioner: "smb.csi.k8s.io", Driver: "SMB", Known: true, AccessModes: []string{"ReadWriteMany"}, Fact: "https://example.org/smb", NoOwners: "one owner", Binding: "Immediate", Reclaim: "Delete"},
		},
		Quotas:   []handoff.Quota{{Name: "q", Resource: "requests.storage", Hard: 10 << 30, Used: 3 << 30}, {Name: "q", Resource: "cpu", Hard: 1500}, {Name: "low", Resource: "pods", Hard: 2000, Scopes: []string{"NotTerminating"}}},
		Limits:   []handoff.Limit{{Name: "l", Type: "Container", Resource: "memory", Max: 1 << 30, Default: 256 << 20, Request: 64 << 20}},
		Existing: []handoff.Object{{Kind: "Secret", Name: "x"}},
		Missing: []handoff.Permission{
			{Verb: "create", Group: "batch", Resource: "jobs", Namespace: "shop", For: "copies"}, {Verb: "list", Resource: "nodes", For: "seeing nodes", Optional: true},
		},
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		doc.Target.Nodes = append(doc.Target.Nodes, handoff.Node{Name: name, Arch: "amd64", OS: "linux", CPU: 4000, Memory: 8 << 30, Ready: true})
	}
	doc.Target.Nodes = append(doc.Target.Nodes, handoff.Node{Name: "gpu", Arch: "arm64", OS: "linux", CPU: 1500, Memory: 8 << 30, Ready: true, Taints: []string{"gpu=yes:NoSchedule"}},
		handoff.Node{Name: "off", Arch: "amd64", OS: "linux", CPU: 4000, Memory: 8 << 30})
	doc.Plan.Blocks = []handoff.Block{{About: "volume", Text: "volume `x` <b>cannot</b>", Choices: []string{"volumes: [{path: /x, storageClass: files}]", "wait"}}}
	return doc
}

func TestClusterGolden(t *testing.T) {
	for name, got := range writtenOf(t, inCluster()) {
		golden := filepath.Join("testdata", "cluster", name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(golden), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The report with a cluster keeps the promises of the other: it loads nothing,
// and Markdown tables keep their shape.
func TestClusterReportIsWellFormed(t *testing.T) {
	files := writtenOf(t, inCluster())
	loadsNothing(t, files[HTML])
	tablesKeepTheirShape(t, files[Markdown])
	for _, want := range []string{"docs.ceph.com/en/latest/csi/rbd/", "example.org/&lt;odd&gt;", "not known", "The plan cannot go there as it is", "a, b, c, …", "gpu=yes:NoSchedule", "list <code>nodes</code>"} {
		if !strings.Contains(files[HTML], want) {
			t.Errorf("the HTML does not hold %q", want)
		}
	}
}

// Without a cluster the report says nothing of one.
func TestRehearsalReport(t *testing.T) {
	for name, text := range writtenOf(t, sample()) {
		if strings.Contains(text, "#cluster") || strings.Contains(text, `id="cluster"`) || strings.Contains(text, `"target"`) || strings.Contains(text, "## The cluster") {
			t.Errorf("%s of a rehearsal speaks of a cluster", name)
		}
	}
}
