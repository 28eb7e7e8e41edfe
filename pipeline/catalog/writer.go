package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/catalog/pages"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Writer makes a new inventory beside the old one and replaces it when it is
// complete. It is for one goroutine.
type Writer struct {
	name, temp string
	file       *os.File
	out        *pages.Writer
	entries    *pages.Table
	facts      *pages.Table
	mounted    *pages.Table
	linked     *pages.Table
	row        pages.Row
	last       hostpath.Path
	factCount  int64
	linkCount  int64
	total      Tally
	digest     hash.Hash // of the entries
	factDigest hash.Hash
}

// Create begins an inventory that will be at name. The caller ends it with
// Commit or Abort.
func Create(_ context.Context, name string) (_ *Writer, err error) {
	w := &Writer{name: name, temp: filepath.Join(filepath.Dir(name), ".new-"+filepath.Base(name)), digest: sha256.New(), factDigest: sha256.New()}
	defer func() {
		if err != nil {
			w.Abort()
			err = fmt.Errorf("inventory %s: %w", name, err)
		}
	}()
	if err := remove(w.temp); err != nil {
		return nil, err
	}
	if w.file, err = os.OpenFile(w.temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	if w.out, err = pages.NewWriter(&ahead{File: w.file}); err != nil {
		return nil, err
	}
	w.entries = w.out.Table("entries", entriesTable)
	w.facts = w.out.Table("facts", factsTable)
	w.mounted = w.out.Table("mounted", mountedTable)
	w.linked = w.out.Table("linked", linkedTable)
	return w, nil
}

// Add appends an entry. Entries come depth first ([hostpath.Compare]); the ID
// and Link of e are given by the catalog.
func (w *Writer) Add(_ context.Context, e Entry) error {
	if w.total.Entries > 0 && hostpath.Compare(w.last, e.Path) >= 0 {
		return fmt.Errorf("inventory: %s after %s: entries must come depth first", e.Path, w.last)
	}
	w.last = e.Path
	e.Link = 0
	w.total.add(&e)
	if err := encode(&w.row, &e); err != nil {
		return fmt.Errorf("inventory: %s: %w", e.Path, err)
	}
	data, err := w.entries.Append(w.total.Entries, &w.row)
	if err != nil {
		return fmt.Errorf("inventory: %s: %w", e.Path, err)
	}
	w.digest.Write(data)
	if e.FS != "" {
		w.row.Reset()
		w.row.Null()
		if _, err := w.mounted.Append(w.total.Entries, &w.row); err != nil {
			return fmt.Errorf("inventory: %s: %w", e.Path, err)
		}
	}
	if e.Nlink < 2 || e.Type != tree.Regular {
		return nil
	}
	w.linkCount++
	w.row.Reset()
	w.row.Null()
	w.row.Int(int64(e.Dev))
	w.row.Int(int64(e.Ino))
	if _, err := w.linked.Append(w.total.Entries, &w.row); err != nil {
		return fmt.Errorf("inventory: %s: %w", e.Path, err)
	}
	return nil
}

// encode makes the row of an entry, without its ID and Link.
func encode(r *pages.Row, e *Entry) error {
	r.Reset()
	r.Null()
	putText(r, string(e.Path))
	r.Text(string(e.Type))
	for _, n := range [...]int64{
		int64(e.Mode), int64(e.UID), int64(e.GID), e.Size, e.Allocated, e.Mtime, e.Ctime, int64(e.Dev), int64(e.Ino), int64(e.Nlink), int64(e.Rdev),
	} {
		r.Int(n)
	}
	putOptional(r, e.Target)
	xattrs := ""
	if len(e.Xattrs) > 0 {
		data, err := json.Marshal(e.Xattrs)
		if err != nil {
			return fmt.Errorf("xattrs: %w", err)
		}
		xattrs = string(data)
	}
	for _, s := range [...]string{xattrs, e.Package, string(e.State), e.Problem, e.FS} {
		putOptional(r, s)
	}
	r.Null()
	return nil
}

// putText stores UTF-8 as TEXT and other bytes as BLOB, so that users can compare
// ordinary paths with ordinary strings.
func putText(r *pages.Row, s string) {
	if utf8.ValidString(s) {
		r.Text(s)
	} else {
		r.Blob(s)
	}
}

// putOptional stores "" as NULL.
func putOptional(r *pages.Row, s string) {
	if s == "" {
		r.Null()
	} else {
		putText(r, s)
	}
}

// AddFact stores v, one of the types of package facts, under its kind.
func (w *Writer) AddFact(_ context.Context, kind facts.Kind, name string, src facts.Source, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("fact %s %s: %w", kind, name, err)
	}
	fmt.Fprintf(w.factDigest, "%s\x00%s\x00%s\n", kind, name, data)
	w.factCount++
	r := &w.row
	r.Reset()
	r.Null()
	r.Text(string(kind))
	r.Text(name)
	putOptional(r, string(src.Path))
	r.Int(int64(src.Line))
	r.Text(string(data))
	if _, err := w.facts.Append(w.factCount, r); err != nil {
		return fmt.Errorf("fact %s %s: %w", kind, name, err)
	}
	return nil
}

// MetaDigest is the key under which Commit stores the digest.
const MetaDigest = "digest"

// Commit completes the inventory, puts it in place, and returns the SHA-256
// over everything that was added, in hexadecimal: equal digests, equal source.
func (w *Writer) Commit(ctx context.Context) (digest string, err error) {
	defer func() {
		if err != nil {
			w.Abort()
			err = fmt.Errorf("inventory %s: %w", w.name, err)
		}
	}()
	w.digest.Write(w.factDigest.Sum(nil))
	digest = hex.EncodeToString(w.digest.Sum(nil))
	if err := w.out.Finish(schemaVersion); err != nil {
		return "", err
	}
	if err := w.complete(ctx, digest); err != nil {
		return "", err
	}
	if err := w.file.Sync(); err != nil {
		return "", err
	}
	// A journal of the old inventory must not be played onto the new one.
	if err := remove(w.name); err != nil {
		return "", err
	}
	if err := os.Rename(w.temp, w.name); err != nil {
		return "", err
	}
	err = w.file.Close()
	w.file = nil
	return digest, errors.Join(err, atomicfile.SyncDir(filepath.Dir(w.name)))
}

// complete adds what SQLite makes of the tables. The file is thrown away after a
// crash, so it needs neither a journal nor a flush before the end.
func (w *Writer) complete(ctx context.Context, digest string) (err error) {
	db, err := connect(ctx, w.temp)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "PRAGMA journal_mode=off; PRAGMA synchronous=off; BEGIN;"+schema); err != nil {
		return err
	}
	if w.linkCount > 0 {
		if _, err := db.ExecContext(ctx, findLinks); err != nil {
			return err
		}
		var twice Tally
		row := db.QueryRowContext(ctx, `SELECT coalesce(sum(size),0), coalesce(sum(allocated),0) FROM entries
			WHERE id IN (SELECT id FROM linked) AND link IS NOT NULL`)
		if err := row.Scan(&twice.Bytes, &twice.Allocated); err != nil {
			return err
		}
		w.total.Bytes -= twice.Bytes
		w.total.Allocated -= twice.Allocated
	}
	total := fmt.Sprintf("%d %d %d %d", w.total.Entries, w.total.Files, w.total.Bytes, w.total.Allocated)
	_, err = db.ExecContext(ctx, "DROP TABLE linked; INSERT INTO meta VALUES (?,?), (?,?); COMMIT", MetaDigest, digest, metaTotal, total)
	return err
}

// Abort throws the new inventory away. It does nothing after Commit.
func (w *Writer) Abort() {
	if w.file != nil {
		w.file.Close()
		w.file = nil
		remove(w.temp)
	}
}

// ahead has the system begin to write what was written, so that little is left
// to wait for at the end. That is a hint, whose failure tells nothing.
type ahead struct {
	*os.File
	written, begun int64
}

const aheadStep = 16 << 20

// Write implements io.Writer.
func (a *ahead) Write(b []byte) (int, error) {
	n, err := a.File.Write(b)
	if a.written += int64(n); a.written-a.begun >= aheadStep {
		_ = unix.SyncFileRange(int(a.File.Fd()), a.begun, a.written-a.begun, unix.SYNC_FILE_RANGE_WRITE)
		a.begun = a.written
	}
	return n, err
}

func remove(name string) error {
	var errs []error
	for _, suffix := range []string{"", "-journal", "-wal", "-shm"} {
		if err := os.Remove(name + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
