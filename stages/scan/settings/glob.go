package settings

import (
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// maxMatches bounds what one pattern may match.
const maxMatches = 5000

// glob lists what a pattern names in the root, following links as if chrooted,
// in the order of names; element by element, as glob(7) and Apache do. A path
// without special characters is itself, when it is there.
func (rd *reader) glob(pattern hostpath.Path) ([]hostpath.Path, error) {
	list := []hostpath.Path{hostpath.Root}
	elements := strings.Split(strings.Trim(string(pattern), "/"), "/")
	for i, elem := range elements {
		if err := rd.ctx.Err(); err != nil {
			return nil, err
		}
		last := i == len(elements)-1
		var next []hostpath.Path
		for _, dir := range list {
			more, err := rd.globIn(dir, elem, last)
			if err != nil {
				return nil, err
			}
			next = append(next, more...)
			if len(next) > maxMatches {
				return nil, rd.problem(facts.Source{Path: pattern}, "pattern matches too many files")
			}
		}
		list = next
	}
	return list, nil
}

func (rd *reader) globIn(dir hostpath.Path, elem string, last bool) ([]hostpath.Path, error) {
	if !strings.ContainsAny(elem, `*?[\`) {
		p := dir.Join(elem)
		if !last {
			return []hostpath.Path{p}, nil
		}
		if _, err := rd.root.Stat(p); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil, nil
			}
			return nil, rd.problem(facts.Source{Path: p}, reason(err))
		}
		return []hostpath.Path{p}, nil
	}
	entries, err := rd.root.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, rd.problem(facts.Source{Path: dir}, reason(err))
	}
	var out []hostpath.Path
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && !strings.HasPrefix(elem, ".") {
			continue
		}
		if ok, err := path.Match(elem, e.Name()); err == nil && ok {
			out = append(out, dir.Join(e.Name()))
		}
	}
	return out, nil
}
