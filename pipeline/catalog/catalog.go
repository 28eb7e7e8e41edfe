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
	"maps"
	"net/url"
	"os"
	"slices"
	"unicode/utf8"

	_ "modernc.org/sqlite" // the driver named "sqlite"

	"github.com/statelift/statelift/pipeline/catalog/pages"
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
	db      *sql.DB
	file    *os.File
	entries *pages.Reader
	last    int64 // the highest ID of an entry
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
	c := &Catalog{db: db}
	if err := c.open(ctx, name); err != nil {
		c.Close()
		return nil, fmt.Errorf("inventory %s: %w", name, err)
	}
	return c, nil
}

// open finds the table of entries, which is read past SQLite: it never changes
// once the inventory is in its place.
func (c *Catalog) open(ctx context.Context, name string) error {
	var root int64
	err := c.db.QueryRowContext(ctx, "SELECT rootpage, (SELECT coalesce(max(id), 0) FROM entries) FROM sqlite_schema WHERE name = 'entries'").Scan(&root, &c.last)
	if err != nil {
		return err
	}
	if c.file, err = os.Open(name); err != nil {
		return err
	}
	c.entries, err = pages.NewReader(c.file, root)
	return err
}

// connect opens the database with a bounded cache. The path is escaped, since
// the driver takes a URI, in which ? and # mean something.
func connect(ctx context.Context, name string) (*sql.DB, error) {
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: name}).EscapedPath(), RawQuery: url.Values{
		// An index made for one query costs more than the query: see placements.
		"_pragma": {"busy_timeout(10000)", "synchronous(normal)", "temp_store(file)", "cache_size(-16000)", "automatic_index(off)"},
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

// Close closes the database. The file is closed after it, since that drops the
// locks that SQLite holds on it (fcntl(2)).
func (c *Catalog) Close() error {
	err := c.db.Close()
	if c.file != nil {
		err = errors.Join(err, c.file.Close())
	}
	return err
}

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

// Tally is what a class holds.
type Tally struct {
	Class     claim.Class `json:"class"`
	Entries   int64       `json:"entries"`
	Files     int64       `json:"files"` // regular files by path
	Bytes     int64       `json:"bytes"`
	Allocated int64       `json:"allocated"`
}

// Tallies counts the entries of every class, and those without one under the
// class "". They come in the order of their classes.
func (c *Catalog) Tallies(ctx context.Context) ([]Tally, error) {
	sums := map[claim.Class]*Tally{}
	for e, err := range c.Entries(ctx, Filter{}) {
		if err != nil {
			return nil, err
		}
		t := sums[e.Class]
		if t == nil {
			t = &Tally{Class: e.Class}
			sums[e.Class] = t
		}
		t.add(&e.Entry)
	}
	var out []Tally
	for _, class := range slices.Sorted(maps.Keys(sums)) {
		out = append(out, *sums[class])
	}
	return out, nil
}

func (t *Tally) add(e *Entry) {
	t.Entries++
	if e.Type != tree.Regular {
		return
	}
	t.Files++
	if e.Link == 0 {
		t.Bytes += e.Size
		t.Allocated += e.Allocated
	}
}

// metaTotal is the key under which the scan stores what Total reads.
const metaTotal = "total"

// Total is all entries of the source, whatever their class, as the scan counted
// them.
func (c *Catalog) Total(ctx context.Context) (Tally, error) {
	var t Tally
	text, err := c.Meta(ctx, metaTotal)
	if err == nil {
		_, err = fmt.Sscan(text, &t.Entries, &t.Files, &t.Bytes, &t.Allocated)
	}
	if err != nil {
		return t, fmt.Errorf("inventory: total: %w", err)
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

// text is TEXT where it is UTF-8, and BLOB otherwise; null also makes NULL of "".
func text(s string) any {
	if utf8.ValidString(s) {
		return s
	}
	return []byte(s)
}

func null(s string) any {
	if s == "" {
		return nil
	}
	return text(s)
}
