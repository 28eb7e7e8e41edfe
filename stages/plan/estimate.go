package plan

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/claim"
)

// What a forecast is made from. The rates are those of copying a volume and
// reading it back on one machine with two cores and a local disk; a network or
// a slower disk takes longer in proportion.
const (
	bytesPerSecond = 150 << 20
	filesPerSecond = 3000
	// imageRatio and seedRatio are what compression leaves of a userland and of
	// mixed data.
	imageRatio = 0.45
	seedRatio  = 0.7
)

// estimate forecasts time and disk.
func (p *planner) estimate(context.Context) error {
	e := &p.plan.Estimate
	for _, c := range p.split.Balance.Classes {
		switch c.Class {
		case claim.Image:
			e.ImageBytes = int64(float64(c.Bytes) * imageRatio)
		case claim.Object:
			e.ObjectBytes = c.Bytes
		}
	}
	var bytes, files int64
	for _, v := range p.plan.Volumes {
		bytes, files = bytes+v.Bytes, files+v.Files
	}
	e.SeedBytes = int64(float64(bytes) * seedRatio)
	e.CopySeconds = bytes/bytesPerSecond + files/filesPerSecond + 1
	// Images, objects and seeds are stored once, and a rehearsal fills the volumes.
	e.Workspace = e.ImageBytes + e.ObjectBytes + e.SeedBytes + bytes
	e.Basis = fmt.Sprintf("a copy that is read back at %s a second and %d files a second; images compress to %.0f %%, seeds to %.0f %%; the workspace holds images, seeds, objects and a rehearsal's volumes",
		bytesize.Text(bytesPerSecond), filesPerSecond, imageRatio*100, seedRatio*100)
	return nil
}
