package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// redis reads redis.conf and valkey.conf: keyword and arguments, comments only
// at the beginning of a line, include (redis.io/docs/management/config). The
// value is all arguments with a blank between them.
type redis struct{}

func (redis) parse(rd *reader, f file) error {
	for n, line := range lines(f.text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words, err := shellwords.Systemd(line) // its quotes and escapes are those of sdssplitargs
		if err != nil || len(words) == 0 {
			if err := rd.problem(f.at(n), "line has unbalanced quotes"); err != nil {
				return err
			}
			continue
		}
		key, args := strings.ToLower(words[0]), words[1:]
		switch {
		case key == "include" && len(args) == 1:
			_, err = rd.include(f, args[0], hostpath.Root)
		case key == "user": // ACL rules: >password, #hash
			secret := false
			for i, a := range args {
				if a != "" && strings.IndexByte("><#!", a[0]) >= 0 {
					args[i], secret = a[:1]+facts.Redacted, true
				}
			}
			err = rd.put(f.at(n), key, strings.Join(args, " "), secret)
		case key == "rename-command":
			err = rd.set(f.at(n), key, key, strings.Join(args[:min(1, len(args))], " "))
		default:
			err = rd.set(f.at(n), key, key, strings.Join(args, " "))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
