package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// external looks at a workload whose databases live outside the cluster: its
// receipt, and whether its Service leads there. What is in that server now is for
// those who have its credentials.
func (r *run) external(ctx context.Context, c *cluster.Cluster, w handoff.Workload) (string, error) {
	// The newest: a cutover moves them again.
	file := r.Workspace.Path(workspace.Receipts, receipts.Transfer(w.Name))
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("its databases were not moved to %s", w.External.Host)
	}
	if err != nil {
		return "", err
	}
	var receipt handoff.TransferReceipt
	switch err := json.Unmarshal(data, &receipt); {
	case err != nil:
		return "", fmt.Errorf("%s: %w", file, err)
	case receipt.Workload != w.Name:
		return "", fmt.Errorf("%s is of %s", file, receipt.Workload)
	case !receipt.Proved:
		return "", errors.New(strings.Join(receipt.Differences, "; "))
	}
	name := r.made.Plan.ObjectName(w.Name)
	service, err := c.Client.CoreV1().Services(c.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("the Service %s: %w", name, err)
	}
	if at := service.Spec.ExternalName; at != "" && at != w.External.Host || len(service.Spec.Selector) > 0 {
		return "", fmt.Errorf("the Service %s does not lead to %s", name, w.External.Host)
	}
	tables, rows := 0, int64(0)
	for _, d := range receipt.Databases {
		tables += len(d.Tables)
		for _, t := range d.Tables {
			rows += t.Rows
		}
	}
	return fmt.Sprintf("%d databases at %s: %d tables with %d rows were compared when they were moved, all equal", len(receipt.Databases), receipt.Server, tables, rows), nil
}
