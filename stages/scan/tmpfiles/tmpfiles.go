// Package tmpfiles reads which files and directories a host makes when it
// boots, tmpfiles.d(5).
package tmpfiles

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

// Collector implements collect.Collector.
type Collector struct{}

// Name implements collect.Collector.
func (Collector) Name() string { return "tmpfiles" }

// dirs are the directories from the weakest to the strongest: a file hides one
// of the same name in those before.
var dirs = [...]hostpath.Path{"/usr/lib/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/run/tmpfiles.d", "/etc/tmpfiles.d"}

// Wants implements collect.Collector.
func (Collector) Wants(p hostpath.Path, t tree.Type) bool {
	if t != tree.Regular && t != tree.Symlink || !strings.HasSuffix(string(p), ".conf") {
		return false
	}
	return slices.Contains(dirs[:], directory(p))
}

// directory is that of p, as a host with merged /usr has it.
func directory(p hostpath.Path) hostpath.Path {
	if d := p.Dir(); d != "/lib/tmpfiles.d" {
		return d
	}
	return dirs[0]
}

// Collect implements collect.Collector. Facts come in the order in which
// systemd-tmpfiles(8) reads them: by the name of the file, wherever it lies.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	strongest := map[string]hostpath.Path{}
	for _, p := range paths {
		old, ok := strongest[p.Base()]
		if !ok || slices.Index(dirs[:], directory(p)) > slices.Index(dirs[:], directory(old)) {
			strongest[p.Base()] = p
		}
	}
	names := make([]string, 0, len(strongest))
	for name := range strongest {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := c.file(ctx, r, strongest[name], emit); err != nil {
			return err
		}
	}
	return nil
}

func (c Collector) file(ctx context.Context, r *rootfs.Root, p hostpath.Path, emit collect.Emit) error {
	if target, err := r.Readlink(p); err == nil && target == "/dev/null" {
		return nil // masked
	}
	data, ok, err := collect.Read(r, c.Name(), p, emit)
	if !ok {
		return err
	}
	return collect.Each(ctx, c.Name(), p, data, func(line string, src facts.Source) (collect.Found, error) {
		t, err := parse(line)
		t.Source = src
		return collect.Found{Kind: facts.KindTmpfile, Name: t.Path.String(), Source: src, Data: t}, err
	}, emit)
}

// parse reads one line: type, path, mode, user, group, age, argument. A hyphen
// stands for a field that is not given. Specifiers such as %b stay.
func parse(line string) (facts.Tmpfile, error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return facts.Tmpfile{}, collect.ErrNothing
	}
	var fields [6]string
	rest := line
	for i := range fields {
		var err error
		if fields[i], rest, err = field(rest); err != nil {
			return facts.Tmpfile{}, err
		}
	}
	if fields[1] == "" || len(fields[0]) == 0 || !strings.ContainsRune("fFwdDevqQpLcbCxXrRzZtThHaA", rune(fields[0][0])) {
		return facts.Tmpfile{}, errors.New("not a line of tmpfiles.d: type and path are needed")
	}
	if !strings.HasPrefix(fields[1], "/") && !strings.HasPrefix(fields[1], "%") {
		return facts.Tmpfile{}, errors.New("not a line of tmpfiles.d: the path is not absolute")
	}
	t := facts.Tmpfile{Type: hostpath.Quote(fields[0]), Path: hostpath.Clean(fields[1])}
	for i, to := range []*string{&t.Mode, &t.User, &t.Group, &t.Age} {
		if v := fields[i+2]; v != "-" {
			*to = hostpath.Quote(v)
		}
	}
	if rest = strings.TrimSpace(rest); rest != "-" {
		t.Argument = hostpath.Quote(credential.RedactCommand(rest))
	}
	return t, nil
}

// field takes the first field off a line. Quotes keep blanks together, and a
// backslash the character that follows.
func field(s string) (first, rest string, err error) {
	s = strings.TrimLeft(s, " \t")
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			if s[i] == 'x' && i+2 < len(s) {
				if raw, err := hostpath.Unquote(s[i-1 : i+3]); err == nil {
					b.WriteString(raw)
					i += 2
					continue
				}
			}
			b.WriteByte(s[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\'') && b.Len() == 0:
			quote = c
		case quote == 0 && (c == ' ' || c == '\t'):
			return b.String(), s[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", "", errors.New("a quote is not closed")
	}
	return b.String(), "", nil
}
