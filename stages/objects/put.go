package objects

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/store"
)

// mark is what the ledger holds of a stored object: the digest of a file with
// exactly this size, times and inode.
type mark struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Mtime  int64  `json:"mtime"`
	Ctime  int64  `json:"ctime"`
	Ino    uint64 `json:"ino"`
}

func markOf(e catalog.Placed, sum string) mark {
	return mark{SHA256: sum, Size: e.Size, Mtime: e.Mtime, Ctime: e.Ctime, Ino: e.Ino}
}

func (r *run) item(p hostpath.Path) string { return r.store.String() + " " + p.String() }

// put stores one file and returns its digest. What an earlier run stored is
// asked of the store, not believed, but for what the index before this round has,
// whose digest is known.
func (r *run) put(ctx context.Context, files *content.Reader, e catalog.Placed, known string) (sum string, err error) {
	sum, ok, err := r.stored(ctx, e, known)
	if err != nil {
		return "", err
	}
	if ok && !r.doubts {
		r.Progress.Add(e.Bytes())
		return sum, nil
	}
	f, err := files.Open(e.Entry.Entry)
	if err != nil {
		return "", err
	}
	defer f.Close()
	// What cannot be flushed is not trusted, see remember.
	if err := f.Flush(ctx, r.mark); ctx.Err() != nil {
		return "", err
	}
	// The store wants the digest before the content, so a file is read twice;
	// the second time it mostly comes from memory.
	h := sha256.New()
	if err := f.Copy(ctx, h); err != nil {
		return "", err
	}
	sum = hex.EncodeToString(h.Sum(nil))
	told := &teller{r: f, tell: r.Progress.Add}
	told.left.Store(e.Bytes())
	reused, err := r.store.Put(ctx, Name(e.Path), told, store.Object{Size: e.Size, SHA256: sum})
	if err != nil {
		// Not what was hashed a moment ago: it changed, or the store says why.
		if c := f.Unchanged(); c != nil && errors.Is(err, store.ErrMismatch) {
			return "", c
		}
		return "", fmt.Errorf("%s: %w", e.Path, err)
	}
	told.rest()
	if r.round != nil && !reused {
		r.round.sent.Add(e.Size)
	}
	return sum, r.remember(ctx, e, sum)
}

// stored looks up the digest of a file that has not changed since an earlier run
// stored it, and asks the store whether it has that.
func (r *run) stored(ctx context.Context, e catalog.Placed, known string) (sum string, ok bool, err error) {
	text, ok, err := r.Ledger.Lookup(ctx, r.item(e.Path))
	if err != nil || !ok {
		return "", false, err
	}
	var m mark
	if json.Unmarshal([]byte(text), &m) != nil || m != markOf(e, m.SHA256) {
		return "", false, nil
	}
	if known == m.SHA256 {
		return known, true, nil
	}
	have, err := r.store.Stat(ctx, Name(e.Path))
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrMismatch):
		return "", false, nil
	case err != nil:
		return "", false, err
	}
	return m.SHA256, have.Size == e.Size && have.SHA256 == m.SHA256, nil
}

// remember spares the next run the reading of a file that looks the same then. One
// that may look the same though it was written to is read again.
func (r *run) remember(ctx context.Context, e catalog.Placed, sum string) error {
	if !r.mark.Trusts(e.Dev, e.Ctime) {
		return nil
	}
	data, err := json.Marshal(markOf(e, sum))
	if err != nil {
		return err
	}
	return r.Ledger.Commit(ctx, r.item(e.Path), string(data))
}

// link finds the object of a further path of an inode: that of the first path,
// when it is an object too and was stored, else one of its own.
func (r *run) link(ctx context.Context, files *content.Reader, e catalog.Placed) (name, sum string, err error) {
	first, ok, err := r.path(ctx, e.Link)
	if err != nil {
		return "", "", err
	}
	if ok {
		of := e
		of.Path = first
		sum, ok, err := r.stored(ctx, of, "")
		if err != nil || ok {
			return Name(first), sum, err
		}
	}
	sum, err = r.put(ctx, files, e, "")
	return Name(e.Path), sum, err
}

// path is the path of an entry of class object.
func (r *run) path(ctx context.Context, id int64) (p hostpath.Path, ok bool, err error) {
	rows, err := r.cat.Query(ctx, `SELECT CAST(e.path AS BLOB) FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last
		WHERE e.id = ?1 AND p.entry <= ?1 AND p.last >= ?1 AND p.class = ?2`, id, string(claim.Object))
	if err != nil {
		return "", false, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return "", false, rows.Err()
	}
	var raw sql.RawBytes
	if err := rows.Scan(&raw); err != nil {
		return "", false, fmt.Errorf("inventory: %w", err)
	}
	return hostpath.Path(raw), true, nil
}

// teller tells the progress of what is read, once, whatever is read twice.
type teller struct {
	r    io.ReaderAt
	left atomic.Int64
	tell func(int64)
}

func (t *teller) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.r.ReadAt(p, off)
	t.count(int64(n))
	return n, err
}

func (t *teller) count(n int64) {
	for {
		left := t.left.Load()
		if n = min(n, left); n == 0 {
			return
		}
		if t.left.CompareAndSwap(left, left-n) {
			t.tell(n)
			return
		}
	}
}

// rest tells what the store had already.
func (t *teller) rest() { t.count(t.left.Load()) }
