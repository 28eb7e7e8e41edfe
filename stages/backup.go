package stages

import (
	"context"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hotbackup"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/stages/admit"
	"github.com/statelift/statelift/stages/seed"
)

// askBackup asks the source whether a database can be copied while it runs.
func askBackup(d Deps) admit.Ask {
	return func(ctx context.Context, db handoff.Database) error {
		runner, err := quiesce.OnSource(d.OnSource)
		if err != nil {
			return err
		}
		_, err = hotbackup.Ask(ctx, runner, db, d.Profiles)
		return err
	}
}

// backupTaker copies databases that run, on the source.
func backupTaker(d Deps) func(*pipeline.Env) (seed.Taker, error) {
	return func(env *pipeline.Env) (seed.Taker, error) {
		runner, err := onSource(*env, d.OnSource)
		if err != nil {
			return nil, err
		}
		identity, err := env.Workspace.Identity()
		return &hotbackup.Taker{Runner: runner, Profiles: d.Profiles, Show: d.Show, Identity: identity}, err
	}
}
