package cluster

import (
	"context"
	"errors"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// attempts is how often an API server is asked that does not answer; with the
// pauses between, a quarter of a minute.
const attempts = 7

// retry asks again when the answer got lost or the server has no time: every
// request here can be made twice.
func (c *Cluster) retry(ctx context.Context, ask func() error) error {
	pause := 250 * time.Millisecond
	for n := 1; ; n++ {
		err := ask()
		if err == nil || n == attempts || !Passing(err) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
		pause *= 2
	}
}

// Passing reports whether a fault may be gone the next time.
func Passing(err error) bool {
	var network net.Error
	switch {
	case apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsTooManyRequests(err), apierrors.IsInternalError(err), apierrors.IsServiceUnavailable(err):
		return true
	case utilnet.IsConnectionRefused(err), utilnet.IsConnectionReset(err), utilnet.IsProbableEOF(err):
		return true
	}
	return errors.As(err, &network) && network.Timeout()
}
