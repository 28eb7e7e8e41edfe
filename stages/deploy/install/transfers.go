package install

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/transferjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// transfers moves the databases of the workloads whose data live outside the
// cluster, one after the other, and keeps the receipts. A held lift has them moved
// when the source is quiesced.
func (r *run) transfers(ctx context.Context) ([]handoff.ReceiptFile, error) {
	if len(r.objects.transfers) == 0 || r.held {
		return nil, nil
	}
	mover := &transferjob.Mover{Runner: r.jobs, Ledger: r.Ledger, Plan: r.plan, Environment: r.options.Environment}
	var out []handoff.ReceiptFile
	var faults []error
	for _, job := range r.objects.transfers {
		if err := r.unserve(ctx, transferjob.Of(job)); err != nil {
			return nil, err
		}
		receipt, err := mover.Move(ctx, job, "")
		if err != nil {
			return nil, err
		}
		file, err := receipts.WriteTransfer(r.Workspace.Path(workspace.Receipts), receipt)
		if err != nil {
			return nil, err
		}
		out = append(out, file)
		if !receipt.Proved {
			faults = append(faults, fmt.Errorf("what is at %s is not what %s has:\n  %s", receipt.Server, receipt.Workload, strings.Join(receipt.Differences, "\n  ")))
		}
	}
	return out, errors.Join(faults...)
}

// unserve takes away what ran the database in the cluster before the user wanted
// it outside: two servers never have one volume.
func (r *run) unserve(ctx context.Context, workload string) error {
	ref := cluster.Ref{APIVersion: "apps/v1", Kind: string(handoff.StatefulSet), Namespace: r.cluster.Namespace, Name: r.plan.ObjectName(workload)}
	live, err := r.cluster.Live(ctx, ref)
	if err != nil {
		return cluster.Explain(r.cluster.Context, err)
	}
	if live == nil {
		return nil
	}
	n, _, err := unstructured.NestedInt64(live.Object, "spec", "replicas")
	if err != nil || n == 0 {
		return err
	}
	return &pipeline.Blocked{Question: fmt.Sprintf(
		"%s runs in the cluster, and its database is to live outside: what was written to it here would be lost. Choose: keep it in the cluster, or stop it (kubectl -n %s scale --replicas=0 statefulset/%s), and run again",
		workload, r.cluster.Namespace, ref.Name)}
}
