package catalog

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"

	"github.com/statelift/statelift/pipeline/claim"
)

// Placement replaces all claims and classes in one transaction: after a crash
// the old ones are there, or the new ones.
type Placement struct {
	tx     *sql.Tx
	conn   *sql.Conn
	claim  *sql.Stmt
	place  *sql.Stmt
	digest hash.Hash
	run    run // that the last placed entry is in
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
		p.place, err = p.tx.PrepareContext(ctx, "INSERT INTO placements (entry,last,class,claim) VALUES (?,?,?,?)")
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
// exactly once, in the order of their IDs.
func (p *Placement) Place(ctx context.Context, entry int64, class claim.Class, claimID int64) error {
	switch {
	case entry <= p.run.last:
		return fmt.Errorf("place entry %d after entry %d", entry, p.run.last)
	case entry == p.run.last+1 && class == p.run.class && claimID == p.run.claim:
		p.run.last = entry
		return nil
	}
	if err := p.flush(ctx); err != nil {
		return err
	}
	p.run = run{entry, entry, class, claimID}
	return nil
}

// flush stores the run.
func (p *Placement) flush(ctx context.Context) error {
	k := p.run
	if k.first == 0 {
		return nil
	}
	fmt.Fprintf(p.digest, "%d %d %s %d\n", k.first, k.last, k.class, k.claim)
	if _, err := p.place.ExecContext(ctx, k.first, k.last, string(k.class), k.claim); err != nil {
		return fmt.Errorf("place entries %d to %d: %w", k.first, k.last, err)
	}
	return nil
}

// MetaPlacements is the key under which Commit stores the digest of the claims
// and classes.
const MetaPlacements = "placements"

// Commit makes the classes durable and returns the SHA-256 over claims and
// classes, in hexadecimal.
func (p *Placement) Commit(ctx context.Context) (string, error) {
	err := p.flush(ctx)
	if err != nil {
		p.Abort()
		return "", err
	}
	digest := hex.EncodeToString(p.digest.Sum(nil))
	_, err = p.tx.ExecContext(ctx, "INSERT INTO meta VALUES (?,?) ON CONFLICT(key) DO UPDATE SET value=excluded.value", MetaPlacements, digest)
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
