// Package live looks at what runs, when the source is the machine's own root:
// processes by unit, the files that they have open for writing, and listening
// sockets (proc(5)). It reads neither environments nor command lines, which
// hold credentials.
package live

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

const proc hostpath.Path = "/proc"

// Limits, far above what a sound host has.
const (
	maxTable     = 64 << 20 // bytes of /proc/net/tcp and the like, of /proc/PID/maps
	maxSmall     = 64 << 10
	maxProcesses = 100_000
	maxWriting   = 10_000 // files of one process
	maxSockets   = 200_000
)

// Collector emits a facts.Process for every process of the host itself, and a
// facts.Listener with Live set for every listening socket. On any other source
// than a live root it emits nothing.
type Collector struct{}

var _ collect.Collector = Collector{}

// Name implements collect.Collector.
func (Collector) Name() string { return "live" }

// Wants implements collect.Collector.
func (Collector) Wants(hostpath.Path, tree.Type) bool { return false }

// Collect implements collect.Collector.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, _ []hostpath.Path, emit collect.Emit) error {
	if !isLive(r) {
		return nil
	}
	return look(ctx, r, os.Getpid(), emit)
}

// isLive reports whether the root is that of this process, with its /proc.
func isLive(r *rootfs.Root) bool {
	theirs, err := r.Stat(hostpath.Root)
	if err != nil {
		return false
	}
	ours, err := os.Stat("/")
	if err != nil || !os.SameFile(theirs, ours) {
		return false
	}
	_, err = r.Readlink(proc.Join(strconv.Itoa(os.Getpid()), "exe"))
	return err == nil
}

// look reads /proc of the root; the process self is left out.
func look(ctx context.Context, r *rootfs.Root, self int, emit collect.Emit) error {
	l := &looker{root: r, emit: emit, holders: map[uint64]holder{}}
	list, err := r.ReadDir(proc)
	if err != nil {
		return emit(collect.Problem("live", facts.Source{Path: proc}, "processes cannot be listed"))
	}
	var pids []int
	for _, e := range list {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 0 && pid != self {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	for _, pid := range pids[:min(len(pids), maxProcesses)] {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := l.process(pid); err != nil {
			return err
		}
	}
	if l.denied > 0 {
		what := fmt.Sprintf("the open files of %d processes could not be read, for want of permission", l.denied)
		if err := emit(collect.Problem("live", facts.Source{Path: proc}, what)); err != nil {
			return err
		}
	}
	return l.sockets(ctx)
}

type looker struct {
	root    *rootfs.Root
	emit    collect.Emit
	holders map[uint64]holder // by inode of a socket
	denied  int
}

// holder is a process that has a socket open.
type holder struct {
	pid  int
	unit string
}

// process emits one process. One that ends meanwhile is passed over, and so
// are threads of the kernel, which have no program.
func (l *looker) process(pid int) error {
	dir := proc.Join(strconv.Itoa(pid))
	cgroup, err := l.root.ReadFile(dir.Join("cgroup"), maxSmall)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unit, container := unitOf(string(cgroup))
	if container {
		return nil
	}
	exe, err := l.root.Readlink(dir.Join("exe"))
	denied := errors.Is(err, fs.ErrPermission)
	if err != nil && !denied {
		return nil
	}
	status, err := l.root.ReadFile(dir.Join("status"), maxSmall)
	if err != nil {
		return nil
	}
	p := facts.Process{PID: pid, UID: effectiveUID(string(status)), Unit: unit}
	if exe = strings.TrimSuffix(exe, " (deleted)"); strings.HasPrefix(exe, "/") && !strings.HasPrefix(exe, "/memfd:") {
		p.Exe = hostpath.Clean(exe)
	}
	writing, err := l.files(dir, holder{pid, unit})
	switch {
	case errors.Is(err, fs.ErrPermission) || denied:
		l.denied++
	case err != nil:
		return nil
	}
	p.Writing = writing
	return l.emit(collect.Found{Kind: facts.KindProcess, Name: p.Exe.String(), Source: facts.Source{Path: dir}, Data: p})
}

// files lists the regular files that a process has open or mapped for writing,
// and notes its sockets.
func (l *looker) files(dir hostpath.Path, h holder) ([]hostpath.Path, error) {
	fds, err := l.root.ReadDir(dir.Join("fd"))
	if err != nil {
		return nil, err
	}
	set := map[hostpath.Path]bool{}
	for _, fd := range fds {
		target, err := l.root.Readlink(dir.Join("fd", fd.Name()))
		if err != nil {
			continue
		}
		if inode, ok := socketInode(target); ok {
			l.hold(inode, h)
			continue
		}
		if !strings.HasPrefix(target, "/") || len(set) >= maxWriting {
			continue
		}
		info, err := l.root.ReadFile(dir.Join("fdinfo", fd.Name()), maxSmall)
		if err == nil && opensForWriting(string(info)) {
			set[hostpath.Clean(target)] = true
		}
	}
	if maps, err := l.root.ReadFile(dir.Join("maps"), maxTable); err == nil {
		for _, p := range sharedMappings(string(maps)) {
			if len(set) < maxWriting {
				set[p] = true
			}
		}
	}
	var out []hostpath.Path
	for p := range set {
		// What was deleted, a device, or in another mount namespace is no file
		// of this host.
		if fi, err := l.root.Stat(p); err == nil && fi.Mode().IsRegular() {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, hostpath.Compare)
	return out, nil
}

// hold notes who has a socket. Process 1 holds those of socket units on behalf
// of services, so any other process goes before it.
func (l *looker) hold(inode uint64, h holder) {
	if old, ok := l.holders[inode]; (!ok || old.pid == 1) && (ok || len(l.holders) < maxSockets) {
		l.holders[inode] = h
	}
}

func socketInode(target string) (uint64, bool) {
	s, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 64)
	return n, err == nil
}

// opensForWriting reads the flags of /proc/PID/fdinfo/N, in octal.
func opensForWriting(info string) bool {
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(line, "flags:"); ok {
			flags, err := strconv.ParseUint(strings.TrimSpace(v), 8, 64)
			return err == nil && flags&unix.O_PATH == 0 && flags&unix.O_ACCMODE != unix.O_RDONLY
		}
	}
	return false
}

// sharedMappings are the files of /proc/PID/maps that are mapped shared and
// writable: what is written there reaches the file, also when it was closed.
func sharedMappings(maps string) []hostpath.Path {
	var out []hostpath.Path
	for line := range strings.Lines(maps) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), " ", 6)
		if len(f) < 6 || len(f[1]) < 4 || f[1][1] != 'w' || f[1][3] != 's' {
			continue
		}
		name := strings.TrimLeft(f[5], " ")
		if strings.HasPrefix(name, "/") && !strings.HasSuffix(name, " (deleted)") {
			// A newline in a name is written as \012 here.
			out = append(out, hostpath.Clean(strings.ReplaceAll(name, `\012`, "\n")))
		}
	}
	return out
}

func effectiveUID(status string) uint32 {
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, "Uid:"); ok {
			if f := strings.Fields(v); len(f) >= 2 {
				n, _ := strconv.ParseUint(f[1], 10, 32)
				return uint32(n)
			}
		}
	}
	return 0
}
