package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/handoff"
)

// proof counts and sums the rows of all tables.
func (m *mariadb) proof(ctx context.Context, s side, database string) (proof, error) {
	var out proof
	tables, err := m.columns(ctx, s, database)
	if err != nil {
		return out, err
	}
	out.rounded = map[string]string{}
	for _, t := range tables {
		rows, sum, err := m.sum(ctx, s, t.sum(database, true))
		if err == nil && t.float() {
			_, out.rounded[t.name], err = m.sum(ctx, s, t.sum(database, false))
		}
		if err != nil {
			return out, fmt.Errorf("table %s: %w", t.name, err)
		}
		out.tables = append(out.tables, handoff.TableProof{Name: t.name, Rows: rows, Sum: sum})
	}
	out.sequences, err = m.sequences(ctx, s, database)
	return out, err
}

func (m *mariadb) sum(ctx context.Context, s side, query string) (rows int64, sum string, err error) {
	err = m.query(ctx, s, query, func(c []string) (err error) {
		if len(c) != 3 || c[2] != "0" {
			return errors.New("rows that cannot be summed")
		}
		sum = c[1]
		rows, err = strconv.ParseInt(c[0], 10, 64)
		return err
	})
	if err == nil && sum == "" {
		err = errors.New("no answer")
	}
	return rows, sum, err
}

// table is one with its columns and their types.
type table struct {
	name      string
	versioned bool // it also has what its rows were
	columns   [][2]string
}

func (m *mariadb) columns(ctx context.Context, s side, database string) ([]table, error) {
	var out []table
	db := literal(database)
	err := m.query(ctx, s, "SELECT t.TABLE_NAME, t.TABLE_TYPE, c.COLUMN_NAME, c.DATA_TYPE FROM information_schema.TABLES t JOIN information_schema.COLUMNS c "+
		"ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND BINARY c.TABLE_NAME = BINARY t.TABLE_NAME WHERE t.TABLE_SCHEMA = "+db+
		" AND t.TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY BINARY t.TABLE_NAME, c.ORDINAL_POSITION;", func(c []string) error {
		if len(out) == 0 || out[len(out)-1].name != c[0] {
			out = append(out, table{name: c[0], versioned: c[1] == "SYSTEM VERSIONED"})
		}
		t := &out[len(out)-1]
		t.columns = append(t.columns, [2]string{c[2], strings.ToLower(c[3])})
		return nil
	})
	return out, err
}

// sum is the query: how many rows, the sum of the first 64 bits of the SHA-256 of
// each, and how many could not be summed. It does not depend on the order of
// rows, nor on the server's version or the storage engine, as CHECKSUM TABLE does.
// Without exact, FLOAT counts as the text that a dump has.
func (t table) sum(database string, exact bool) string {
	parts := make([]string, len(t.columns))
	for i, c := range t.columns {
		name := backtick(c[0])
		switch {
		case c[1] == "float" && exact:
			// As text it has six digits; as DOUBLE, all that make it.
			parts[i] = "COALESCE(CAST(" + name + " AS DOUBLE), '-')"
		case c[1] == "bit":
			parts[i] = "COALESCE(" + name + " + 0, '-')"
		case c[1] == "float" || strings.Contains(c[1], "int") || slices.Contains([]string{"double", "real", "decimal", "numeric", "year", "date", "time", "datetime", "timestamp"}, c[1]):
			parts[i] = "COALESCE(" + name + ", '-')"
		default:
			// Each by itself: together they may be longer than a packet may be, and
			// would then be NULL.
			parts[i] = "COALESCE(SHA2(CAST(" + name + " AS BINARY), 256), '-')"
		}
	}
	row := "SHA2(CONCAT_WS('/', " + strings.Join(parts, ", ") + "), 256)"
	from := backtick(database) + "." + backtick(t.name)
	if t.versioned {
		from += " FOR SYSTEM_TIME ALL"
	}
	return fmt.Sprintf("SELECT COUNT(*), COALESCE(SUM(CAST(CONV(LEFT(d, 16), 16, 10) AS UNSIGNED)), 0), COALESCE(SUM(d IS NULL), 0) FROM (SELECT %s AS d FROM %s) AS t;", row, from)
}

func (t table) float() bool {
	return slices.ContainsFunc(t.columns, func(c [2]string) bool { return c[1] == "float" })
}

// sequences are where those of MariaDB stand: the next number that is not cached.
func (m *mariadb) sequences(ctx context.Context, s side, database string) ([]string, error) {
	names, err := m.column(ctx, s, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+literal(database)+" AND TABLE_TYPE = 'SEQUENCE' ORDER BY BINARY TABLE_NAME;")
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range names {
		at, err := m.column(ctx, s, fmt.Sprintf("SELECT next_not_cached_value FROM %s.%s;", backtick(database), backtick(name)))
		if err != nil {
			return nil, err
		}
		out = append(out, name+" "+strings.Join(at, " "))
	}
	return out, nil
}
