package plan

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/handoff"
)

const header = `# What statelift will make of the host %s. It is derived anew by every plan:
# read it, and decide in statelift.yaml, which is yours and never rewritten.
# No credential is in here; paths are written in statelift's reversible escape.
`

// readable writes modes as people do, in octal digits.
func readable(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if n, ok := value.(json.Number); ok && key == "mode" {
				if mode, err := n.Int64(); err == nil {
					v[key] = fmt.Sprintf("%04o", mode)
					continue
				}
			}
			v[key] = readable(value)
		}
	case []any:
		for i := range v {
			v[i] = readable(v[i])
		}
	}
	return v
}

// writeYAML writes the plan for people.
func writeYAML(name string, pl handoff.Plan) error {
	data, err := json.Marshal(pl)
	if err != nil {
		return fmt.Errorf("plan.yaml: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // sizes are exact
	var doc any
	if err := decoder.Decode(&doc); err != nil {
		return fmt.Errorf("plan.yaml: %w", err)
	}
	if data, err = yaml.Marshal(readable(doc)); err != nil {
		return fmt.Errorf("plan.yaml: %w", err)
	}
	return atomicfile.Write(name, append(fmt.Appendf(nil, header, pl.Name), data...), 0o600)
}
