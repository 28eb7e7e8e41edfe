package cluster_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
)

// TestMade: what was begun is known after a kill, whether or not it was
// confirmed.
func TestMade(t *testing.T) {
	ledgers, err := pipeline.OpenLedgers(t.Context(), filepath.Join(t.TempDir(), "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ledgers.Close() })
	open := func() *cluster.Made {
		t.Helper()
		m, err := cluster.OpenMade(t.Context(), ledgers.Of("deploy"))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	thing := func(name, uid string) cluster.Thing {
		return cluster.Thing{Ref: cluster.Ref{APIVersion: "v1", Kind: "Secret", Namespace: "ns", Name: name}, Context: "here", UID: types.UID(uid)}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m := open()
	must(m.Begin(t.Context(), thing("a", "")))
	must(m.Begin(t.Context(), thing("b", "")))
	must(m.Confirm(t.Context(), thing("b", "1")))
	must(m.Begin(t.Context(), thing("b", ""))) // applied again: what is known stays
	elsewhere := thing("a", "9")
	elsewhere.Context = "there"
	must(m.Confirm(t.Context(), elsewhere))
	if diff := cmp.Diff([]cluster.Thing{thing("a", ""), thing("b", "1"), elsewhere}, open().All()); diff != "" {
		t.Errorf("after a kill (-want +got):\n%s", diff)
	}
	must(m.Confirm(t.Context(), thing("b", "2"))) // it was removed and made again
	must(m.Forget(t.Context(), thing("a", "")))
	if diff := cmp.Diff([]cluster.Thing{thing("b", "2"), elsewhere}, open().All()); diff != "" {
		t.Errorf("in the end (-want +got):\n%s", diff)
	}
	if got, ok := open().Find("there", elsewhere.Ref); !ok || got != elsewhere {
		t.Errorf("found %v, %v", got, ok)
	}
	if _, ok := open().Find("here", elsewhere.Ref); ok {
		t.Error("found in another cluster")
	}
}
