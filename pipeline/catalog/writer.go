package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"strconv"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Writer makes a new inventory beside the old one and replaces it when it is
// complete. It is for one goroutine.
type Writer struct {
	name, temp string
	db         *sql.DB
	tx         *sql.Tx
	entry      *sql.Stmt
	fact       *sql.Stmt
	last       hostpath.Path
	count      int64
	digest     hash.Hash
	line       []byte
}

// Create begins an inventory that will be at name. The caller ends it with
// Commit or Abort.
func Create(ctx context.Context, name string) (_ *Writer, err error) {
	temp := filepath.Join(filepath.Dir(name), ".new-"+filepath.Base(name))
	if err := remove(temp); err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	// The file is made here, for SQLite would make it readable for the world.
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	f.Close()
	w := &Writer{name: name, temp: temp, digest: sha256.New()}
	defer func() {
		if err != nil {
			w.Abort()
			err = fmt.Errorf("inventory %s: %w", name, err)
		}
	}()
	if w.db, err = connect(ctx, temp); err != nil {
		return nil, err
	}
	w.db.SetMaxOpenConns(1)
	// The file is thrown away after a crash, so it needs neither a journal nor
	// a flush before the end.
	setup := fmt.Sprintf("PRAGMA journal_mode=off; PRAGMA synchronous=off; PRAGMA user_version=%d;", schemaVersion) + schema
	if _, err := w.db.ExecContext(ctx, setup); err != nil {
		return nil, err
	}
	if w.tx, err = w.db.BeginTx(ctx, nil); err != nil {
		return nil, err
	}
	if w.entry, err = w.tx.PrepareContext(ctx, `INSERT INTO entries
		(id,path,type,mode,uid,gid,size,allocated,mtime,ctime,dev,ino,nlink,rdev,target,xattrs,package,state,problem,fs)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`); err != nil {
		return nil, err
	}
	w.fact, err = w.tx.PrepareContext(ctx, "INSERT INTO facts (kind,name,path,line,data) VALUES (?,?,?,?,?)")
	return w, err
}

// Add appends an entry. Entries come depth first ([hostpath.Compare]); the ID
// and Link of e are given by the catalog.
func (w *Writer) Add(ctx context.Context, e Entry) error {
	if w.count > 0 && hostpath.Compare(w.last, e.Path) >= 0 {
		return fmt.Errorf("inventory: %s after %s: entries must come depth first", e.Path, w.last)
	}
	w.count++
	w.last = e.Path
	var xattrs any
	if len(e.Xattrs) > 0 {
		data, err := json.Marshal(e.Xattrs)
		if err != nil {
			return fmt.Errorf("inventory: %s: xattrs: %w", e.Path, err)
		}
		xattrs = string(data)
	}
	w.line = e.AppendLine(w.line[:0])
	w.digest.Write(w.line)
	_, err := w.entry.ExecContext(ctx, w.count, text(string(e.Path)), string(e.Type), e.Mode, e.UID, e.GID, e.Size, e.Allocated,
		e.Mtime, e.Ctime, int64(e.Dev), int64(e.Ino), e.Nlink, int64(e.Rdev), null(e.Target), xattrs,
		null(e.Package), null(string(e.State)), null(e.Problem), null(e.FS))
	if err != nil {
		return fmt.Errorf("inventory: %s: %w", e.Path, err)
	}
	return nil
}

// AppendLine appends all that the scan knows of the entry, for digests: equal
// lines, equal entries. ID and Link are no part of it.
func (e Entry) AppendLine(b []byte) []byte {
	for _, s := range []string{string(e.Path), string(e.Type), e.Target, e.Package, string(e.State), e.Problem, e.FS} {
		b = append(append(b, s...), 0)
	}
	for _, n := range []int64{
		int64(e.Mode), int64(e.UID), int64(e.GID), e.Size, e.Allocated, e.Mtime, e.Ctime,
		int64(e.Dev), int64(e.Ino), int64(e.Nlink), int64(e.Rdev), int64(len(e.Xattrs)),
	} {
		b = append(strconv.AppendInt(b, n, 10), ' ')
	}
	for _, x := range e.Xattrs {
		b = append(append(b, x.Name...), 0)
		b = append(strconv.AppendInt(b, int64(len(x.Value)), 10), ' ')
		b = append(b, x.Value...)
	}
	return append(b, '\n')
}

// AddFact stores v, one of the types of package facts, under its kind.
func (w *Writer) AddFact(ctx context.Context, kind facts.Kind, name string, src facts.Source, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("fact %s %s: %w", kind, name, err)
	}
	fmt.Fprintf(w.digest, "fact %s\x00%s\x00%s\n", kind, name, data)
	if _, err := w.fact.ExecContext(ctx, string(kind), name, null(string(src.Path)), src.Line, string(data)); err != nil {
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
	digest = hex.EncodeToString(w.digest.Sum(nil))
	if _, err := w.tx.ExecContext(ctx, "INSERT INTO meta VALUES (?,?)", MetaDigest, digest); err != nil {
		return "", err
	}
	if err := w.tx.Commit(); err != nil {
		return "", err
	}
	w.tx = nil
	if _, err := w.db.ExecContext(ctx, indexes); err != nil {
		return "", err
	}
	if err := w.db.Close(); err != nil {
		return "", err
	}
	w.db = nil
	if err := syncFile(w.temp); err != nil {
		return "", err
	}
	// A journal of the old inventory must not be played onto the new one.
	if err := remove(w.name); err != nil {
		return "", err
	}
	if err := os.Rename(w.temp, w.name); err != nil {
		return "", err
	}
	return digest, atomicfile.SyncDir(filepath.Dir(w.name))
}

// Abort throws the new inventory away. It does nothing after Commit.
func (w *Writer) Abort() {
	if w.tx != nil {
		w.tx.Rollback()
		w.tx = nil
	}
	if w.db != nil {
		w.db.Close()
		w.db = nil
		remove(w.temp)
	}
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

func syncFile(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Placement replaces all claims and classes in one transaction: after a crash
// the old ones are there, or the new ones.
type Placement struct {
	tx     *sql.Tx
	conn   *sql.Conn
	claim  *sql.Stmt
	place  *sql.Stmt
	digest hash.Hash
}

// BeginPlacement discards the old claims within the transaction that it opens.
// The caller ends it with Commit or Abort. The catalog may be read meanwhile
// and shows the old classes.
func (c *Catalog) BeginPlacement(ctx context.Context) (*Placement, error) {
	// WAL lets the pass over the entries read while classes are written.
	if _, err := c.db.ExecContext(ctx, "PRAGMA journal_mode=wal"); err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	conn, err := c.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	p := &Placement{conn: conn, digest: sha256.New()}
	if p.tx, err = conn.BeginTx(ctx, nil); err == nil {
		_, err = p.tx.ExecContext(ctx, "DELETE FROM placements; DELETE FROM claims;")
	}
	if err == nil {
		p.claim, err = p.tx.PrepareContext(ctx, "INSERT INTO claims (id,class,reach,path,condition,reason,evidence,confidence,by,authority,serves) VALUES (?,?,?,?,?,?,?,?,?,?,?)")
	}
	if err == nil {
		p.place, err = p.tx.PrepareContext(ctx, "INSERT INTO placements (entry,class,claim) VALUES (?,?,?)")
	}
	if err != nil {
		p.Abort()
		return nil, fmt.Errorf("claims: %w", err)
	}
	return p, nil
}

// Claim stores k under its ID, which the caller gives and which is unique.
func (p *Placement) Claim(ctx context.Context, k claim.Claim) error {
	evidence, err := json.Marshal(k.Evidence)
	if err != nil {
		return fmt.Errorf("claim %d: %w", k.ID, err)
	}
	fmt.Fprintf(p.digest, "claim %d\x00%s\x00%s\x00%s\x00%s\x00%s\x00%s\x00%s\x00%s\x00%d\x00%s\n", k.ID, k.Class, k.Reach, k.Path, k.When, k.Reason, evidence, k.Confidence, k.By, k.Authority, k.Serves)
	if _, err := p.claim.ExecContext(ctx, k.ID, string(k.Class), string(k.Reach), text(string(k.Path)), null(k.When), k.Reason, string(evidence), string(k.Confidence), k.By, int(k.Authority), null(k.Serves)); err != nil {
		return fmt.Errorf("claim %d on %s: %w", k.ID, k.Path, err)
	}
	return nil
}

// Place gives the entry its class by the claim that won. Every entry is placed
// exactly once.
func (p *Placement) Place(ctx context.Context, entry int64, class claim.Class, claimID int64) error {
	fmt.Fprintf(p.digest, "%d %s %d\n", entry, class, claimID)
	if _, err := p.place.ExecContext(ctx, entry, string(class), claimID); err != nil {
		return fmt.Errorf("place entry %d: %w", entry, err)
	}
	return nil
}

// MetaPlacements is the key under which Commit stores the digest of the claims
// and classes.
const MetaPlacements = "placements"

// Commit makes the classes durable and returns the SHA-256 over claims and
// classes, in hexadecimal.
func (p *Placement) Commit(ctx context.Context) (string, error) {
	digest := hex.EncodeToString(p.digest.Sum(nil))
	_, err := p.tx.ExecContext(ctx, "INSERT INTO meta VALUES (?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", MetaPlacements, digest)
	if err == nil {
		err = p.tx.Commit()
	}
	if err != nil {
		p.Abort()
		return "", fmt.Errorf("claims: %w", err)
	}
	p.tx = nil
	if _, err := p.conn.ExecContext(ctx, "PRAGMA wal_checkpoint(truncate)"); err != nil {
		return "", fmt.Errorf("claims: %w", err)
	}
	return digest, p.conn.Close()
}

// Abort undoes everything. It does nothing after Commit.
func (p *Placement) Abort() {
	if p.tx != nil {
		p.tx.Rollback()
		p.tx = nil
	}
	p.conn.Close()
}
