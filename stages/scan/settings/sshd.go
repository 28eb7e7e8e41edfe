package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// sshd reads keyword and arguments as sshd_config(5) has them: Include is
// relative to /etc/ssh, what follows a Match belongs to it (Match.KEYWORD).
type sshd struct {
	match string
}

func (s *sshd) parse(rd *reader, f file) error {
	before := s.match
	defer func() { s.match = before }() // a Match ends with the file that it is in
	for n, line := range lines(f.text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		end := strings.IndexAny(line, " \t=")
		if end < 0 {
			end = len(line)
		}
		key := line[:end]
		value := strings.TrimLeft(line[end:], " \t")
		value = strings.TrimLeft(strings.TrimPrefix(value, "="), " \t")
		var words []string
		list, err := shellwords.Shell(value)
		for _, w := range list {
			words = append(words, w.Text)
		}
		if err != nil {
			words = []string{value}
		}
		switch strings.ToLower(key) {
		case "include":
			for _, w := range words {
				if _, err := rd.include(f, w, hostpath.Path("/etc/ssh")); err != nil {
					return err
				}
			}
			continue
		case "match":
			s.match = "Match."
			if strings.EqualFold(value, "all") {
				s.match = ""
			}
		}
		prefix := s.match
		if strings.EqualFold(key, "match") {
			prefix = ""
		}
		if err := rd.set(f.at(n), prefix+key, key, strings.Join(words, " ")); err != nil {
			return err
		}
	}
	return nil
}
