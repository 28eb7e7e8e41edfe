// Package dpkg reads the database of dpkg(1): which packages are installed,
// which paths they own, with which sums, and what was diverted from them.
package dpkg

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/stages/scan/collect"
)

const (
	admin      = hostpath.Path("/var/lib/dpkg")
	statusFile = admin + "/status"
	infoDir    = admin + "/info"
)

// Packages reads the database of dpkg. It implements collect.Packages.
type Packages struct{}

// Name implements collect.Packages.
func (Packages) Name() string { return "dpkg" }

// Load implements collect.Packages.
func (p Packages) Load(ctx context.Context, r *rootfs.Root, emit collect.Emit) (collect.Index, error) {
	f, err := r.Open(statusFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no %s: %w", statusFile, pipeline.ErrDeclined)
	}
	l := &loader{root: r, emit: emit, builder: builder{diverts: map[string]diverted{}}}
	if err != nil {
		return l.finish(), l.problem(facts.Source{Path: statusFile}, err.Error())
	}
	defer f.Close()
	l.aliases = aliases(r)
	if err := l.diversions(); err != nil {
		return nil, err
	}
	if err := l.alternatives(); err != nil {
		return nil, err
	}
	if err := l.status(ctx, f); err != nil {
		return nil, err
	}
	if err := l.lists(ctx); err != nil {
		return nil, err
	}
	for _, k := range l.packages {
		if !k.removed {
			if err := emit(collect.Found{Kind: facts.KindPackage, Name: k.name, Source: k.source, Data: k.fact}); err != nil {
				return nil, err
			}
		}
	}
	return l.finish(), nil
}

// aliases finds the directories of the top level that are links to others.
func aliases(r *rootfs.Root) []alias {
	list, err := r.ReadDir(hostpath.Root)
	if err != nil {
		return nil // the walk will say so
	}
	var out []alias
	for _, e := range list {
		if e.Type() != fs.ModeSymlink {
			continue
		}
		from := hostpath.Root.Join(e.Name())
		if to, err := r.Resolve(from); err == nil && to != hostpath.Root {
			out = append(out, alias{string(from), string(to)})
		}
	}
	return out
}

// loader is one reading of the database.
type loader struct {
	root     *rootfs.Root
	emit     collect.Emit
	packages []*pkg
	builder
}

// pkg is a package with files on the disk.
type pkg struct {
	name      string // as it owns paths: name, or name:arch for a foreign architecture
	arch      string
	conffiles field
	removed   bool // only its configuration is left
	source    facts.Source
	fact      facts.Package
}

func (l *loader) problem(src facts.Source, what string) error {
	return l.emit(collect.Problem("dpkg", src, what))
}

// status reads the packages from the status file.
func (l *loader) status(ctx context.Context, f io.Reader) error {
	seen := map[string]bool{}
	keep := func(name string) bool {
		switch name {
		case "Package", "Status", "Version", "Architecture", "Priority", "Section", "Essential", "Conffiles":
			return true
		}
		return false
	}
	broken := func(line int, what string) error {
		return l.problem(facts.Source{Path: statusFile, Line: line}, what)
	}
	native := ""
	use := func(s stanza) error {
		k, fault := parsePackage(s)
		switch {
		case fault != "":
			return broken(s.line, fault)
		case k == nil:
			return ctx.Err()
		}
		id := k.fact.Name + ":" + k.arch
		if seen[id] {
			return broken(s.line, "package "+id+" a second time")
		}
		seen[id] = true
		if k.fact.Name == "dpkg" {
			native = k.arch
		}
		l.packages = append(l.packages, k)
		if state := s.get("Status"); !k.removed && !strings.HasSuffix(state, " installed") {
			return broken(s.line, fmt.Sprintf("package %s is not whole: %s", id, hostpath.Quote(state)))
		}
		return ctx.Err()
	}
	unreadable, err := readStanzas(f, keep, use, broken)
	if err != nil {
		return err
	}
	if unreadable != nil {
		if err := l.problem(facts.Source{Path: statusFile}, unreadable.Error()); err != nil {
			return err
		}
	}
	for _, k := range l.packages {
		if k.arch != native && k.arch != "all" && native != "" {
			k.name += ":" + k.arch
		}
	}
	return nil
}

// parsePackage reads a stanza of the status file. It is nil for a package
// without a file on the disk.
func parsePackage(s stanza) (_ *pkg, fault string) {
	name, status := s.get("Package"), strings.Fields(s.get("Status"))
	switch {
	case name == "":
		return nil, "a stanza without Package"
	case !validName(name):
		return nil, "not a package name: " + hostpath.Quote(name)
	case len(status) != 3:
		return nil, "package " + name + " without a Status of three words"
	}
	switch status[2] {
	case "not-installed":
		return nil, ""
	case "installed", "config-files", "half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending":
	default:
		return nil, "package " + name + " is in no known state: " + hostpath.Quote(status[2])
	}
	arch := s.get("Architecture")
	if !validName(arch) {
		return nil, "package " + name + " without an Architecture"
	}
	if s.get("Version") == "" && status[2] == "installed" {
		return nil, "package " + name + " without a Version"
	}
	return &pkg{
		name: name, arch: arch, conffiles: s.fields["Conffiles"], removed: status[2] == "config-files",
		source: facts.Source{Path: statusFile, Line: s.line},
		fact: facts.Package{
			Manager: "dpkg", Name: name, Version: s.get("Version"), Architecture: arch, Priority: s.get("Priority"),
			Section: s.get("Section"), Essential: s.get("Essential") == "yes",
		},
	}, ""
}

// validName keeps out what could not be a part of a file's name.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("+-._", c) >= 0) {
			return false
		}
	}
	return s != "" && s[0] != '.'
}

// lists reads the lists of paths, sums and conffiles of every package.
func (l *loader) lists(ctx context.Context) error {
	at, err := l.root.Resolve(infoDir)
	var dir *os.File
	if err == nil {
		dir, err = l.root.OpenDir(at)
	}
	if err != nil {
		return l.problem(facts.Source{Path: infoDir}, err.Error())
	}
	defer dir.Close()
	for _, k := range l.packages {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.list(dir, at, k); err != nil {
			return err
		}
	}
	return nil
}

// maxList bounds one file of info/; the largest of real packages have 2 MiB.
const maxList = 128 << 20

// read reads a file of info/, named after the package with or without its
// architecture (dpkg appends it for "Multi-Arch: same").
func (l *loader) read(dir *os.File, at hostpath.Path, k *pkg, suffix string) (hostpath.Path, []byte, error) {
	name := at.Join(k.fact.Name + ":" + k.arch + suffix)
	f, err := rootfs.OpenRegularAt(dir, name)
	if errors.Is(err, unix.ENOENT) {
		name = at.Join(k.fact.Name + suffix)
		f, err = rootfs.OpenRegularAt(dir, name)
	}
	if err != nil {
		return name, nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxList+1))
	if err == nil && len(data) > maxList {
		err = fmt.Errorf("%s: %w", name, rootfs.ErrTooLarge)
	}
	return name, data, err
}
