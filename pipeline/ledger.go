package pipeline

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver named "sqlite"
)

// Ledgers is the file that holds the ledgers of all stages: an SQLite database
// with the table marks(stage, item, mark).
type Ledgers struct {
	db *sql.DB
}

// OpenLedgers opens or makes the file. The caller closes it.
func OpenLedgers(ctx context.Context, name string) (*Ledgers, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	f.Close()
	uri := url.URL{Scheme: "file", Opaque: (&url.URL{Path: name}).EscapedPath(), RawQuery: url.Values{
		// WAL with synchronous=normal keeps every commit through a kill; a power
		// cut may forget the last ones, which are then confirmed again.
		"_pragma": {"journal_mode(wal)", "synchronous(normal)", "busy_timeout(10000)"},
	}.Encode()}
	db, err := sql.Open("sqlite", uri.String())
	if err == nil {
		db.SetMaxOpenConns(1)
		_, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS marks (stage TEXT, item TEXT, mark TEXT NOT NULL, PRIMARY KEY (stage, item)) WITHOUT ROWID")
	}
	if damaged(err) {
		return nil, fmt.Errorf("ledger %s is damaged (%w): remove it, and what it confirmed is looked at again", name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("ledger %s: %w", name, placed(filepath.Dir(name), err))
	}
	return &Ledgers{db: db}, nil
}

// Close closes the file.
func (l *Ledgers) Close() error { return l.db.Close() }

// Of is the ledger of one stage.
func (l *Ledgers) Of(stage string) Ledger { return stageLedger{db: l.db, stage: stage} }

type stageLedger struct {
	db    *sql.DB
	stage string
}

func (l stageLedger) Lookup(ctx context.Context, item string) (string, bool, error) {
	var mark string
	err := l.db.QueryRowContext(ctx, "SELECT mark FROM marks WHERE stage=? AND item=?", l.stage, item).Scan(&mark)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("ledger: %s: %w", item, err)
	}
	return mark, true, nil
}

func (l stageLedger) Commit(ctx context.Context, item, mark string) error {
	_, err := l.db.ExecContext(ctx, "INSERT INTO marks VALUES (?,?,?) ON CONFLICT DO UPDATE SET mark=excluded.mark", l.stage, item, mark)
	if err != nil {
		return fmt.Errorf("ledger: %s: %w", item, err)
	}
	return nil
}
