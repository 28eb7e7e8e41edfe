package delta

import (
	"context"
	"math"

	"github.com/statelift/statelift/pipeline/ctime"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// flush flushes the file systems of all files that may be read, before any is, and
// notes which ctimes can be trusted from then on. Where one cannot be flushed, none
// is: all that is read in this round is read in the next one, too.
func (m *maker) flush(ctx context.Context) error {
	mark, err := ctime.Now()
	if err != nil {
		return err
	}
	m.trusted = math.MaxInt64
	at := opener{source: m.Source}
	defer at.close()
	for _, p := range m.devices {
		since, err := m.flushOf(ctx, &at, mark, p)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			since = math.MinInt64
		}
		m.trusted = min(m.trusted, since)
	}
	return nil
}

// flushOf flushes the file system that a file is on.
func (m *maker) flushOf(ctx context.Context, at *opener, mark *ctime.Mark, p hostpath.Path) (since int64, err error) {
	dir, err := at.enter(m.below(p))
	if err != nil {
		return 0, err
	}
	f, err := rootfs.OpenRegularAt(dir, m.below(p))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return mark.Flush(ctx, f)
}
