package stages

import (
	"fmt"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// onSource runs commands behind the prefix on the host that the source is of, and
// on no other.
func onSource(env pipeline.Env, prefix string) (quiesce.Runner, error) {
	runner, err := quiesce.OnSource(prefix)
	if err != nil {
		return nil, err
	}
	src, err := pipeline.Read(env.Workspace, handoff.SourceKey)
	if err != nil {
		return nil, err
	}
	machine, err := machineOf(src)
	if err != nil {
		// A way back does not wait for a root that was mounted and is gone; whatever
		// else needs it says so.
		env.Log.Warn("which host the source is cannot be read, and is not compared", "root", src.Root, "error", err)
	}
	return quiesce.OnMachine(runner, machine), nil
}

func machineOf(src handoff.Source) (quiesce.Machine, error) {
	root, err := rootfs.Open(src.Root)
	if err != nil {
		return quiesce.Machine{}, fmt.Errorf("source: %w", err)
	}
	defer root.Close()
	return quiesce.MachineOf(root)
}
