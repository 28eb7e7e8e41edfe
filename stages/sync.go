package stages

import (
	"cmp"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/stages/objects"
	"github.com/statelift/statelift/stages/sync"
)

// Sync makes what brings the volumes and objects of a lift up to date. With checksum it reads
// every file of the source, also those that look as before.
func Sync(d Deps, checksum bool) *sync.Stage {
	o := sync.Options{
		Objects: objects.New(objects.Options{Store: d.Store, Hold: d.Hold}, d.openStore),
		Context: d.Context, Hold: d.Hold, Checksum: checksum,
		Talk: carrier.Options{Stall: d.Stall, Attempts: d.Attempts}, Patience: d.Patience,
	}
	if o.Context != "" {
		o.Namespace = cmp.Or(d.Namespace, d.Decisions.Namespace)
	}
	return sync.New(o)
}
