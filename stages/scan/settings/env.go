package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/envfile"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// env reads files of variables: as systemd reads an EnvironmentFile=
// (systemd.exec(5)), or as a shell reads what exports or expands variables, as
// files of /etc/default may.
type env struct{}

func (env) parse(rd *reader, f file) error {
	if isShell(f.text) {
		return shellVariables(rd, f)
	}
	for _, v := range envfile.Parse(f.text) {
		if err := rd.set(f.at(v.Line), v.Name, v.Name, v.Value); err != nil {
			return err
		}
	}
	return nil
}

// isShell is true for a text that only a shell understands.
func isShell(text string) bool {
	for _, line := range lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(line, "export ") || strings.HasPrefix(line, "if ") || strings.HasPrefix(line, ". ") ||
			strings.HasPrefix(line, ": ${") || strings.Contains(line, "${") || strings.Contains(line, "$(") {
			return true
		}
	}
	return false
}

func shellVariables(rd *reader, f file) error {
	var failed error
	s := shellwords.Script{
		Assigned: func(name, value, source string, line int) {
			if failed == nil && source == "" {
				failed = rd.set(f.at(line), name, name, value)
			}
		},
	}
	s.Run(f.text)
	return failed
}
