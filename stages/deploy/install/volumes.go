package install

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/deploy"
)

// volume is one volume on its way.
type volume struct {
	handoff.Volume
	seed  handoff.Seed
	claim *unstructured.Unstructured
	job   *unstructured.Unstructured // nil for one that starts empty
	// shards is the Job before it, of a large volume when that was asked for.
	shards *unstructured.Unstructured
	state  copyjob.Filling
	// lineage is opened when it is needed first.
	lineage *lineage.Lineage
	// lacking says what of the source could not be written there.
	lacking []string
}

// volumes makes the claims, has every one with a seed filled and proved, and
// returns the receipts in the order of the plan. Workloads that use a volume
// which is filled anew are taken down before.
func (r *run) volumes(ctx context.Context) ([]handoff.ReceiptFile, error) {
	list, err := r.pair()
	if err != nil {
		return nil, err
	}
	var fill []*volume
	for _, v := range list {
		needed, err := r.judge(ctx, v)
		if err != nil {
			return nil, err
		}
		if needed {
			fill = append(fill, v)
		}
	}
	if len(fill) > 0 {
		if err := r.Workspace.Overwrites(); err != nil {
			return nil, err
		}
	}
	if err := r.takeDown(ctx, fill); err != nil {
		return nil, err
	}
	for _, v := range list {
		if err := r.makeClaim(ctx, v); err != nil {
			return nil, err
		}
	}
	if err := r.applyAll(ctx, r.otherClaims(list)); err != nil {
		return nil, err
	}
	if err := r.fill(ctx, fill); err != nil {
		return nil, err
	}
	if err := r.update(ctx, list); err != nil {
		return nil, err
	}
	return r.finish(ctx, list)
}

// pair finds claim and Job of each volume among the manifests.
func (r *run) pair() ([]*volume, error) {
	claims := map[string]*unstructured.Unstructured{}
	jobs, shards := map[string]*unstructured.Unstructured{}, map[string]*unstructured.Unstructured{}
	for _, u := range r.objects.claims {
		claims[u.GetName()] = u
	}
	for _, u := range r.objects.jobs {
		if mode, _, _ := unstructured.NestedString(u.Object, "spec", "completionMode"); mode == string(batchv1.IndexedCompletion) {
			shards[claimOf(u)] = u
			continue
		}
		jobs[claimOf(u)] = u
	}
	var out []*volume
	for _, v := range r.plan.Volumes {
		name := r.plan.ObjectName(v.Name)
		it := &volume{Volume: v, seed: r.seeds[v.Name], claim: claims[name]}
		if it.claim == nil {
			return nil, fmt.Errorf("volume %s has no claim among the manifests: run the stage manifests again", v.Name)
		}
		if v.Seed {
			it.shards = shards[name]
			if it.job = jobs[name]; it.job == nil || it.seed.Digest == "" {
				return nil, fmt.Errorf("volume %s has no copy Job among the manifests: run the stages seed and manifests again", v.Name)
			}
		}
		out = append(out, it)
	}
	return out, nil
}

// otherClaims are those of network shares.
func (r *run) otherClaims(list []*volume) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, u := range r.objects.claims {
		if !slices.ContainsFunc(list, func(v *volume) bool { return v.claim == u }) {
			out = append(out, u)
		}
	}
	return out
}

// claimOf is the first claim of a Job's Pods: of a copy Job the one that it
// fills. Those after it only say where the Pod has to run.
func claimOf(u *unstructured.Unstructured) string {
	for _, name := range cluster.Claims(u) {
		return name
	}
	return ""
}

// judge tells whether a volume must be filled. The claim says it by its UID, not
// by its name: one that was deleted and made again is empty.
func (r *run) judge(ctx context.Context, v *volume) (needed bool, err error) {
	if v.job == nil {
		return false, nil
	}
	if v.state, err = r.fillings().Lookup(ctx, v.Name); err != nil {
		return false, err
	}
	live, err := r.cluster.Live(ctx, cluster.RefOf(v.claim))
	if err != nil {
		return false, err
	}
	switch {
	case live == nil, live.GetDeletionTimestamp() != nil, live.GetUID() != v.state.Claim:
		return true, nil
	case v.state.Seed == v.seed.Digest:
		return !v.state.Proved(), nil
	case v.state.Served:
		return false, &pipeline.Blocked{Question: fmt.Sprintf(
			"volume %s in %s was filled from seed %s, and its application has been started since; the source has other content by now (seed %s). "+
				"Choose: keep what is there (run with the source as it was), or give up what the application has written since: statelift clean --volumes, then run again",
			v.Name, r.cluster, short(v.state.Seed), short(v.seed.Digest))}
	}
	return true, r.replaceClaim(ctx, v, live.GetUID())
}

func short(digest string) string {
	const algorithm, digits = len("sha256:"), 12
	return digest[:min(len(digest), algorithm+digits)]
}

// replaceClaim removes a claim that was filled, at least in part, from another
// seed and that no application has seen yet.
func (r *run) replaceClaim(ctx context.Context, v *volume, uid types.UID) error {
	if err := r.Workspace.Overwrites(); err != nil {
		return err
	}
	r.Log.Info("the claim is made anew: nothing but an unfinished or older copy is on it", "volume", v.Name)
	if err := r.removeUsers(ctx, v.claim.GetName()); err != nil {
		return err
	}
	ref := cluster.RefOf(v.claim)
	if err := r.cluster.Remove(ctx, ref, uid); err != nil {
		return err
	}
	return r.cluster.Gone(ctx, ref, uid, r.options.Patience)
}

// makeClaim applies the claim, after one of that name that is being deleted is
// gone, and notes a new one in the ledger before anything is written to it.
func (r *run) makeClaim(ctx context.Context, v *volume) error {
	ref := cluster.RefOf(v.claim)
	live, err := r.cluster.Live(ctx, ref)
	if err != nil {
		return err
	}
	if live != nil && live.GetDeletionTimestamp() != nil {
		r.Log.Info("the claim is being deleted; waiting for its end", "volume", v.Name)
		if err := r.removeUsers(ctx, ref.Name); err != nil {
			return err
		}
		if err := r.cluster.Gone(ctx, ref, live.GetUID(), r.options.Patience); err != nil {
			return fmt.Errorf("%w: a Pod still uses it; kubectl -n %s describe pvc %s names it", err, r.cluster.Namespace, ref.Name)
		}
	}
	done, err := r.owner.Apply(ctx, v.claim)
	if unchangeable(err) && live != nil && v.job != nil && !v.state.Served {
		// It was made too small, or of another class, and nobody has used it yet.
		if err := r.replaceClaim(ctx, v, live.GetUID()); err != nil {
			return err
		}
		done, err = r.owner.Apply(ctx, v.claim)
	}
	if err != nil || v.job == nil || done.UID == v.state.Claim && v.state.Seed == v.seed.Digest {
		return err
	}
	v.state = copyjob.Filling{Claim: done.UID, Seed: v.seed.Digest}
	return r.keep(ctx, v)
}

// unchangeable reports whether a claim cannot become what it should be: all of it
// but its size is immutable, and that may be, too.
func unchangeable(err error) bool { return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) }

// fill has the volumes filled, several at once.
func (r *run) fill(ctx context.Context, list []*volume) error {
	if len(list) == 0 {
		return nil
	}
	if r.upload.Carrier == "" || r.upload.Copier == "" {
		return &pipeline.Blocked{Question: "the cluster reads the seeds from a registry or a bucket, and none was given", Where: "--registry, --store"}
	}
	if err := r.jobs.GiveCredentials(ctx, r.plan, r.upload.Seeds, r.options.Environment); err != nil {
		return err
	}
	var names []string
	bytes := map[string]int64{}
	for _, v := range list {
		names = append(names, v.Name)
		bytes[v.Name] = v.seed.Bytes
	}
	r.bar = copyjob.NewBar(r.Progress, bytes)
	defer r.bar.End()
	return copyjob.Each(r.Log, r.options.Parallel, names, func(i int) error {
		r.bar.Begin(names[i])
		defer r.bar.Over(names[i])
		return r.copy(ctx, list[i])
	})
}

// finish writes the receipts, and says from now on that applications write to
// the volumes.
func (r *run) finish(ctx context.Context, list []*volume) ([]handoff.ReceiptFile, error) {
	out := []handoff.ReceiptFile{}
	var differ []error
	for _, v := range list {
		if v.job == nil {
			continue
		}
		file, err := r.writeReceipt(ctx, v)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
		r.lacking = append(r.lacking, v.lacking...)
		if !v.state.Proved() {
			differ = append(differ, &deploy.DifferError{Receipt: *v.state.Receipt})
		}
	}
	if err := receipts.Prune(r.Workspace.Path(workspace.Receipts), out); err != nil {
		return nil, err
	}
	if len(differ) > 0 {
		return nil, join(differ)
	}
	for _, v := range list {
		if v.job == nil || v.state.Served || r.held {
			continue
		}
		v.state.Served = true
		if err := r.keep(ctx, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}
