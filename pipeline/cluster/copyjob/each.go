package copyjob

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Each has Jobs run for the volumes of these names, at most so many at once; run is
// given the index of its volume. A fault of one is told when it comes, unless
// somebody interrupted it, and lets the others come to their end: what they copied
// is not copied again. After [NoImage],
// which would meet the others as well, none begins. The error holds the faults of
// all, in the order of the names.
func Each(log *slog.Logger, most int, volumes []string, run func(i int) error) error {
	errs := make([]error, len(volumes))
	var group errgroup.Group
	var going atomic.Int64
	var common atomic.Bool
	going.Store(int64(len(volumes)))
	group.SetLimit(most)
	for i, name := range volumes {
		group.Go(func() error {
			defer going.Add(-1)
			if common.Load() {
				return nil
			}
			err := run(i)
			if err == nil {
				return nil
			}
			if errors.As(err, new(*NoImage)) {
				common.Store(true)
			}
			errs[i] = fmt.Errorf("volume %s: %w", name, err)
			if left := going.Load() - 1; left > 0 && !errors.Is(err, context.Canceled) {
				log.Error("a volume failed; the others come to their end before the run does", "volume", name, "others", left, "because", err)
			}
			return nil
		})
	}
	return errors.Join(group.Wait(), errors.Join(errs...))
}
