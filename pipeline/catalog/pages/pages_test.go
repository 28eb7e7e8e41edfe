package pages_test

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/catalog/pages"
)

const createT = "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b)"

func makeDatabase(tb testing.TB, fill func(w *pages.Writer, t *pages.Table)) (name string) {
	tb.Helper()
	name = filepath.Join(tb.TempDir(), "x.db")
	f, err := os.Create(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	w, err := pages.NewWriter(f)
	if err != nil {
		tb.Fatal(err)
	}
	fill(w, w.Table("t", createT))
	if err := w.Finish(7); err != nil {
		tb.Fatal(err)
	}
	return name
}

func appendRow(tb testing.TB, t *pages.Table, id int64, fill func(*pages.Row)) {
	tb.Helper()
	var r pages.Row
	r.Null()
	fill(&r)
	if _, err := t.Append(id, &r); err != nil {
		tb.Fatal(err)
	}
}

func sqlite(tb testing.TB, name, query string) string {
	tb.Helper()
	out, err := exec.Command("sqlite3", name, query).CombinedOutput()
	if err != nil {
		tb.Fatalf("%s: %v\n%s", query, err, out)
	}
	return strings.TrimSpace(string(out))
}

func openTable(tb testing.TB, name string) *pages.Reader {
	tb.Helper()
	var root int64
	if _, err := fmt.Sscan(sqlite(tb, name, "SELECT rootpage FROM sqlite_schema WHERE name='t'"), &root); err != nil {
		tb.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { f.Close() })
	r, err := pages.NewReader(f, root)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

var numbers = []int64{
	0, 1, 2, -1, 127, 128, -128, -129, 32767, 32768, -32768, -32769, 1<<23 - 1, 1 << 23, -1 << 23, -1<<23 - 1,
	math.MaxInt32, math.MaxInt32 + 1, math.MinInt32, math.MinInt32 - 1, 1<<47 - 1, 1 << 47, -1 << 47, -1<<47 - 1, math.MaxInt64, math.MinInt64,
}

// SQLite itself reads what was written, and this package reads it, too.
func TestValues(t *testing.T) {
	texts := []string{"", "a", "žluťoučký", strings.Repeat("x", 57), strings.Repeat("y", 58), strings.Repeat("z", 9000)}
	name := makeDatabase(t, func(_ *pages.Writer, tab *pages.Table) {
		for i, n := range numbers {
			appendRow(t, tab, int64(i+1), func(r *pages.Row) {
				r.Int(n)
				r.Text(texts[i%len(texts)])
			})
		}
		appendRow(t, tab, 1<<40, func(r *pages.Row) {
			r.Blob("\xff\x00\xfe")
			r.Null()
		})
	})
	if got := sqlite(t, name, "PRAGMA integrity_check; PRAGMA user_version"); got != "ok\n7" {
		t.Fatalf("sqlite3 says %q", got)
	}
	var want []string
	for i, n := range numbers {
		want = append(want, fmt.Sprintf("%d|%d|integer|%s", i+1, n, texts[i%len(texts)]))
	}
	want = append(want, "1099511627776|FF00FE|blob|")
	got := sqlite(t, name, "SELECT id, CASE typeof(a) WHEN 'blob' THEN hex(a) ELSE a END, typeof(a), b FROM t")
	if got != strings.Join(want, "\n") {
		t.Errorf("sqlite3 reads\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	c := openTable(t, name).From(0)
	for i, n := range numbers {
		if !c.Next() {
			t.Fatal(c.Err())
		}
		c.Record.Skip(1)
		if a, b := c.Record.Int(), string(c.Record.Bytes()); c.ID != int64(i+1) || a != n || b != texts[i%len(texts)] || c.Record.Err() != nil {
			t.Errorf("row %d: %d, %.10q (%v)", c.ID, a, b, c.Record.Err())
		}
	}
	if !c.Next() || c.ID != 1<<40 {
		t.Fatalf("the last row is %d (%v)", c.ID, c.Err())
	}
	c.Record.Skip(1)
	if a := string(c.Record.Bytes()); a != "\xff\x00\xfe" || c.Record.Bytes() != nil || c.Record.Int() != 0 {
		t.Errorf("blob %q", a)
	}
	if c.Next() || c.Err() != nil {
		t.Errorf("a row after the last one, or %v", c.Err())
	}
}

// The limits between what is in a leaf and what overflows, at every length
// around them.
func TestOverflow(t *testing.T) {
	var lengths []int
	for _, around := range []int{8192, 2 * 8192, 3 * 8192} {
		for n := around - 1100; n < around+100; n++ {
			lengths = append(lengths, n)
		}
	}
	lengths = append(lengths, 3_000_000)
	name := makeDatabase(t, func(_ *pages.Writer, tab *pages.Table) {
		for i, n := range lengths {
			appendRow(t, tab, int64(2*i), func(r *pages.Row) { r.Text(strings.Repeat("x", n-1) + "y") })
		}
	})
	if got := sqlite(t, name, "PRAGMA integrity_check; SELECT count(*), sum(length(a)), sum(substr(a,-1)='y') FROM t"); !strings.HasPrefix(got, "ok\n") {
		t.Fatalf("sqlite3 says %q", got)
	}
	c := openTable(t, name).From(0)
	for i, n := range lengths {
		if !c.Next() {
			t.Fatal(c.Err())
		}
		c.Record.Skip(1)
		if b := c.Record.Bytes(); c.ID != int64(2*i) || len(b) != n || strings.Trim(string(b), "x") != "y" {
			t.Fatalf("row %d has %d bytes, want %d", c.ID, len(b), n)
		}
	}
}

// Trees of one, two and three levels, two tables at a time, and a change by
// SQLite afterwards, which moves pages.
func TestTrees(t *testing.T) {
	for _, n := range []int{0, 1, 100, 20_000, 200_000, 600_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			name := makeDatabase(t, func(w *pages.Writer, tab *pages.Table) {
				other := w.Table("o", "CREATE TABLE o (id INTEGER PRIMARY KEY, a, b)")
				for i := range n {
					fill := func(r *pages.Row) {
						r.Int(int64(i))
						r.Text("some text of a row")
					}
					appendRow(t, tab, int64(3*i), fill)
					if i%7 == 0 {
						appendRow(t, other, int64(i), fill)
					}
				}
			})
			sum := fmt.Sprintf("ok\n%d\n%d", n, (n+6)/7)
			if got := sqlite(t, name, "PRAGMA integrity_check; SELECT count(*) FROM t; SELECT count(*) FROM o"); got != sum {
				t.Fatalf("sqlite3 says %q, want %q", got, sum)
			}
			sqlite(t, name, "UPDATE t SET b = b || 'x' WHERE a % 5 = 0; CREATE TABLE more (x); DELETE FROM t WHERE a % 11 = 3")
			r := openTable(t, name)
			c := r.From(math.MinInt64)
			for i := range n {
				if i%11 == 3 {
					continue
				}
				want := "some text of a row"
				if i%5 == 0 {
					want += "x"
				}
				if !c.Next() {
					t.Fatalf("row %d of %d is missing: %v", i, n, c.Err())
				}
				c.Record.Skip(1)
				if a, b := c.Record.Int(), string(c.Record.Bytes()); c.ID != int64(3*i) || a != int64(i) || b != want {
					t.Fatalf("row %d: %d %d %q", i, c.ID, a, b)
				}
			}
			if c.Next() || c.Err() != nil {
				t.Fatalf("row %d after the last one (%v)", c.ID, c.Err())
			}
			for id := int64(1); id < int64(3*n); id += max(1, int64(n)/100) {
				want := (id + 2) / 3
				if want%11 == 3 {
					want++
				}
				c := r.From(id)
				if c.Next() != (want < int64(n)) || want < int64(n) && c.ID != 3*want {
					t.Fatalf("from %d comes %d, want %d", id, c.ID, 3*want)
				}
			}
		})
	}
}

// TestMemory writes a table of many pages and wants nothing to be kept of them.
func TestMemory(t *testing.T) {
	const rows, most = 100_000, 128 << 10
	w, err := pages.NewWriter(nowhere{})
	if err != nil {
		t.Fatal(err)
	}
	tab := w.Table("t", createT)
	var row pages.Row
	row.Null()
	row.Text(strings.Repeat("x", 7000))
	add := func(from, to int64) {
		for id := from; id < to; id++ {
			if _, err := tab.Append(id, &row); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(0, rows/10)
	before := inUse()
	add(rows/10, rows)
	if more := inUse() - before; more > most {
		t.Errorf("%d more rows, each in a page of its own, take %d bytes", rows-rows/10, more)
	}
	if err := w.Finish(1); err != nil {
		t.Fatal(err)
	}
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// nowhere keeps nothing of a database.
type nowhere struct{}

func (nowhere) Write(b []byte) (int, error)            { return len(b), nil }
func (nowhere) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func TestOrderIsKept(t *testing.T) {
	makeDatabase(t, func(_ *pages.Writer, tab *pages.Table) {
		appendRow(t, tab, 5, func(*pages.Row) {})
		if _, err := tab.Append(5, &pages.Row{}); err == nil {
			t.Error("a row twice was accepted")
		}
	})
}

// FuzzReader reads what is no database, or a broken one: it ends, and does not
// panic.
func FuzzReader(f *testing.F) {
	name := makeDatabase(f, func(_ *pages.Writer, tab *pages.Table) {
		for i := range 400 {
			appendRow(f, tab, int64(i), func(r *pages.Row) { r.Text(strings.Repeat("x", i)) })
		}
		appendRow(f, tab, 1000, func(r *pages.Row) { r.Text(strings.Repeat("x", 20_000)) })
	})
	whole, err := os.ReadFile(name)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, uint8(len(whole)/8192), 0, uint8(0))
	f.Add(whole, uint8(2), 8192*2+3, uint8(255))
	f.Add(whole, uint8(len(whole)/8192), len(whole)-8192+12, uint8(9))
	f.Fuzz(func(t *testing.T, data []byte, root uint8, at int, b uint8) {
		data = append([]byte{}, data...)
		if at >= 0 && at < len(data) {
			data[at] = b
		}
		r, err := pages.NewReader(strings.NewReader(string(data)), int64(root))
		if err != nil {
			return
		}
		c := r.From(0)
		for c.Next() {
			for range 5 {
				c.Record.Bytes()
				c.Record.Int()
			}
		}
	})
}
