package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/fetch"
	"github.com/statelift/statelift/pipeline/handoff"
)

// aFetch is a check of what the Pods of a workload fetched from the object store.
const aFetch = "fetch"

// fetched asks each Pod of a workload with objects what its init containers
// brought: they compare every file with the index, so the index that they went by
// tells which content the Pod has.
func (r *run) fetched(ctx context.Context, c *cluster.Cluster, w handoff.Workload, pods []corev1.Pod) {
	var dirs []string
	for _, m := range w.Mounts {
		if m.Origin == handoff.FromObjects {
			dirs = append(dirs, m.Of)
		}
	}
	if len(dirs) == 0 {
		return
	}
	var faults []error
	var files, bytes int64
	for i := range pods {
		said, err := told(ctx, c, &pods[i])
		if err == nil {
			err = r.agrees(said, dirs)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("pod %s: %w", pods[i].Name, err))
			continue
		}
		files, bytes = 0, 0
		for _, s := range said {
			files += s.Files
			bytes += s.Bytes
		}
	}
	r.check(aFetch, w.Name, errors.Join(faults...), "each of %d Pods fetched %d files with %d bytes of %s, by the index %.12s…",
		len(pods), files, bytes, strings.Join(dirs, ", "), r.made.Objects.IndexSHA256)
}

// agrees compares what a Pod fetched with what it should have.
func (r *run) agrees(said []fetch.Fetched, dirs []string) error {
	for _, dir := range dirs {
		i := slices.IndexFunc(said, func(s fetch.Fetched) bool { return s.Path == dir })
		if i < 0 {
			return fmt.Errorf("its logs do not say that it fetched %s", dir)
		}
		if said[i].Index != r.made.Objects.IndexSHA256 {
			return fmt.Errorf("it fetched %s by the index %s, and the newest is %s: delete it, and a new one fetches again", dir, said[i].Index, r.made.Objects.IndexSHA256)
		}
	}
	return nil
}

// told is what the init containers of a Pod printed in the end (statelift fetch).
func told(ctx context.Context, c *cluster.Cluster, p *corev1.Pod) ([]fetch.Fetched, error) {
	var out []fetch.Fetched
	for _, box := range p.Spec.InitContainers {
		if !strings.HasPrefix(box.Name, "fetch-") {
			continue
		}
		var last string
		err := c.Lines(ctx, p.Name, box.Name, false, func(line string) {
			if text, ok := strings.CutPrefix(line, "fetched: "); ok {
				last = text
			}
		})
		if err != nil {
			return nil, fmt.Errorf("the log of %s: %w", box.Name, err)
		}
		if last == "" {
			continue
		}
		var f fetch.Fetched
		if err := json.Unmarshal([]byte(last), &f); err != nil {
			return nil, fmt.Errorf("the log of %s: %w", box.Name, err)
		}
		out = append(out, f)
	}
	return out, nil
}
