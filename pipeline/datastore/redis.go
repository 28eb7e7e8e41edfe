package datastore

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// judgeRedis looks at each snapshot and append-only file. A server that was killed
// leaves whole files behind, too, which only lack what it did since: nothing in
// them tells that.
func judgeRedis(ctx context.Context, root *rootfs.Root, v *Verdict) error {
	if err := v.redisDir(ctx, root, v.Dir); err != nil {
		return err
	}
	list, err := root.ReadDir(v.Dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		// appenddirname, by what is in it.
		sub := v.Dir.Join(e.Name())
		if parts, err := root.ReadDir(sub); err != nil {
			return err
		} else if hasManifest(parts) {
			if err := v.redisDir(ctx, root, sub); err != nil {
				return err
			}
		}
	}
	return nil
}

func hasManifest(list []fs.DirEntry) bool {
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".manifest") {
			return true
		}
	}
	return false
}

func (v *Verdict) redisDir(ctx context.Context, root *rootfs.Root, dir hostpath.Path) error {
	list, err := root.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		p := dir.Join(e.Name())
		if !e.Type().IsRegular() {
			continue
		}
		switch ext := path.Ext(e.Name()); {
		case ext == ".rdb" && strings.HasPrefix(e.Name(), "temp-"), strings.HasPrefix(e.Name(), "temp-rewriteaof"):
			v.note(Unclean, p, "a snapshot or rewrite that was not finished")
		case ext == ".rdb":
			err = v.snapshot(ctx, root, p)
		case ext == ".aof":
			err = v.appendOnly(ctx, root, p)
		case ext == ".manifest":
			err = v.manifest(root, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// manifest finds files that are named and are not there. Its lines are "file NAME
// seq N type T" (aof.c of Redis 7).
func (v *Verdict) manifest(root *rootfs.Root, p hostpath.Path) error {
	data, err := root.ReadFile(p, 1<<20)
	if err != nil {
		return err
	}
	files := 0
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if len(f) < 6 || f[0] != "file" || strings.Contains(f[1], "/") {
			v.note(Unknown, p, "a line that is none of a manifest")
			return nil
		}
		if f[5] == "h" {
			continue // history, to be deleted
		}
		part := p.Dir().Join(strings.Trim(f[1], `"`))
		if found, err := exists(root, part); err != nil {
			return err
		} else if !found {
			v.note(Unclean, part, "the manifest names it, and it is not there")
		}
		files++
	}
	v.note(Clean, p, "names %d files", files)
	return nil
}

func (v *Verdict) snapshot(ctx context.Context, root *rootfs.Root, p hostpath.Path) error {
	f, err := root.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	state, fact, err := readRDB(ctx, f, info.Size())
	if err == nil {
		v.note(state, p, "%s, of %s", fact, info.ModTime().UTC().Format(time.RFC3339))
	}
	return err
}

func (v *Verdict) appendOnly(ctx context.Context, root *rootfs.Root, p hostpath.Path) error {
	f, err := root.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	state, fact, err := readAOF(ctx, f)
	if err == nil {
		v.note(state, p, "%s", fact)
	}
	return err
}
