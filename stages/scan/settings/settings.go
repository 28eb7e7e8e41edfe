// Package settings collects the assignments in the configuration files of
// applications: which files, and in which format, the application profiles say.
// Includes are followed by the rules of each format, and as the application
// would, within the foreign root.
//
// To add a format, write a function parser in a file of its own and name it in
// parserOf.
package settings

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

// Limits against a hostile root.
const (
	maxFile     = 1 << 20
	maxFiles    = 4000     // read in all, includes counted each time
	maxBytes    = 64 << 20 // read in all
	maxSettings = 200_000
	maxValue    = 8 << 10
	maxDepth    = 16 // of includes, sections and blocks
)

// Source is the configuration of one profile in one format.
type Source struct {
	Profile string
	Format  string   // one of profile.Formats
	Files   []string // absolute paths and globs as claim.MatchGlob has them, in the order in which the application reads them
	// Secrets are patterns of keys that hold a credential whatever they are
	// called, see profile.MatchKey.
	Secrets []string
}

// Collector emits a facts.Setting for each assignment, in the order in which
// the application reads them: of one key, the last counts.
type Collector struct {
	sources []Source
	exact   map[hostpath.Path]bool
	globs   []claim.Pattern
}

var _ collect.Collector = (*Collector)(nil)

// New makes a collector for the sources, which are read in their order.
func New(sources []Source) *Collector {
	c := &Collector{sources: sources, exact: map[hostpath.Path]bool{}}
	var globs []hostpath.Path
	for _, s := range sources {
		for _, f := range s.Files {
			if p := hostpath.Path(f); claim.IsGlob(p) {
				globs = append(globs, p)
			} else {
				c.exact[hostpath.Clean(f)] = true
			}
		}
	}
	slices.Sort(globs)
	for _, g := range slices.Compact(globs) {
		c.globs = append(c.globs, claim.NewPattern(g))
	}
	return c
}

// Name implements collect.Collector.
func (*Collector) Name() string { return "settings" }

// Wants implements collect.Collector.
func (c *Collector) Wants(p hostpath.Path, t tree.Type) bool {
	if t != tree.Regular && t != tree.Symlink {
		return false
	}
	if c.exact[p] {
		return true
	}
	for _, g := range c.globs {
		if g.Match(p) {
			return true
		}
	}
	return false
}

// Collect implements collect.Collector.
func (c *Collector) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	total := &budget{files: maxFiles, bytes: maxBytes, settings: maxSettings}
	for _, s := range c.sources {
		rd := &reader{ctx: ctx, root: r, source: s, emit: emit, name: c.Name(), budget: total, seen: map[seenKey]bool{}}
		for _, f := range s.Files {
			for _, p := range matching(f, paths) {
				parser, ok := parserOf(s.Format)
				if !ok {
					return fmt.Errorf("settings: profile %s: unknown format %q", s.Profile, s.Format)
				}
				rd.parser, rd.main, rd.scope = parser, p, nil
				if err := rd.file(p, 0); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func matching(file string, paths []hostpath.Path) []hostpath.Path {
	g := hostpath.Path(file)
	if !claim.IsGlob(g) {
		p := hostpath.Clean(file)
		if _, ok := slices.BinarySearchFunc(paths, p, hostpath.Compare); ok {
			return []hostpath.Path{p}
		}
		return nil
	}
	var out []hostpath.Path
	for _, p := range paths {
		if claim.MatchGlob(g, p) {
			out = append(out, p)
		}
	}
	return out
}

// parser reads files of one format. It calls rd.set for each assignment, and
// rd.include for files that are read at that place, which come to the same
// parser again. A new one is made for each file that a profile names.
type parser interface {
	parse(rd *reader, f file) error
}

// file is what a parser gets.
type file struct {
	path  hostpath.Path // without symlinks
	text  string
	depth int // of includes
}

// at is the source of a line.
func (f file) at(line int) facts.Source { return facts.Source{Path: f.path, Line: line} }

func parserOf(format string) (parser, bool) {
	switch format {
	case "ini":
		return ini{}, true
	case "mysql":
		return mysql{}, true
	case "apache":
		return newApache(), true
	case "nginx":
		return &nginx{}, true
	case "postgresql":
		return &postgresql{}, true
	case "redis":
		return redis{}, true
	case "env":
		return env{}, true
	case "php":
		return php{}, true
	case "sshd":
		return &sshd{}, true
	case "java":
		return java{}, true
	case "xml":
		return xmlFormat{}, true
	}
	return nil, false
}

// budget is what may still be read.
type budget struct {
	files, settings int
	bytes           int64
	told            bool
}

type seenKey struct {
	path  hostpath.Path
	scope string
}

// reader reads the files of one source.
type reader struct {
	ctx    context.Context
	root   *rootfs.Root
	source Source
	emit   collect.Emit
	name   string
	parser parser
	budget *budget
	main   hostpath.Path // the file that the profile named
	seen   map[seenKey]bool
	scope  []string // sections that an include continues
}

// file reads one file, once for each place that includes it.
func (rd *reader) file(p hostpath.Path, depth int) error {
	if err := rd.ctx.Err(); err != nil {
		return err
	}
	real, err := rd.root.Resolve(p)
	if err != nil {
		return rd.problem(facts.Source{Path: p}, reason(err))
	}
	key := seenKey{real, strings.Join(rd.scope, "\x00")}
	switch {
	case depth > maxDepth:
		return rd.problem(facts.Source{Path: p}, "includes are nested too deep")
	case rd.seen[key]:
		return nil
	case rd.budget.files <= 0 || rd.budget.bytes <= 0:
		return rd.exhausted(p)
	}
	rd.seen[key] = true
	data, err := rd.root.ReadFile(real, min(maxFile, rd.budget.bytes))
	if err != nil {
		return rd.problem(facts.Source{Path: real}, reason(err))
	}
	rd.budget.files--
	rd.budget.bytes -= int64(len(data))
	if strings.IndexByte(string(data), 0) >= 0 {
		return rd.problem(facts.Source{Path: real}, "is no text")
	}
	return rd.parser.parse(rd, file{path: real, text: string(data), depth: depth})
}

// exhausted says once that not everything was read.
func (rd *reader) exhausted(p hostpath.Path) error {
	if rd.budget.told {
		return nil
	}
	rd.budget.told = true
	return rd.problem(facts.Source{Path: p}, "too much configuration: the rest is not read")
}

// include reads the files that pattern names, in the order of their names. dir
// is what a relative one is relative to. found is their number.
func (rd *reader) include(f file, pattern string, dir hostpath.Path) (found int, err error) {
	g := hostpath.Clean(pattern)
	if !strings.HasPrefix(pattern, "/") {
		g = dir.Join(pattern)
	}
	list, err := rd.glob(g)
	if err != nil {
		return 0, err
	}
	for _, p := range list {
		if err := rd.file(p, f.depth+1); err != nil {
			return 0, err
		}
	}
	return len(list), nil
}

// set emits one assignment. name is the part of the key that tells whether the
// value is a credential.
func (rd *reader) set(src facts.Source, key, name, value string) error {
	clean, secret := credential.Redact(name, value)
	for _, pattern := range rd.source.Secrets {
		if value != "" && profile.MatchKey(pattern, key) {
			clean, secret = facts.Redacted, true
		}
	}
	return rd.put(src, key, clean, secret)
}

// put emits an assignment whose value holds no credential any more.
func (rd *reader) put(src facts.Source, key, value string, secret bool) error {
	if rd.budget.settings <= 0 {
		return rd.exhausted(src.Path)
	}
	rd.budget.settings--
	if name := key[strings.LastIndexByte(key, '.')+1:]; name == "" {
		return rd.problem(src, "assignment has no name")
	}
	if len(key) > maxValue || len(value) > maxValue {
		return rd.problem(src, "assignment is too long")
	}
	s := facts.Setting{Profile: rd.source.Profile, Key: hostpathText(key), Value: hostpathText(value), Secret: secret, Source: src}
	return rd.emit(collect.Found{Kind: facts.KindSetting, Name: s.Key, Source: src, Data: s})
}

// hostpathText keeps values that are valid UTF-8 as they are, since that is
// what JSON can hold; others in the escape of package hostpath.
func hostpathText(s string) string {
	if strings.ToValidUTF8(s, "") == s {
		return s
	}
	return hostpath.Quote(s)
}

func (rd *reader) problem(src facts.Source, what string) error {
	return rd.emit(collect.Problem(rd.name, src, what))
}

// reason is an error without the path, which the problem's source names.
func reason(err error) string {
	var pe *fs.PathError
	switch {
	case errors.Is(err, rootfs.ErrTooLarge):
		return "is too large for configuration"
	case errors.As(err, &pe):
		return pe.Op + ": " + pe.Err.Error()
	}
	return err.Error()
}

// lines gives the lines of a text without their ends, counted from 1.
func lines(text string) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(text) {
			n++
			if !yield(n, strings.TrimRight(line, "\r\n")) {
				return
			}
		}
	}
}
