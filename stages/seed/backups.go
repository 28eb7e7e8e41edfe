package seed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hotbackup"
)

// Taker copies databases that run; [hotbackup.Taker] is one.
type Taker interface {
	Take(ctx context.Context, list []handoff.Database) ([]hotbackup.Copy, error)
	Remove(ctx context.Context) error
}

// takeBackups has the databases that run copied by their own means and lays the
// copies above the source. The caller removes them.
func (r *run) takeBackups(ctx context.Context, plan handoff.Plan) error {
	list, err := datastore.Running(ctx, r.root, plan.Databases)
	if err != nil || len(list) == 0 {
		return err
	}
	for _, d := range list {
		r.Log.Info("the database is copied by its own means while it runs", "path", d.Path, "by", d.Backup)
	}
	copies, err := r.taker.Take(ctx, list)
	if refused := (*hotbackup.Refusal)(nil); errors.As(err, &refused) {
		return &pipeline.Blocked{Question: refused.Error()}
	}
	if err != nil {
		return err
	}
	r.backups = hotbackup.NewOverlay(r.root, copies)
	if lost := r.backups.Homeless(plan.Volumes); len(lost) > 0 {
		return fmt.Errorf("the database has come to use %s since the scan, which no volume of the plan has: statelift run SOURCE scans it again", lost)
	}
	for _, c := range copies {
		if err := r.judge(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// judge looks at a copy, in the place of the live directory.
func (r *run) judge(ctx context.Context, c hotbackup.Copy) error {
	v, err := datastore.JudgeBackup(ctx, r.root, datastore.Engine(c.Database.Engine), c.Dirs[0].Copy)
	if err != nil {
		return err
	}
	if v.State != datastore.Clean && v.State != datastore.Recoverable {
		return fmt.Errorf("what %s made of %s is no copy: %s", c.Method.Tool, c.Database.Path, v.Text())
	}
	why := strings.ReplaceAll(v.Text(), string(c.Dirs[0].Copy), string(c.Database.Path))
	r.out.Backups = append(r.out.Backups, handoff.Backup{
		Volume: c.Database.Volume, Path: c.Database.Path, Engine: c.Database.Engine, Tool: c.Method.Tool, Began: c.Began, Ended: c.Ended, Why: why,
	})
	return nil
}

// how says what of a volume was copied by databases themselves.
func (r *run) how(v handoff.Volume) (out []string) {
	for _, c := range r.backups.Of(v.Path) {
		for _, b := range r.out.Backups {
			if b.Path == c.Database.Path {
				out = append(out, fmt.Sprintf("%s: %s", b.Path, b.Text()))
			}
		}
	}
	return out
}

// account completes the hand-off with what became of each path.
func (r *run) account() {
	if r.backups == nil {
		return
	}
	for i := range r.out.Backups {
		b := &r.out.Backups[i]
		b.Account = r.backups.Accounts[i]
		r.Log.Info("database", "path", b.Path, "taken", b.Text(), "replaced", b.Account.Replaced, "made", b.Account.Made, "kept", b.Account.Kept, "left out", b.Account.Left, "gone", b.Account.Gone)
	}
}
