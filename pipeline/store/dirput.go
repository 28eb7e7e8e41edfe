package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// write makes name an object.
func (d *Dir) write(ctx context.Context, name string, r io.ReaderAt, o Object) (err error) {
	if err := errors.Join(d.mkdirs(temporaryFolder), d.mkdirs(path.Dir(name)), d.mkdirs(path.Dir(path.Join(metaFolder, name)))); err != nil {
		return err
	}
	tmp := temporary(name)
	f, err := d.lock(tmp)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && context.Cause(ctx) == nil {
			d.root.Remove(tmp) // what was stopped is kept, what failed is not
		}
		err = errors.Join(err, f.Close())
	}()
	if err := fill(ctx, f, r, o); err != nil {
		return err
	}
	if err := d.remove(path.Join(metaFolder, name)); err != nil {
		return err
	}
	if err := d.move(tmp, name); err != nil {
		return err
	}
	return d.writeMeta(tmp+".meta", name, o)
}

// lock opens the temporary file for this process alone. It may hold what an
// earlier process wrote.
func (d *Dir) lock(tmp string) (*os.File, error) {
	for range 8 {
		f, err := d.root.OpenFile(tmp, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			return nil, errors.New("another process is writing it now")
		}
		// Whoever had the lock before may have moved the file to its place.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if there, err := d.root.Lstat(tmp); err == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close()
	}
	return nil, errors.New("other processes are writing it now")
}

// fill completes the content in f, checks it and flushes it. What f holds is
// taken as the beginning; when that turns out wrong, f is filled anew.
func fill(ctx context.Context, f *os.File, r io.ReaderAt, o Object) error {
	buf := make([]byte, block)
	h := sha256.New()
	have, err := beginning(ctx, f, h, o.Size, buf)
	if err != nil {
		return err
	}
	for {
		n, err := copyContext(ctx, io.MultiWriter(f, h), io.NewSectionReader(r, have, o.Size-have), buf)
		if err != nil {
			return err
		}
		sum := h.Sum(nil)
		switch {
		case have+n == o.Size && hex.EncodeToString(sum) == o.SHA256:
			return f.Sync()
		case have == 0 && n != o.Size:
			return fmt.Errorf("the source ends after %d of %d bytes: %w", n, o.Size, ErrMismatch)
		case have == 0:
			return mismatch(o.SHA256, sum)
		}
		if err := truncate(f); err != nil {
			return err
		}
		have = 0
		h.Reset()
	}
}

// beginning reads what f has from an earlier Put into h.
func beginning(ctx context.Context, f *os.File, h hash.Hash, size int64, buf []byte) (int64, error) {
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return 0, err
	}
	if fi.Size() > size {
		return 0, truncate(f)
	}
	return copyContext(ctx, h, f, buf)
}

func truncate(f *os.File) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.Seek(0, io.SeekStart)
	return err
}

func (d *Dir) writeMeta(tmp, name string, o Object) error {
	o.Name = name
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(o); err != nil {
		return err
	}
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		d.root.Remove(tmp)
		return err
	}
	return d.move(tmp, path.Join(metaFolder, name))
}

// move renames and makes it durable; rename(2) and fsync(2) of the directory.
func (d *Dir) move(from, to string) error {
	if err := d.root.Rename(from, to); err != nil {
		return err
	}
	return d.sync(path.Dir(to))
}

func (d *Dir) remove(name string) error {
	err := d.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.sync(path.Dir(name))
}

// mkdirs makes a folder and those above it, each durable.
func (d *Dir) mkdirs(dir string) error {
	if dir == "." {
		return nil
	}
	at := "."
	for _, e := range strings.Split(dir, "/") {
		parent := at
		at = path.Join(at, e)
		err := d.root.Mkdir(at, 0o700)
		if errors.Is(err, fs.ErrExist) {
			if fi, err := d.root.Lstat(at); err == nil && !fi.IsDir() {
				return fmt.Errorf("%s is an object, so nothing can be below it", at)
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := d.sync(parent); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
