//go:build e2e

package cluster_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/bedtest"
)

func configMap(ns, name, value string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name, "namespace": ns}, "data": map[string]any{"key": value},
	}}
}

func TestApply(t *testing.T) {
	bed := bedtest.Open(t)
	ns := bed.Namespace(t)
	c, err := cluster.Connect(cluster.Options{Context: bed.Context, Namespace: ns})
	if err != nil {
		t.Fatal(err)
	}
	const mine = "0123456789abcdef"
	apply := func(u *unstructured.Unstructured) cluster.Applied {
		t.Helper()
		got, err := c.Apply(t.Context(), u, mine)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := apply(configMap(ns, "a", "1"))
	if !first.Created || !first.Changed {
		t.Errorf("made: %+v", first)
	}
	if again := apply(configMap(ns, "a", "1")); again.Created || again.Changed || again.UID != first.UID {
		t.Errorf("applied again: %+v", again)
	}
	if d, err := c.Differs(t.Context(), configMap(ns, "a", "2"), mine); err != nil || !d.Changed || d.Created {
		t.Errorf("differs: %+v, %v", d, err)
	}
	if d, err := c.Differs(t.Context(), configMap(ns, "a", "1"), mine); err != nil || d.Changed {
		t.Errorf("equal: %+v, %v", d, err)
	}
	if got := bed.Run(t, "-n", ns, "get", "configmap", "a", "-o", "jsonpath={.data.key} {.metadata.labels.statelift\\.io/workspace}"); got != "1 "+mine {
		t.Errorf("kubectl says %q", got)
	}
	if changed := apply(configMap(ns, "a", "2")); changed.Created || !changed.Changed {
		t.Errorf("changed: %+v", changed)
	}

	t.Run("changed by others", func(t *testing.T) {
		bed.Run(t, "-n", ns, "patch", "configmap", "a", "-p", `{"data":{"key":"theirs"}}`)
		var conflict *cluster.Conflict
		if _, err := c.Apply(t.Context(), configMap(ns, "a", "3"), mine); !errors.As(err, &conflict) || !strings.Contains(err.Error(), ".data.key") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("of others", func(t *testing.T) {
		bed.Run(t, "-n", ns, "create", "configmap", "b")
		var taken *cluster.Taken
		if _, err := c.Apply(t.Context(), configMap(ns, "b", "1"), mine); !errors.As(err, &taken) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Apply(t.Context(), configMap(ns, "a", "2"), "another"); !errors.As(err, &taken) || !strings.Contains(err.Error(), mine) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("removed by its UID", func(t *testing.T) {
		ref := cluster.RefOf(configMap(ns, "a", ""))
		if err := c.Remove(t.Context(), ref, "00000000-0000-0000-0000-000000000000"); err != nil {
			t.Error(err)
		}
		if u, err := c.Live(t.Context(), ref); err != nil || u == nil {
			t.Fatalf("another object was removed: %v", err)
		}
		bed.Run(t, "-n", ns, "patch", "configmap", "a", "-p", `{"metadata":{"finalizers":["example.org/wait"]}}`)
		if err := c.Remove(t.Context(), ref, first.UID); err != nil {
			t.Error(err)
		}
		var departing *cluster.Departing
		if err := c.Gone(t.Context(), ref, first.UID, time.Second); !errors.As(err, &departing) || !strings.Contains(err.Error(), "example.org/wait") {
			t.Errorf("got %v", err)
		}
		if _, err := c.Apply(t.Context(), configMap(ns, "a", "2"), mine); !errors.As(err, &departing) {
			t.Errorf("got %v", err)
		}
		bed.Run(t, "-n", ns, "patch", "configmap", "a", "-p", `{"metadata":{"finalizers":null}}`)
		if err := c.Gone(t.Context(), ref, first.UID, time.Minute); err != nil {
			t.Error(err)
		}
	})
	t.Run("what became of it", func(t *testing.T) {
		made := apply(configMap(ns, "c", "1"))
		thing := cluster.Thing{Ref: cluster.RefOf(configMap(ns, "c", "")), Context: bed.Context, UID: made.UID}
		for _, tt := range []struct {
			name, workspace string
			thing           cluster.Thing
			want            cluster.State
		}{
			{"there", mine, thing, cluster.There},
			{"of another workspace", "another", thing, cluster.Foreign},
			{"another object", mine, cluster.Thing{Ref: thing.Ref, UID: "other"}, cluster.Foreign},
			{"not confirmed", mine, cluster.Thing{Ref: thing.Ref}, cluster.There},
			{"gone", mine, cluster.Thing{Ref: cluster.RefOf(configMap(ns, "d", ""))}, cluster.Gone},
		} {
			if got, err := c.Find(t.Context(), tt.thing, tt.workspace); err != nil || got.State != tt.want {
				t.Errorf("%s: %s, %v, want %s", tt.name, got.State, err, tt.want)
			}
		}
	})
	t.Run("who else is there", func(t *testing.T) {
		names, err := c.Occupants(t.Context(), ns)
		if err != nil || strings.Join(names, ", ") != "ConfigMap b, ConfigMap c" {
			t.Errorf("%v, %v", names, err)
		}
	})
}
