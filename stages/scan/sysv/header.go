package sysv

import (
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// header reads the comments at the top: those of LSB between BEGIN and END INIT
// INFO, and those of chkconfig(8).
func header(text string, s *facts.Script) {
	inside := false
	short, last := "", ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "### BEGIN INIT INFO"):
			inside = true
			continue
		case strings.HasPrefix(line, "### END INIT INFO"):
			inside = false
			continue
		case line == "" || line == "#":
			last = ""
			continue
		case line[0] != '#':
			if inside || strings.HasPrefix(line, ":") {
				continue
			}
			s.Description = firstOf(short, s.Description)
			return
		}
		key, value, ok := strings.Cut(strings.TrimLeft(line, "# \t"), ":")
		value = strings.TrimSpace(value)
		if !ok || strings.ContainsAny(key, " \t") {
			// "#  " or "#\t" goes on with the description.
			if last == "description" && (strings.HasPrefix(line, "#\t") || strings.HasPrefix(line, "#  ")) {
				s.Description = strings.TrimSuffix(s.Description, `\`)
				s.Description = strings.TrimSpace(s.Description) + " " + strings.TrimSpace(strings.TrimLeft(line, "# \t"))
				s.Description = strings.TrimSuffix(s.Description, `\`)
			}
			continue
		}
		last = strings.ToLower(key)
		switch last {
		case "provides":
			s.Provides = strings.Fields(value)
		case "short-description":
			short = value
		case "description":
			s.Description = strings.TrimSuffix(value, `\`)
		case "pidfile":
			if strings.HasPrefix(value, "/") {
				s.PIDFile = hostpath.Clean(value)
			}
		}
	}
	s.Description = firstOf(short, s.Description)
}

func firstOf(list ...string) string {
	for _, s := range list {
		if s = strings.TrimSpace(s); s != "" {
			return s
		}
	}
	return ""
}
