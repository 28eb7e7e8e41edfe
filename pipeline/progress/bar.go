package progress

import (
	"github.com/schollz/progressbar/v3"
)

// bar is the display on a terminal. The library's own errors (more than its
// maximum, a total of nothing) are kept from happening, and none is passed on.
type bar struct {
	bar   *progressbar.ProgressBar
	total int64
}

func newBar(out *guarded, m meter) *bar {
	total := m.total
	if total <= 0 {
		total = -1 // a spinner
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(out.w),
		progressbar.OptionSetDescription(m.phase),
		progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionShowCount(),
	}
	if m.unit == "bytes" {
		options = append(options, progressbar.OptionShowBytes(true))
	} else {
		options = append(options, progressbar.OptionSetItsString(m.unit), progressbar.OptionShowIts())
	}
	return &bar{bar: progressbar.NewOptions64(total, options...), total: total}
}

func (b *bar) show(done int64) {
	if b.total > 0 {
		// At its maximum the bar would end itself.
		done = min(done, b.total-1)
	}
	_ = b.bar.Set64(max(done, 0))
}

func (b *bar) clear() { _ = b.bar.Clear() }

func (b *bar) end(int64) {
	_ = b.bar.Clear()
	_ = b.bar.Exit()
}
