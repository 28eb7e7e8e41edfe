package imageset

import (
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Entrypoint is the command of a container outside Kubernetes: the references
// $(NAME) that Kubernetes would replace (Container v1 core, command) get the
// values of plain variables, $$ becomes $. A reference to what only the cluster
// has, a key of a ConfigMap or Secret, stays as it is.
func Entrypoint(c handoff.Container) []string {
	values := map[string]string{}
	for _, e := range c.Env {
		if e.From == "" {
			values[e.Name] = e.Value
		}
	}
	out := make([]string, len(c.Command))
	for i, arg := range c.Command {
		out[i] = expand(arg, values)
	}
	return out
}

func expand(arg string, values map[string]string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(arg, "$")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, closed := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		value, known := values[name]
		switch {
		case strings.HasPrefix(rest, "$"):
			b.WriteByte('$')
			arg = rest[1:]
		case strings.HasPrefix(rest, "(") && closed && known:
			b.WriteString(value)
			arg = after
		default:
			b.WriteByte('$')
			arg = rest
		}
	}
}
