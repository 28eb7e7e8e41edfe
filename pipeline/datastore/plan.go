package datastore

import (
	"context"
	"fmt"
	"slices"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// Look judges the databases of a plan, with who uses them, and notes in each what
// was found.
func Look(ctx context.Context, root *rootfs.Root, list []handoff.Database) error {
	for i := range list {
		v, err := Judge(ctx, root, Engine(list[i].Engine), list[i].Path)
		if err == nil {
			err = v.Use(ctx, root)
		}
		if err != nil {
			return err
		}
		list[i].State, list[i].Why = string(v.State), v.Text()
	}
	return nil
}

// Running are the databases of which a copy would be none as they are now, and for
// which the user named no consistent way: those that their own means can copy while
// they run. Each says what was found.
func Running(ctx context.Context, root *rootfs.Root, list []handoff.Database) ([]handoff.Database, error) {
	list = slices.Clone(list)
	if err := Look(ctx, root, list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(d handoff.Database) bool { return State(d.State) == Clean || d.Consistent != "" }), nil
}

// Check is a database in the terms of a check: well when a copy of it is a copy.
func Check(d handoff.Database) handoff.Check {
	return handoff.Check{What: "database", Name: d.Path.String(), OK: State(d.State) == Clean, Detail: d.Why}
}

// About is what blocks of databases are about.
const About = "database"

// Blocks are the databases of which a copy would be none, with the choices. One
// for which the user named a consistent way is not among them.
func Blocks(list []handoff.Database) []handoff.Block {
	var out []handoff.Block
	for _, d := range list {
		if State(d.State) == Clean || d.Consistent != "" {
			continue
		}
		stop := fmt.Sprintf("stop %s on the source, and start again: statelift run SOURCE", d.Unit)
		if State(d.State) == Unclean {
			stop = fmt.Sprintf("start %s on the source, so that it recovers, stop it, and start again: statelift run SOURCE", d.Unit)
		}
		choices := []string{
			"take a first copy as it is, and a consistent one at the cutover, which stops the services for it: statelift run --hold, then statelift cutover --quiesce",
			stop,
			fmt.Sprintf("lift a snapshot of the source that was taken of all its file systems at one moment, and vouch for it in statelift.yaml: volumes: [{path: %s, consistent: snapshot}]", d.Root),
		}
		if d.Backup != "" {
			choices = slices.Insert(choices, 1, fmt.Sprintf("have %s copy it while it runs: statelift run SOURCE --quiesce [--on-source 'ssh root@host'], which shows the commands on the source before it runs them", d.Backup))
		}
		out = append(out, handoff.Block{About: About, Text: fmt.Sprintf("a copy of volume %s would not be one: %s", d.Volume, d.Why), Choices: choices})
	}
	return out
}
