package transfer

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// row is an alias that no column has.
const row = "statelift_row"

// proof counts and sums the rows of all tables and materialized views, and the
// large objects, and tells where the sequences stand. The restore of a materialized
// view refreshes it: on the files, what counts is what its query says now.
func (p *postgres) proof(ctx context.Context, s side, database string) (proof, error) {
	var out proof
	var tables [][]string
	err := p.query(ctx, s, database, `SELECT n.nspname, c.relname, c.relkind, c.relispopulated, CASE WHEN c.relkind = 'm' THEN rtrim(pg_get_viewdef(c.oid), '; ') ELSE '' END FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
		ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`, func(c []string) error {
		tables = append(tables, c)
		return nil
	})
	if err != nil {
		return out, err
	}
	for _, t := range tables {
		name, from := t[0]+"."+t[1], "ONLY "+identifier(t[0])+"."+identifier(t[1])
		switch {
		case t[2] == "m" && t[3] == "f": // nobody can read it
			out.tables = append(out.tables, handoff.TableProof{Name: name, Sum: "not populated"})
			continue
		case t[2] == "m" && s == files:
			from = "(" + t[4] + ")"
		}
		// The sum over the rows does not depend on their order.
		err := p.sum(ctx, s, database, &out, name, fmt.Sprintf("md5(ROW(%[1]s.*)::text)", row), from)
		if err != nil {
			return out, err
		}
	}
	if err := p.sum(ctx, s, database, &out, "large objects", fmt.Sprintf("md5(%[1]s.oid::text || ' ' || md5(lo_get(%[1]s.oid)))", row), "pg_largeobject_metadata"); err != nil {
		return out, err
	}
	if last := len(out.tables) - 1; out.tables[last].Rows == 0 {
		out.tables = out.tables[:last]
	}
	out.sequences, err = p.sequences(ctx, s, database)
	return out, err
}

func (p *postgres) sum(ctx context.Context, s side, database string, out *proof, name, digest, from string) error {
	return p.query(ctx, s, database, fmt.Sprintf("SELECT count(*), coalesce(sum(('x' || left(%s, 16))::bit(64)::bigint::numeric), 0) FROM %s AS %s", digest, from, row), func(c []string) error {
		rows, err := strconv.ParseInt(c[0], 10, 64)
		if err != nil {
			return fmt.Errorf("%s: rows: %w", name, err)
		}
		out.tables = append(out.tables, handoff.TableProof{Name: name, Rows: rows, Sum: c[1]})
		return nil
	})
}

// sequences are each with its last value and whether that was given out.
func (p *postgres) sequences(ctx context.Context, s side, database string) ([]string, error) {
	var names [][2]string
	err := p.query(ctx, s, database, `SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' ORDER BY n.nspname COLLATE "C", c.relname COLLATE "C"`, func(c []string) error {
		names = append(names, [2]string{c[0], c[1]})
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range names {
		err := p.query(ctx, s, database, "SELECT last_value, is_called FROM "+identifier(n[0])+"."+identifier(n[1]), func(c []string) error {
			out = append(out, n[0]+"."+n[1]+" "+strings.Join(c, " "))
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}
