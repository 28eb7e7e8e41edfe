// Package await waits in a cluster for what was started there, and says what is
// in the way as soon as it shows: faults that stay end the waiting at once,
// others after a while, each told once.
package await

import (
	"context"
	"log/slog"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
)

// Patience is how long a fault that may pass by itself is waited for where nobody
// said how long.
const Patience = 3 * time.Minute

// Waiter waits in one namespace.
type Waiter struct {
	Cluster  *cluster.Cluster
	View     *cluster.View
	Log      *slog.Logger
	Progress pipeline.Progress
	// Logs is the directory that gets the logs of what failed.
	Logs string
	// Patience is how long a fault that may pass by itself is waited for.
	Patience time.Duration
	// Began is since when events count.
	Began time.Time
}

// Pause waits for a change, and a second at most: what stays as it is also means
// something after a while.
func (w *Waiter) Pause(ctx context.Context, changed <-chan struct{}) error {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
