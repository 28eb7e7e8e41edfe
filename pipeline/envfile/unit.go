package envfile

import (
	"strings"

	"github.com/statelift/statelift/pipeline/shellwords"
)

// FromUnit reads the assignments of all Environment= lines of a unit file or a
// drop-in, in order (systemd.exec(5)). Specifiers stay as they are.
func FromUnit(data string) []Variable {
	var out []Variable
	lines := strings.Split(data, "\n")
	for i := 0; i < len(lines); i++ {
		start := i
		line := strings.TrimSpace(lines[i])
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue
		}
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			next := strings.TrimSpace(lines[i])
			if strings.HasPrefix(next, "#") || strings.HasPrefix(next, ";") {
				continue // comments may stand between continued lines
			}
			line = strings.TrimSuffix(line, `\`) + " " + next
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || strings.TrimSpace(name) != "Environment" {
			continue
		}
		if strings.TrimSpace(value) == "" {
			out = nil
			continue
		}
		words, err := shellwords.Systemd(value)
		if err != nil {
			continue
		}
		for _, w := range words {
			if name, value, ok := strings.Cut(w, "="); ok && ValidName(name) {
				out = append(out, Variable{Name: name, Value: value, Line: start + 1})
			}
		}
	}
	return out
}
