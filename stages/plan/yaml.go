package plan

import (
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
)

const header = `# What statelift will make of the host %s. It is derived anew by every plan:
# read it, and decide in statelift.yaml, which is yours and never rewritten.
# No credential is in here; paths are written in statelift's reversible escape.
`

// writeYAML writes the plan for people.
func writeYAML(name string, pl handoff.Plan) error {
	data, err := yaml.Marshal(pl)
	if err != nil {
		return fmt.Errorf("plan.yaml: %w", err)
	}
	return atomicfile.Write(name, append(fmt.Appendf(nil, header, pl.Name), data...), 0o600)
}
