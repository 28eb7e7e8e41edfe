package copyjob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Container is the name of the container of a copy (see the stage manifests).
const Container = "copy"

// The lines of a copy's log that are meant for this program.
const (
	receiptLine  = "receipt: "
	progressLine = "progress: "
)

// collect reads the receipt from the log of the Pod that made the copy, and
// compares it with what the Pod's termination message says and with what was asked
// for. It asks the cluster itself: what the watch has of the Pods may lag behind
// what it has of the Job.
func (r *Runner) collect(ctx context.Context, j Job, uid types.UID) (handoff.Receipt, error) {
	pods, err := r.Cluster.Pods(ctx, map[string]string{batchv1.ControllerUidLabel: string(uid)})
	if err != nil {
		return handoff.Receipt{}, err
	}
	// The last one that ended.
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	for i := range pods {
		short, ok := lastWordsOf(&pods[i])
		if !ok {
			continue
		}
		receipt, err := r.read(ctx, pods[i].Name)
		if apierrors.IsNotFound(err) {
			break // removed since
		}
		if err == nil {
			err = short.check(receipt, j)
		}
		if err == nil && j.Accept != nil {
			err = j.Accept(ctx, receipt)
		}
		return receipt, err
	}
	return handoff.Receipt{}, errLost{fmt.Sprintf("the Pod of Job %s is gone, and the receipt with it", j.Object.GetName())}
}

// lastWords are what a copy writes as its termination message.
type lastWords struct {
	Volume      string `json:"volume"`
	Seed        string `json:"seed"`
	CopyTree    string `json:"copyTree"`
	Proved      bool   `json:"proved"`
	Differences int64  `json:"differences"`
}

// lastWordsOf is the termination message of a copy that came to its end; with
// another end it is the reason, and no receipt.
func lastWordsOf(p *corev1.Pod) (s lastWords, ok bool) {
	for _, c := range p.Status.ContainerStatuses {
		if c.Name != Container || c.State.Terminated == nil {
			continue
		}
		err := json.Unmarshal([]byte(c.State.Terminated.Message), &s)
		return s, err == nil && s.Seed != "" && s.CopyTree != ""
	}
	return s, false
}

// read finds the receipt in the log of a Pod.
func (r *Runner) read(ctx context.Context, pod string) (receipt handoff.Receipt, err error) {
	found := ""
	err = r.Cluster.Lines(ctx, pod, Container, false, func(line string) {
		if text, ok := strings.CutPrefix(line, receiptLine); ok {
			found = text
		}
	})
	if err != nil {
		return receipt, err
	}
	if found == "" {
		return receipt, errLost{fmt.Sprintf("the log of Pod %s holds no receipt", pod)}
	}
	if err := json.Unmarshal([]byte(found), &receipt); err != nil {
		return receipt, fmt.Errorf("the receipt in the log of Pod %s: %w", pod, err)
	}
	return receipt, nil
}

// check takes nobody's word: what a Pod says of itself must agree in both places,
// and be about this volume, this seed and these deltas.
func (s lastWords) check(receipt handoff.Receipt, j Job) error {
	switch {
	case receipt.Seed != s.Seed, receipt.CopyTree != s.CopyTree, receipt.Proved != s.Proved, receipt.DifferenceCount != s.Differences:
		return errors.New("the receipt in the log is not the one of the termination message")
	case receipt.Volume != j.Volume:
		return fmt.Errorf("the receipt is of volume %s", receipt.Volume)
	case receipt.Seed != j.Seed:
		return fmt.Errorf("the receipt is of seed %s, not of %s", receipt.Seed, j.Seed)
	case !slices.Equal(receipt.Deltas, j.Deltas):
		return fmt.Errorf("the receipt is of the deltas %v, not of %v", receipt.Deltas, j.Deltas)
	case receipt.Proved && (receipt.DifferenceCount > 0 || receipt.CopyTree != receipt.SourceTree):
		return errors.New("the receipt contradicts itself: it is called proved and names differences")
	}
	return nil
}
