package hotbackup

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/quiesce"
)

// Refusal is why a database cannot be copied while it runs, and what would help.
type Refusal struct {
	Database hostpath.Path
	Tool     string
	Why      string
	Remedy   string // "" when nothing helps but to stop it
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("%s cannot be copied by %s while it runs: %s; %s", r.Database, r.Tool, r.Why, cmp.Or(r.Remedy, "statelift run --hold, then statelift cutover --quiesce, stops it for the copy"))
}

// Survey is what a copy of a database would be.
type Survey struct {
	Database handoff.Database
	Method   profile.Backup
	Dirs     []Dir // their names are relative to the copy
}

// Dir is a directory of the source that the copy has.
type Dir struct {
	Live hostpath.Path
	Copy hostpath.Path // relative to the copy until that was taken, then on the source
}

// Ask asks the source, without changing anything, whether the database can be copied
// while it runs. When not, the error is a [*Refusal].
func Ask(ctx context.Context, r quiesce.Runner, d handoff.Database, profiles []profile.Profile) (Survey, error) {
	s := Survey{Database: d}
	refuse := func(why, remedy string) (Survey, error) {
		return Survey{}, &Refusal{Database: d.Path, Tool: s.Method.Tool, Why: why, Remedy: remedy}
	}
	p, _ := profile.Generic(profiles, d.Profile)
	s.Method = p.Data.Backup
	if s.Method.Tool == "" {
		s.Method.Tool = "its own means"
		return refuse(fmt.Sprintf("the profile %s has none", d.Profile), "")
	}
	out, err := r.Run(ctx, append(slices.Clone(s.Method.Command), string(d.Path)))
	if err != nil {
		return Survey{}, fmt.Errorf("ask how %s is copied: %w", d.Path, err)
	}
	said, err := parseSurvey(out)
	switch {
	case err != nil:
		return Survey{}, fmt.Errorf("ask how %s is copied: %w", d.Path, err)
	case said.down:
		return refuse(fmt.Sprintf("no server of %s runs there", d.Unit), fmt.Sprintf("start %s, or stop it cleanly", d.Unit))
	case said.missing:
		return refuse("the tool is not on the source", fmt.Sprintf("install it there: %s", s.Method.Package))
	case said.refused != "":
		return refuse(said.refused, "")
	case len(said.dirs) == 0 || said.dirs[0].Live != d.Path:
		return Survey{}, fmt.Errorf("ask how %s is copied: the answer does not name that directory first", d.Path)
	}
	s.Dirs = said.dirs
	return s, nil
}

// answer is what the command printed.
type answer struct {
	down, missing bool
	refused       string
	dirs          []Dir
}

var dirName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// maxDirs bounds the tablespaces of one database.
const maxDirs = 1000

// parseSurvey reads it.
func parseSurvey(out []byte) (answer, error) {
	var a answer
	for line := range bytes.Lines(out) {
		word, rest, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch word {
		case "":
			continue
		case "down":
			a.down = true
		case "missing":
			a.missing = true
		case "refused":
			a.refused = strings.ToValidUTF8(rest, "?")
		case "dir":
			name, live, _ := strings.Cut(rest, " ")
			if !dirName.MatchString(name) || !path.IsAbs(live) || path.Clean(live) != live || live == "/" || len(a.dirs) == maxDirs {
				return answer{}, fmt.Errorf("%.200q is no directory", line)
			}
			d := Dir{Live: hostpath.Path(live), Copy: hostpath.Path(name)}
			if slices.ContainsFunc(a.dirs, func(o Dir) bool { return o.Copy == d.Copy || o.Live.Within(d.Live) || d.Live.Within(o.Live) }) {
				return answer{}, fmt.Errorf("%.200q lies within another one", line)
			}
			a.dirs = append(a.dirs, d)
		default:
			return answer{}, fmt.Errorf("%.200q was not expected", line)
		}
	}
	return a, nil
}
