// Package osrelease tells what system a host runs: os-release(5), its name, and
// the architecture of its programs.
package osrelease

import (
	"context"
	"debug/elf"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

// Collector implements collect.Collector.
type Collector struct{}

// Name implements collect.Collector.
func (Collector) Name() string { return "os-release" }

// Wants implements collect.Collector: the dynamic loader and the C library tell
// the architecture where there is no shell.
func (Collector) Wants(p hostpath.Path, t tree.Type) bool {
	base := p.Base()
	return (t == tree.Regular || t == tree.Symlink) && (strings.HasPrefix(base, "ld-linux") || strings.HasPrefix(base, "ld-musl") || base == "libc.so.6") &&
		(p.Within("/lib") || p.Within("/lib64") || p.Within("/usr/lib") || p.Within("/usr/lib64"))
}

// Collect implements collect.Collector.
func (c Collector) Collect(_ context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	name, data, err := osRelease(r)
	src := facts.Source{Path: name}
	var os facts.OS
	if err != nil {
		if err := emit(collect.Problem(c.Name(), src, err.Error())); err != nil {
			return err
		}
	}
	for n, line := range collect.Lines(data) {
		if fault := set(&os, line); fault != "" {
			if err := emit(collect.Problem(c.Name(), facts.Source{Path: name, Line: n}, fault)); err != nil {
				return err
			}
		}
	}
	os.Hostname = hostname(r)
	if os.Architecture, err = architecture(r, paths); err != nil {
		if err := emit(collect.Problem(c.Name(), facts.Source{}, err.Error())); err != nil {
			return err
		}
	}
	return emit(collect.Found{Kind: facts.KindOS, Name: os.ID, Source: src, Data: os})
}

// osRelease reads the first of the two places that is there.
func osRelease(r *rootfs.Root) (hostpath.Path, []byte, error) {
	const first, second = hostpath.Path("/etc/os-release"), hostpath.Path("/usr/lib/os-release")
	data, err := r.ReadFile(first, collect.MaxConfig)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = r.ReadFile(second, collect.MaxConfig)
		return second, data, err
	}
	return first, data, err
}

// set reads one assignment in the syntax of the shell.
func set(os *facts.OS, line string) (fault string) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return ""
	}
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return "not an assignment"
	}
	value, ok = unquote(value)
	if !ok {
		return "a quote is not closed"
	}
	value = hostpath.Quote(value)
	switch key {
	case "ID":
		os.ID = value
	case "ID_LIKE":
		os.IDLike = strings.Fields(value)
	case "VERSION_ID":
		os.VersionID = value
	case "PRETTY_NAME":
		os.PrettyName = value
	}
	return ""
}

// unquote takes quotes and backslashes away as the shell does.
func unquote(s string) (string, bool) {
	var b strings.Builder
	quote := byte(0)
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quote != '\'' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), quote == 0
}

// hostname is the first line of hostname(5) that is no comment.
func hostname(r *rootfs.Root) string {
	data, err := r.ReadFile("/etc/hostname", collect.MaxConfig)
	if err != nil {
		return ""
	}
	for _, line := range collect.Lines(data) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return hostpath.Quote(line)
		}
	}
	return ""
}

var errArchitecture = errors.New("the architecture is unknown: neither a shell nor a C library that can be read")

// architecture reads the ELF header of a program that every host has.
func architecture(r *rootfs.Root, libraries []hostpath.Path) (string, error) {
	programs := []hostpath.Path{"/bin/sh", "/bin/bash", "/bin/busybox", "/usr/bin/env", "/sbin/init"}
	for _, p := range slices.Concat(programs, libraries[:min(len(libraries), 8)]) {
		f, err := r.Open(p)
		if err != nil {
			continue
		}
		header := make([]byte, 64)
		_, err = f.ReadAt(header, 0)
		f.Close()
		if err != nil {
			continue
		}
		if arch := machine(header); arch != "" {
			return arch, nil
		}
	}
	return "", errArchitecture
}

// machine is the GOARCH of the first bytes of an ELF file (elf(5)).
func machine(h []byte) string {
	if len(h) < 20 || string(h[:4]) != elf.ELFMAG {
		return ""
	}
	little := elf.Data(h[elf.EI_DATA]) == elf.ELFDATA2LSB
	m := elf.Machine(uint16(h[18])<<8 | uint16(h[19]))
	if little {
		m = elf.Machine(uint16(h[19])<<8 | uint16(h[18]))
	}
	wide := elf.Class(h[elf.EI_CLASS]) == elf.ELFCLASS64
	switch m {
	case elf.EM_X86_64:
		return "amd64"
	case elf.EM_386:
		return "386"
	case elf.EM_AARCH64:
		return "arm64"
	case elf.EM_ARM:
		return "arm"
	case elf.EM_RISCV:
		return "riscv64"
	case elf.EM_S390:
		return "s390x"
	case elf.EM_LOONGARCH:
		return "loong64"
	case elf.EM_PPC64:
		if little {
			return "ppc64le"
		}
		return "ppc64"
	case elf.EM_MIPS:
		switch {
		case wide && little:
			return "mips64le"
		case wide:
			return "mips64"
		case little:
			return "mipsle"
		}
		return "mips"
	}
	return ""
}
