package receipts

import (
	"fmt"

	"github.com/statelift/statelift/pipeline/handoff"
)

// DifferError says that a copy is not equal to what it was made from.
type DifferError struct {
	Receipt handoff.Receipt
}

func (e *DifferError) Error() string {
	r := e.Receipt
	first := ""
	if len(r.Differences) > 0 {
		first = fmt.Sprintf("; the first is %s: %s (%s at the source, %s in the copy)",
			r.Differences[0].Path, r.Differences[0].What, r.Differences[0].Source, r.Differences[0].Copy)
	}
	return fmt.Sprintf("the copy of volume %s differs in %d ways%s", r.Volume, r.DifferenceCount, first)
}
