// Package atomicfile writes files that are either whole or not there.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write replaces name by data with the given permissions. A name has one writer
// at a time: the lock of the workspace sees to that. After a crash the
// file holds the old or the new content, never a part of it: the data goes to a
// temporary file in the same directory, is flushed, renamed over name, and the
// directory is flushed too (rename(2), fsync(2)).
func Write(name string, data []byte, perm os.FileMode) error {
	return WriteTo(name, perm, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteTo is [Write] for content that fill produces. When fill fails, name is
// left as it was.
func WriteTo(name string, perm os.FileMode, fill func(io.Writer) error) (err error) {
	dir := filepath.Dir(name)
	// The temporary name is always the same, so that what a kill left behind is
	// overwritten by the next attempt and never piles up.
	f, err := os.OpenFile(filepath.Join(dir, ".tmp-"+filepath.Base(name)), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", name, err)
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := f.Chmod(perm); err != nil {
		return err
	}
	if err := fill(f); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes renames and removals in dir durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
