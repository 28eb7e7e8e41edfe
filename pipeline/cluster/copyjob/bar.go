package copyjob

import (
	"sync"

	"github.com/statelift/statelift/pipeline"
)

// Bar is one bar for all volumes that are filled at once: each byte is written
// once and read back once. It is safe for concurrent use.
type Bar struct {
	progress pipeline.Progress
	mu       sync.Mutex
	volumes  map[string]*volumeProgress
}

// volumeProgress is how far one volume is.
type volumeProgress struct {
	bytes  int64
	shares map[string]int64 // written, by the index of a shard; "" without
	proved int64
	shown  int64
	own    func(done int64) // its own bar
	end    func()
}

// parted is a display that shows several things at once.
type parted interface {
	Part(name, unit string, total int64) (at func(done int64), end func())
}

// NewBar begins one, for volumes of so many bytes, by name.
func NewBar(p pipeline.Progress, bytes map[string]int64) *Bar {
	b := &Bar{progress: p, volumes: map[string]*volumeProgress{}}
	var sum int64
	for name, n := range bytes {
		b.volumes[name] = &volumeProgress{bytes: n, shares: map[string]int64{}}
		sum += 2 * n
	}
	p.Begin("volumes", "bytes", sum)
	return b
}

// Begin gives a volume a bar of its own, where the display can.
func (b *Bar) Begin(volume string) {
	d, ok := b.progress.(parted)
	if !ok {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	it := b.volumes[volume]
	it.own, it.end = d.Part(volume, "bytes", 2*it.bytes)
}

// Over takes the volume's own bar away, however its copy ended.
func (b *Bar) Over(volume string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.volumes[volume]; it.end != nil {
		it.end()
	}
}

// End closes it.
func (b *Bar) End() { b.progress.End() }

// At says how far a copy is. A Pod that starts again begins anew: the bar stays
// where it was until that is passed.
func (b *Bar) At(volume, share string, p Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v := b.volumes[volume]
	if p.Phase == "prove" {
		v.shares[""], v.proved = v.bytes, max(v.proved, p.Done)
	} else {
		v.shares[share] = max(v.shares[share], p.Done)
	}
	var written int64
	for _, n := range v.shares {
		written += n
	}
	now := min(written, v.bytes) + min(v.proved, v.bytes)
	if now > v.shown {
		b.progress.Add(now - v.shown)
		v.shown = now
		if v.own != nil {
			v.own(now)
		}
	}
}

// Done says that a volume is filled and proved.
func (b *Bar) Done(volume string) {
	b.At(volume, "", Progress{Phase: "prove", Done: b.volumes[volume].bytes})
}
