package split

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline/tree"
)

// judgePart says what a child of an application's directory is: by a service
// that names it, by who may write it, by its name, by what is in it.
func (s *run) judgePart(ctx context.Context, n, dir node, depth int) (part, error) {
	p := part{node: n, kind: nameKind(n.path.Base(), n.typ), why: "by its name"}
	switch n.typ {
	case tree.Regular:
		judgeFile(&p, dir)
		return p, nil
	case tree.Directory:
	default:
		p.kind = anyName
		return p, nil
	}
	if from, ok := s.namedAs(n.path); ok {
		p.kind, p.why = dataName, from
		return p, nil
	}
	if p.kind == cacheName || p.kind == logName || p.kind == confName {
		return p, nil
	}
	seen, err := s.sample(ctx, n)
	if err != nil {
		return p, err
	}
	written := n.uid != dir.uid && n.uid != 0
	mostlyCode := seen.code*2 > seen.files
	switch {
	case written && !mostlyCode:
		p.kind, p.why = dataName, fmt.Sprintf("uid %d may write it, the directory above belongs to uid %d", n.uid, dir.uid)
	case p.kind == dataName && !mostlyCode && (depth < 2 || written || strongData(n.path.Base())):
	case seen.files == 0:
		p.kind, p.why = anyName, "an empty directory"
	case seen.code == 0 && p.kind != codeName && depth == 0:
		p.kind, p.why = dataName, fmt.Sprintf("none of %d files is code", seen.files)
	default:
		p.kind, p.why = codeName, fmt.Sprintf("%d of %d files are code", seen.code, seen.files)
		p.descend = seen.hints && !vendored(n.path.Base())
	}
	return p, nil
}

func judgeFile(p *part, dir node) {
	if p.kind == anyName && p.mode&0o111 != 0 {
		p.kind, p.why = codeName, "an executable file"
	}
	if p.kind == dataName && p.uid == dir.uid && p.uid == 0 && p.mode&0o022 == 0 {
		p.kind = anyName // a table that only root can change is part of the code
	}
}

// strongData are names that mean what people put there, wherever they stand.
func strongData(name string) bool {
	return nameIn(name, "uploads", "upload", "attachments", "storage", "spool", "avatars", "media")
}

// vendored trees are code of others, whatever their directories are called.
func vendored(name string) bool {
	return nameIn(name, "vendor", "node_modules", "site-packages", "dist-packages", "venv", ".venv", ".git", "jre", "jdk", "lib", "lib64", "gems", "bower_components")
}

// seen is what a sample of a tree holds. Hints are directories that by owner or
// name look like data.
type seen struct {
	files, code int
	hints       bool
}

func (s *run) sample(ctx context.Context, n node) (seen, error) {
	var out seen
	err := s.view.walk(ctx, n.path, maxSample, func(c node) bool {
		switch kind := nameKind(c.path.Base(), c.typ); {
		case c.typ == tree.Directory:
			out.hints = out.hints || kind == dataName || kind == cacheName || kind == logName || c.uid != n.uid
			return !vendored(c.path.Base())
		case c.typ != tree.Regular:
		default:
			out.files++
			if kind == codeName || kind == anyName && c.mode&0o111 != 0 {
				out.code++
			}
			out.hints = out.hints || kind == dataName && c.uid != 0
		}
		return true
	})
	return out, err
}
