package stages

import (
	"cmp"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/stages/sync"
)

// Sync makes what brings the volumes of a lift up to date. With checksum it reads
// every file of the source, also those that look as before.
func Sync(d Deps, checksum bool) *sync.Stage {
	o := sync.Options{
		Context: d.Context, Hold: d.Hold, Checksum: checksum,
		Talk: carrier.Options{Stall: d.Stall, Attempts: d.Attempts}, Patience: d.Patience,
	}
	if o.Context != "" {
		o.Namespace = cmp.Or(d.Namespace, d.Decisions.Namespace)
	}
	return sync.New(o)
}
