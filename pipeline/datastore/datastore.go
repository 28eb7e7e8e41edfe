package datastore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// Engine is what wrote the files.
type Engine string

// The engines.
const (
	InnoDB     Engine = "innodb"
	PostgreSQL Engine = "postgresql"
	Redis      Engine = "redis"
)

// State is what the files say.
type State string

// The states.
const (
	Clean State = "clean" // as a clean stop left it: a copy of it is a copy
	// Recoverable is a backup: a server that starts there brings it to the moment at
	// which it was made, by what is in it.
	Recoverable State = "recoverable"
	Unclean     State = "unclean" // a server that starts there has to recover first
	Live        State = "live"    // a process uses it
	Unknown     State = "unknown" // its format is not known, or broken
)

// worse orders states by what they ask for.
func (s State) worse(o State) bool {
	rank := map[State]int{Clean: 0, Recoverable: 1, Unknown: 2, Unclean: 3, Live: 4}
	return rank[s] > rank[o]
}

// Verdict is what was found out about one directory.
type Verdict struct {
	Engine   Engine        `json:"engine"`
	Dir      hostpath.Path `json:"dir"`
	State    State         `json:"state"`
	Evidence []Evidence    `json:"evidence"` // the first one decided the state
}

// Evidence is one statement about a file or process.
type Evidence struct {
	Path hostpath.Path `json:"path,omitempty"`
	Fact string        `json:"fact"`
}

// Text is the verdict for people.
func (v Verdict) Text() string {
	var facts []string
	for _, e := range v.Evidence {
		if e.Path == "" {
			facts = append(facts, e.Fact)
		} else {
			facts = append(facts, fmt.Sprintf("%s: %s", e.Path, e.Fact))
		}
	}
	return fmt.Sprintf("%s in %s is %s (%s)", v.Engine, v.Dir, v.State, strings.Join(facts, "; "))
}

// note adds evidence; a worse state is the state from then on, and its evidence
// comes first.
func (v *Verdict) note(s State, p hostpath.Path, format string, args ...any) {
	e := Evidence{Path: p, Fact: fmt.Sprintf(format, args...)}
	if s.worse(v.State) || len(v.Evidence) == 0 {
		v.State = s
		v.Evidence = append([]Evidence{e}, v.Evidence...)
		return
	}
	v.Evidence = append(v.Evidence, e)
}

// Judge looks at a database's directory below root. What is wrong with the files
// is in the verdict; an error says that they could not be read.
func Judge(ctx context.Context, root *rootfs.Root, engine Engine, dir hostpath.Path) (Verdict, error) {
	v := Verdict{Engine: engine, Dir: dir, State: Clean}
	var err error
	switch engine {
	case InnoDB:
		err = judgeInnoDB(root, &v)
	case PostgreSQL:
		err = judgePostgres(root, &v)
	case Redis:
		err = judgeRedis(ctx, root, &v)
	default:
		return Verdict{}, fmt.Errorf("there is no engine %q", engine)
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("%s in %s: %w", engine, dir, err)
	}
	if len(v.Evidence) == 0 {
		v.note(Unknown, dir, "it holds no file of %s", engine)
	}
	return v, nil
}

// exists reports whether there is such a file; a link counts by what it names.
func exists(root *rootfs.Root, p hostpath.Path) (bool, error) {
	_, err := root.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
