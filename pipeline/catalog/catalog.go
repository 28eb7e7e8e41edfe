// Package catalog is inventory.db: one row per path of the source, the facts
// that the scan found, the claims, and the class of every path. It is an SQLite
// database with a documented schema, so that users can query it themselves.
package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"unicode/utf8"

	_ "modernc.org/sqlite" // the driver named "sqlite"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// ErrNoPath is returned for a path that the inventory does not have.
var ErrNoPath = errors.New("no such path in the inventory")

// State compares a path with what its package shipped.
type State string

// The states of a path that a package owns.
const (
	Same            State = "same"             // content as shipped
	Changed         State = "changed"          // content differs: patched, or made by a maintainer script over it
	ConffileSame    State = "conffile-same"    // configuration, as shipped
	ConffileChanged State = "conffile-changed" // configuration that somebody changed
	Unchecked       State = "unchecked"        // a directory or link, or the package has no sum for it
)

// Entry is one path of the source.
type Entry struct {
	ID int64 `json:"id"` // 1 is the root; depth first
	tree.Entry
	Package string `json:"package,omitempty"`
	State   State  `json:"state,omitempty"`
	Problem string `json:"problem,omitempty"` // why it could not be read
	FS      string `json:"fs,omitempty"`      // type of another file system mounted here
	Link    int64  `json:"link,omitempty"`    // ID of the first path of the same inode, when this is not it
}

// Bytes is what the path adds to a balance: the logical size of a regular
// file, counted once for each inode.
func (e Entry) Bytes() int64 {
	if e.Type != tree.Regular || e.Link != 0 {
		return 0
	}
	return e.Size
}

// Subject is what claims can ask about the entry.
func (e Entry) Subject() claim.Subject {
	return claim.Subject{Path: e.Path, Type: e.Type, Package: e.Package, State: string(e.State), Problem: e.Problem, FS: e.FS}
}

// Placed is an entry with its class.
type Placed struct {
	Entry
	Class claim.Class `json:"class"`
	Claim int64       `json:"claim"`
}

// Catalog is an open inventory. It is safe for concurrent use.
type Catalog struct {
	db *sql.DB
}

// Open opens an existing inventory. The caller closes it.
func Open(ctx context.Context, name string) (*Catalog, error) {
	if _, err := os.Stat(name); err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	db, err := connect(ctx, name)
	if err != nil {
		return nil, err
	}
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		db.Close()
		return nil, fmt.Errorf("inventory %s: %w", name, err)
	}
	if version != schemaVersion {
		db.Close()
		return nil, fmt.Errorf("inventory %s has schema %d, this statelift reads %d: scan again", name, version, schemaVersion)
	}
	return &Catalog{db: db}, nil
}

// connect opens the database with a bounded cache. The path is escaped, since
// the driver takes a URI, in which ? and # mean something.
func connect(ctx context.Context, name string) (*sql.DB, error) {
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: name}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(10000)", "synchronous(normal)", "temp_store(file)", "cache_size(-16000)"},
	}.Encode()}
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, fmt.Errorf("inventory %s: %w", name, err)
	}
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, fmt.Errorf("inventory %s: %w", name, err)
	}
	return db, nil
}

// Close closes the database.
func (c *Catalog) Close() error { return c.db.Close() }

// Meta reads a value that the scan or the split stored; ""
// when there is none.
func (c *Catalog) Meta(ctx context.Context, key string) (string, error) {
	var v string
	err := c.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key=?", key).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

// Facts reads all facts of a kind, ordered by name and then as they were found.
func Facts[T any](ctx context.Context, c *Catalog, kind facts.Kind) ([]T, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT data FROM facts WHERE kind=? ORDER BY name, id", string(kind))
	if err != nil {
		return nil, fmt.Errorf("facts %s: %w", kind, err)
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return nil, fmt.Errorf("facts %s: %w", kind, err)
		}
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, fmt.Errorf("facts %s: %w", kind, err)
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// Filter selects entries. The zero Filter selects all.
type Filter struct {
	Under hostpath.Path // only this path and what is below it
	Class claim.Class   // only this class
}

// Entries streams entries depth first. It reads in batches, so that the caller
// may write to the catalog while it iterates.
func (c *Catalog) Entries(ctx context.Context, f Filter) iter.Seq2[Placed, error] {
	return func(yield func(Placed, error) bool) {
		from := int64(0)
		if f.Under != "" && f.Under != hostpath.Root {
			e, err := c.Lookup(ctx, f.Under)
			if errors.Is(err, ErrNoPath) {
				return
			}
			if err != nil {
				yield(Placed{}, err)
				return
			}
			from = e.ID - 1
		}
		for {
			batch, err := c.batch(ctx, from, f.Class)
			if err != nil {
				yield(Placed{}, err)
				return
			}
			for _, e := range batch {
				if f.Under != "" && !e.Path.Within(f.Under) {
					return
				}
				if !yield(e, nil) {
					return
				}
			}
			if len(batch) < batchSize {
				return
			}
			from = batch[len(batch)-1].ID
		}
	}
}

// batchSize bounds the memory of a pass over all entries to a few MiB.
const batchSize = 4096

const columns = `e.id, e.path, e.type, e.mode, e.uid, e.gid, e.size, e.allocated, e.mtime, e.ctime, e.dev, e.ino,
	e.nlink, e.rdev, e.target, e.xattrs, e.package, e.state, e.problem, e.fs, e.link, p.class, p.claim
	FROM entries e LEFT JOIN placements p ON p.entry = e.id`

func (c *Catalog) batch(ctx context.Context, after int64, class claim.Class) ([]Placed, error) {
	query, args := "SELECT "+columns+" WHERE e.id > ? ORDER BY e.id LIMIT ?", []any{after, batchSize}
	if class != "" {
		query, args = "SELECT "+columns+" WHERE e.id > ? AND p.class = ? ORDER BY e.id LIMIT ?", []any{after, string(class), batchSize}
	}
	rows, err := c.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	out := make([]Placed, 0, 256)
	for rows.Next() {
		e, err := scanPlaced(rows)
		if err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		out = append(out, e)
	}
	return out, rows.Err()
}

// Lookup finds one path. ErrNoPath says that there is none.
func (c *Catalog) Lookup(ctx context.Context, p hostpath.Path) (Placed, error) {
	rows, err := c.db.QueryContext(ctx, "SELECT "+columns+" WHERE e.path = ?", text(string(p)))
	if err != nil {
		return Placed{}, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return Placed{}, errors.Join(rows.Err(), fmt.Errorf("%s: %w", p, ErrNoPath))
	}
	return scanPlaced(rows)
}

func scanPlaced(rows *sql.Rows) (Placed, error) {
	var (
		e                                        Placed
		path, target                             raw
		xattrs, pkg, state, problem, fsys, class sql.NullString
		link, claimID                            sql.NullInt64
		dev, ino, rdev                           int64
	)
	err := rows.Scan(&e.ID, &path, &e.Type, &e.Mode, &e.UID, &e.GID, &e.Size, &e.Allocated, &e.Mtime, &e.Ctime,
		&dev, &ino, &e.Nlink, &rdev, &target, &xattrs, &pkg, &state, &problem, &fsys, &link, &class, &claimID)
	if err != nil {
		return Placed{}, err
	}
	e.Path, e.Target = hostpath.Path(path), string(target)
	e.Dev, e.Ino, e.Rdev = uint64(dev), uint64(ino), uint64(rdev)
	e.Package, e.State, e.Problem, e.FS = pkg.String, State(state.String), problem.String, fsys.String
	e.Link, e.Class, e.Claim = link.Int64, claim.Class(class.String), claimID.Int64
	if xattrs.Valid {
		if err := json.Unmarshal([]byte(xattrs.String), &e.Xattrs); err != nil {
			return Placed{}, fmt.Errorf("%s: xattrs: %w", e.Path, err)
		}
	}
	return e, nil
}

// Tally is what a class holds.
type Tally struct {
	Class     claim.Class `json:"class"`
	Entries   int64       `json:"entries"`
	Files     int64       `json:"files"` // regular files by path
	Bytes     int64       `json:"bytes"`
	Allocated int64       `json:"allocated"`
}

// Tallies counts the entries of every class, and those without one under the
// class "".
func (c *Catalog) Tallies(ctx context.Context) ([]Tally, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT coalesce(p.class,''), count(*), sum(e.type='f'),
		sum(CASE WHEN e.type='f' AND e.link IS NULL THEN e.size ELSE 0 END),
		sum(CASE WHEN e.type='f' AND e.link IS NULL THEN e.allocated ELSE 0 END)
		FROM entries e LEFT JOIN placements p ON p.entry=e.id GROUP BY 1 ORDER BY 1`)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	var out []Tally
	for rows.Next() {
		var t Tally
		if err := rows.Scan(&t.Class, &t.Entries, &t.Files, &t.Bytes, &t.Allocated); err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

// Total counts all entries of the source, whatever their class.
func (c *Catalog) Total(ctx context.Context) (Tally, error) {
	var t Tally
	err := c.db.QueryRowContext(ctx, `SELECT count(*), coalesce(sum(type='f'),0),
		coalesce(sum(CASE WHEN type='f' AND link IS NULL THEN size ELSE 0 END),0),
		coalesce(sum(CASE WHEN type='f' AND link IS NULL THEN allocated ELSE 0 END),0) FROM entries`).
		Scan(&t.Entries, &t.Files, &t.Bytes, &t.Allocated)
	if err != nil {
		return t, fmt.Errorf("inventory: %w", err)
	}
	return t, nil
}

// Claims reads all claims in the order of their IDs.
func (c *Catalog) Claims(ctx context.Context) ([]claim.Claim, error) {
	rows, err := c.db.QueryContext(ctx, `SELECT id, class, reach, path, coalesce(condition,''), reason, coalesce(evidence,'[]'), confidence, by,
		authority, coalesce(serves,'') FROM claims ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	defer rows.Close()
	var out []claim.Claim
	for rows.Next() {
		var k claim.Claim
		var path raw
		var evidence []byte
		if err := rows.Scan(&k.ID, &k.Class, &k.Reach, &path, &k.When, &k.Reason, &evidence, &k.Confidence, &k.By, &k.Authority, &k.Serves); err != nil {
			return nil, fmt.Errorf("claims: %w", err)
		}
		k.Path = hostpath.Path(path)
		if err := json.Unmarshal(evidence, &k.Evidence); err != nil {
			return nil, fmt.Errorf("claim %d: %w", k.ID, err)
		}
		out = append(out, k)
	}
	return out, rows.Err()
}

// Query runs a statement of the caller's own that reads, for questions that
// only one stage has. The caller closes the rows.
func (c *Catalog) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return c.db.QueryContext(ctx, query, args...)
}

// raw scans TEXT and BLOB alike.
type raw string

// Scan implements sql.Scanner.
func (r *raw) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*r = ""
	case string:
		*r = raw(v)
	case []byte:
		*r = raw(v)
	default:
		return fmt.Errorf("unexpected %T for bytes", v)
	}
	return nil
}

// text stores UTF-8 as TEXT and other bytes as BLOB, so that users can compare
// ordinary paths with ordinary strings.
func text(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return []byte(s)
}

// null stores "" as NULL.
func null(s string) any {
	if s == "" {
		return nil
	}
	return text(s)
}
