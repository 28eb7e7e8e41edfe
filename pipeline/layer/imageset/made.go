package imageset

import (
	"context"
	"errors"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/tree"
)

// virtual are the places that a runtime mounts something over, with the modes
// they need where the host does not say.
var virtual = map[hostpath.Path]uint32{"/dev": 0o755, "/proc": 0o555, "/run": 0o755, "/sys": 0o555, "/tmp": 0o1777}

// skeleton are directories that programs expect to be there, taken with owner
// and mode from the host when it has them (Filesystem Hierarchy Standard 3.0).
var skeleton = []hostpath.Path{
	"/home", "/media", "/mnt", "/opt", "/root", "/srv",
	"/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp",
}

// makeHost adds what all images get: empty places, and the accounts.
func (d *drawing) makeHost(ctx context.Context) error {
	b := d.bins[d.local]
	for p, mode := range virtual {
		i := directory(p, mode)
		e, ok, err := d.lookup(ctx, p)
		if err != nil {
			return err
		}
		if ok && e.Type != tree.Directory {
			continue // a link somewhere else
		}
		if ok && e.FS == "" {
			i.Mode, i.UID, i.GID = e.Mode, e.UID, e.GID
		}
		b.want(i)
	}
	for _, p := range skeleton {
		e, ok, err := d.lookup(ctx, p)
		if err != nil {
			return err
		}
		if ok && e.Type == tree.Directory {
			b.want(leading(e))
		}
	}
	return d.makeAccounts(ctx, b)
}

// makeWorkload adds what one workload needs beyond files of class image: the
// directories that something is mounted at, the home of its users, and links
// that lead logs to the container's output.
func (d *drawing) makeWorkload(ctx context.Context, b *bin, w handoff.Workload) error {
	for _, v := range w.Mounts {
		for _, dir := range v.Dirs {
			i := directory(dir.Path, dir.Mode)
			i.UID, i.GID = dir.UID, dir.GID
			if err := d.wantDir(ctx, b, dir.Path, &i); err != nil {
				return err
			}
		}
	}
	for _, c := range w.Containers {
		for _, m := range c.Mounts {
			at := m.Path
			if e, ok, err := d.find(ctx, m.Path); err != nil {
				return err
			} else if ok && e.Type != tree.Directory || !ok && m.SubPath != "" && fileOrigin(w, m) {
				at = m.Path.Dir()
			}
			i := directory(at, 0o755)
			if err := d.wantDir(ctx, b, at, &i); err != nil {
				return err
			}
		}
		if c.WorkDir != "" {
			if err := d.wantDir(ctx, b, c.WorkDir, nil); err != nil {
				return err
			}
		}
		for _, u := range d.users {
			if u.UID != c.UID {
				continue
			}
			if err := d.wantDir(ctx, b, u.Home, nil); err != nil {
				return err
			}
		}
		if err := d.wantLogLinks(ctx, b, c); err != nil {
			return err
		}
	}
	return nil
}

// fileOrigin reports whether the mount m of w brings a single file.
func fileOrigin(w handoff.Workload, m handoff.Mount) bool {
	for _, v := range w.Mounts {
		if v.Name == m.Volume {
			return v.Origin == handoff.FromConfig || v.Origin == handoff.FromSecret
		}
	}
	return false
}

// wantLogLinks makes the log files of a container lead to its output, where the
// host has the directory that they are in.
func (d *drawing) wantLogLinks(ctx context.Context, b *bin, c handoff.Container) error {
	for log, target := range c.LogLinks {
		dir, e, ok, err := d.resolve(ctx, log.Dir())
		if err != nil {
			return err
		}
		if !ok || e.Type != tree.Directory {
			continue
		}
		i := layer.Item{Role: layer.Made, Entry: tree.Entry{
			Path: dir.Join(log.Base()), Type: tree.Symlink, Mode: 0o777, Target: target, Size: int64(len(target)),
		}}
		b.want(i)
	}
	return nil
}

// wantDir adds the directory at p, as on the host; else as fallback says, or
// not at all when that is nil.
func (d *drawing) wantDir(ctx context.Context, b *bin, p hostpath.Path, fallback *layer.Item) error {
	at, e, ok, err := d.resolve(ctx, p)
	switch {
	case err != nil:
		return err
	case ok && e.Type == tree.Directory:
		b.want(leading(e))
	case !ok && fallback != nil:
		fallback.Path = at
		b.want(*fallback)
	}
	return nil
}

// parent is the item of a directory that leads to others. Most are on the way
// to the entry that is being placed, and need no look-up.
func (d *drawing) parent(ctx context.Context, p hostpath.Path) (layer.Item, error) {
	for _, e := range d.way {
		if e.Path == p {
			return leading(e), nil
		}
	}
	e, ok, err := d.lookup(ctx, p)
	if err != nil {
		return layer.Item{}, err
	}
	if !ok || e.Type != tree.Directory {
		return directory(p, 0o755), nil
	}
	return leading(e), nil
}

// leading is a directory of the host that is there for what is below it. One
// that is not of class image brings no time: data that the host writes there
// must change no image. Of a file system that was mounted there nothing is taken
// but owner and mode.
func leading(e catalog.Placed) layer.Item {
	i := layer.Item{Role: layer.Parent, Entry: e.Entry.Entry}
	if e.Class != claim.Image {
		i.Mtime = 0
	}
	if e.FS != "" {
		i.Mtime, i.Xattrs = 0, nil
	}
	if mode, ok := virtual[e.Path]; ok && e.FS != "" {
		i.Mode, i.UID, i.GID = mode, 0, 0
	}
	// What no layer tells must not make plans differ.
	i.Ctime, i.Dev, i.Ino, i.Nlink, i.Allocated = 0, 0, 0, 0, 0
	return i
}

func directory(p hostpath.Path, mode uint32) layer.Item {
	return layer.Item{Role: layer.Made, Entry: tree.Entry{Path: p, Type: tree.Directory, Mode: mode}}
}

func (d *drawing) lookup(ctx context.Context, p hostpath.Path) (catalog.Placed, bool, error) {
	e, err := d.Catalog.Lookup(ctx, p)
	if errors.Is(err, catalog.ErrNoPath) {
		return e, false, nil
	}
	return e, err == nil, err
}

// find is the entry that p leads to.
func (d *drawing) find(ctx context.Context, p hostpath.Path) (catalog.Placed, bool, error) {
	_, e, ok, err := d.resolve(ctx, p)
	return e, ok, err
}

// maxLinks is how many symlinks a path may lead through (path_resolution(7)).
const maxLinks = 40

// resolve follows the symlinks of the host from p, in the inventory. Where the
// host has nothing more, the rest of the path is as it was asked for.
func (d *drawing) resolve(ctx context.Context, p hostpath.Path) (hostpath.Path, catalog.Placed, bool, error) {
	at := hostpath.Root
	todo := strings.Split(p.Rel(), "/")
	links := 0
	for len(todo) > 0 {
		elem := todo[0]
		todo = todo[1:]
		switch elem {
		case "", ".":
			continue
		case "..":
			at = at.Dir()
			continue
		}
		e, ok, err := d.lookup(ctx, at.Join(elem))
		if err != nil {
			return "", e, false, err
		}
		if !ok {
			return at.Join(append([]string{elem}, todo...)...), e, false, nil
		}
		if e.Type != tree.Symlink {
			at = e.Path
			continue
		}
		if links++; links > maxLinks {
			return p, e, false, nil
		}
		if strings.HasPrefix(e.Target, "/") {
			at = hostpath.Root
		}
		todo = append(strings.Split(e.Target, "/"), todo...)
	}
	e, ok, err := d.lookup(ctx, at)
	return at, e, ok, err
}
