package catalog

// schemaVersion is in the header of every inventory.db (PRAGMA user_version).
const schemaVersion = 2

// The inventory as users query it, by the view paths most of all:
//
//	sqlite3 -readonly inventory.db "SELECT path, class, reason FROM paths WHERE class='volume'"
//
// Paths and symlink targets are TEXT where they are UTF-8, and BLOB with the raw
// bytes where they are not. Times are nanoseconds since the epoch, sizes bytes.

// entriesTable has one row per path, numbered depth first: what lies below a
// directory follows it. There is no index of paths: a path is found by bisection
// of the numbers, whose order is that of hostpath.Compare. The comments are in
// the database, too.
const entriesTable = `CREATE TABLE entries (
  id        INTEGER PRIMARY KEY,
  path      NOT NULL,             -- from the root of the source, "/" is the root
  type      TEXT NOT NULL,        -- f d l p s b c, as find -printf %y
  mode      INTEGER NOT NULL,     -- 07777
  uid       INTEGER NOT NULL,
  gid       INTEGER NOT NULL,
  size      INTEGER NOT NULL,     -- logical
  allocated INTEGER NOT NULL,     -- on disk
  mtime     INTEGER NOT NULL,
  ctime     INTEGER NOT NULL,
  dev       INTEGER NOT NULL,
  ino       INTEGER NOT NULL,
  nlink     INTEGER NOT NULL,
  rdev      INTEGER NOT NULL,
  target,                         -- of a symlink
  xattrs    TEXT,                 -- JSON: [{"name":…, "value":base64}]
  package   TEXT,                 -- that owns the path
  state     TEXT,                 -- same, changed, conffile-same, conffile-changed, unchecked
  problem   TEXT,                 -- why it could not be read
  fs        TEXT,                 -- type of the other file system that is mounted here
  link      INTEGER               -- id of the first path of the same inode, when this is not it
)`

// factsTable is what the collectors found, one JSON document each.
const factsTable = `CREATE TABLE facts (
  id   INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  name TEXT NOT NULL,
  path,                           -- where it was read
  line INTEGER,
  data TEXT NOT NULL
)`

// mountedTable has the entries where other file systems are mounted.
const mountedTable = `CREATE TABLE mounted (entry INTEGER PRIMARY KEY REFERENCES entries(id))`

// linkedTable is there while the inventory is made: the files of several paths.
const linkedTable = `CREATE TABLE linked (id INTEGER PRIMARY KEY, dev INTEGER, ino INTEGER)`

// schema is the rest.
const schema = `
CREATE INDEX facts_kind ON facts (kind, name);

CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

CREATE TABLE claims (
  id         INTEGER PRIMARY KEY,
  class      TEXT NOT NULL,
  reach      TEXT NOT NULL,       -- exact tree glob every
  path       NOT NULL,
  condition  TEXT,                -- the claim is about paths of which this is true: type=f state=same
  reason     TEXT NOT NULL,
  evidence   TEXT,                -- JSON
  confidence TEXT NOT NULL,       -- high medium low
  by         TEXT NOT NULL,       -- the rule, the profile, or the line of statelift.yaml
  authority  INTEGER NOT NULL,
  serves     TEXT                 -- the unit
);

-- The one class of every path, and the claim that won, for runs of consecutive
-- entries: neighbours mostly have the same.
CREATE TABLE placements (
  entry INTEGER PRIMARY KEY,      -- id of the first entry of the run
  last  INTEGER NOT NULL,         -- id of its last entry
  class TEXT NOT NULL,
  claim INTEGER NOT NULL REFERENCES claims(id)
);

CREATE VIEW paths AS
  SELECT e.id, e.path, e.type, e.size, CASE WHEN e.type='f' AND e.link IS NULL THEN e.size ELSE 0 END AS bytes,
         p.class, c.reason, c.confidence, c.by, c.serves, e.package, e.state, e.problem
  FROM entries e
  LEFT JOIN placements p ON p.entry = (SELECT max(entry) FROM placements WHERE entry <= e.id) AND p.last >= e.id
  LEFT JOIN claims c ON c.id = p.claim;
`

// findLinks joins the paths of the same inode.
const findLinks = `
CREATE INDEX linked_inode ON linked (dev, ino, id);
UPDATE entries SET link = (
    SELECT min(f.id) FROM linked l JOIN linked f ON f.dev = l.dev AND f.ino = l.ino WHERE l.id = entries.id)
  WHERE id IN (SELECT l.id FROM linked l WHERE EXISTS (
    SELECT 1 FROM linked f WHERE f.dev = l.dev AND f.ino = l.ino AND f.id < l.id));
`
