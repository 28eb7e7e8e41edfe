package verify

import (
	"fmt"

	"github.com/statelift/statelift/pipeline/handoff"
)

const aDatabase = "database"

// backup says how a database in the seeds was taken while it ran, and makes sure that
// every path of the scan is accounted for.
func (r *run) backup(b handoff.Backup) {
	a := b.Account
	var err error
	if sum := a.Replaced + a.Kept + a.Left + a.Gone; sum != a.Scanned {
		err = fmt.Errorf("%d paths of the scan, and %d of them accounted for", a.Scanned, sum)
	}
	r.check(aDatabase, b.Path.String(), err, "%s; %s. Of %d paths of the scan %d are in the copy, %d were taken from the live directory, %d are the server's own and left out, %d are gone; %d are new",
		b.Text(), b.Why, a.Scanned, a.Replaced, a.Kept, a.Left, a.Gone, a.Made)
}
