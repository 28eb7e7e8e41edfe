package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Remove deletes the object of that name if it has that UID, with what it owns.
// It does not wait for the end. That it is gone, or that another object has the
// name now, is no error.
func (c *Cluster) Remove(ctx context.Context, ref Ref, uid types.UID) error {
	api, err := c.resource(ref)
	if err != nil {
		return err
	}
	propagation := metav1.DeletePropagationBackground
	if slices.Contains([]string{"StatefulSet", "Deployment", "Job", "CronJob"}, ref.Kind) {
		// Then it is gone when its Pods are.
		propagation = metav1.DeletePropagationForeground
	}
	err = c.retry(ctx, func() error {
		return api.Delete(ctx, ref.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(uid)), PropagationPolicy: &propagation})
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", ref, err)
	}
	return nil
}

// Gone waits until there is no object of that name with that UID. When it stays,
// the error says what it waits for.
func (c *Cluster) Gone(ctx context.Context, ref Ref, uid types.UID, patience time.Duration) error {
	const every = 300 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for waited := time.Duration(0); ; waited += every {
		u, err := c.Live(ctx, ref)
		if err != nil {
			return err
		}
		if u == nil || u.GetUID() != uid {
			return nil
		}
		if waited >= patience {
			return &Departing{Ref: ref, Finalizers: u.GetFinalizers()}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
