package report

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Document is the report: what report.json holds, and what the templates show.
type Document struct {
	Plan        handoff.Plan         `json:"plan"`
	Target      *handoff.Target      `json:"target,omitempty"` // nil in a rehearsal
	Inventory   handoff.Inventory    `json:"inventory"`
	Credentials []handoff.Credential `json:"credentials"`
	Unreadable  int64                `json:"unreadable"`         // not accepted
	Unread      []hostpath.Path      `json:"unread,omitempty"`   // the first of them
	Accepted    []hostpath.Path      `json:"accepted,omitempty"` // could not be read, and need not be
	Places      []Place              `json:"places"`             // where the bytes are, largest first
	Dropped     []Reasoned           `json:"dropped"`
	Stored      []Reasoned           `json:"objects"`

	Bar []Segment `json:"-"`
	Map []Tile    `json:"-"`
}

// Place is a directory of the host and what below it goes to one class.
type Place struct {
	Path    hostpath.Path `json:"path"`
	Class   claim.Class   `json:"class"`
	Entries int64         `json:"entries"`
	Bytes   int64         `json:"bytes"`
}

// Reasoned sums up what one claim decided.
type Reasoned struct {
	Reason  string        `json:"reason"`
	By      string        `json:"by"`
	Path    hostpath.Path `json:"path"` // what the claim is about
	Entries int64         `json:"entries"`
	Bytes   int64         `json:"bytes"`
}

// Segment is a class's part of the bar, in user units of a 1000-wide drawing.
type Segment struct {
	Class    claim.Class
	X, Width float64
	Bytes    int64
}

func newDocument(ctx context.Context, cat *catalog.Catalog, inv handoff.Inventory, split handoff.Split, plan handoff.Plan, target handoff.Target) (*Document, error) {
	doc := &Document{Plan: plan, Inventory: inv, Credentials: split.Credentials, Unreadable: split.UnreadableCount, Unread: split.Unreadable, Accepted: split.Accepted}
	var err error
	if doc.Places, err = places(ctx, cat); err != nil {
		return nil, err
	}
	if doc.Dropped, err = reasons(ctx, cat, claim.Drop); err != nil {
		return nil, err
	}
	if doc.Stored, err = reasons(ctx, cat, claim.Object); err != nil {
		return nil, err
	}
	if target.Context != "" {
		doc.Target = &target
	}
	doc.Bar = bar(plan.Balance)
	doc.Map = treemap(doc.Places, mapWidth, mapHeight)
	return doc, nil
}

// placeDepth is how deep the picture goes: /var/lib/mysql is three.
const placeDepth = 3

// mostPlaces bounds the picture; what is smaller is in the balance all the same.
const mostPlaces = 60

// places adds up bytes by directory and class. Its memory is bounded by the
// number of directories of that depth, not of files.
func places(ctx context.Context, cat *catalog.Catalog) ([]Place, error) {
	type key struct {
		dir   hostpath.Path
		class claim.Class
	}
	sums := map[key]*Place{}
	all := func(claim.Class, int64) bool { return true }
	var p *Place
	for e, err := range cat.Sizes(ctx, all) {
		if err != nil {
			return nil, fmt.Errorf("places: %w", err)
		}
		if e.Bytes == 0 {
			continue
		}
		dir := ancestor(e.Path, placeDepth)
		if p == nil || e.Class != p.Class || string(dir) != string(p.Path) { // most are beside the last one
			k := key{hostpath.Path(dir), e.Class}
			if p = sums[k]; p == nil {
				p = &Place{Path: k.dir, Class: k.class}
				sums[k] = p
			}
		}
		p.Entries++
		p.Bytes += e.Size
	}
	out := make([]Place, 0, len(sums))
	for _, p := range sums {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Place) int {
		switch {
		case a.Bytes != b.Bytes && a.Bytes > b.Bytes:
			return -1
		case a.Bytes != b.Bytes:
			return 1
		}
		if c := hostpath.Compare(a.Path, b.Path); c != 0 {
			return c
		}
		return strings.Compare(string(a.Class), string(b.Class))
	})
	return out[:min(len(out), mostPlaces)], nil
}

// ancestor is the directory of at most depth elements that holds p.
func ancestor(p []byte, depth int) []byte {
	n := 0
	for i := 1; i < len(p); i++ {
		if p[i] != '/' {
			continue
		}
		if n++; n == depth {
			return p[:i]
		}
	}
	return p[:max(1, bytes.LastIndexByte(p, '/'))]
}

// mostReasons bounds the tables of what is dropped and stored.
const mostReasons = 40

func reasons(ctx context.Context, cat *catalog.Catalog, class claim.Class) ([]Reasoned, error) {
	rows, err := cat.Query(ctx, `SELECT c.reason, c.by, CAST(c.path AS TEXT), count(*),
		sum(CASE WHEN e.type='f' AND e.link IS NULL THEN e.size ELSE 0 END) AS bytes
		FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last JOIN claims c ON c.id=p.claim
		WHERE p.class=? GROUP BY c.id ORDER BY bytes DESC, c.id LIMIT ?`, string(class), mostReasons)
	if err != nil {
		return nil, fmt.Errorf("reasons of %s: %w", class, err)
	}
	defer rows.Close()
	var out []Reasoned
	for rows.Next() {
		var r Reasoned
		var path string
		if err := rows.Scan(&r.Reason, &r.By, &path, &r.Entries, &r.Bytes); err != nil {
			return nil, fmt.Errorf("reasons of %s: %w", class, err)
		}
		r.Path = hostpath.Path(path)
		out = append(out, r)
	}
	return out, rows.Err()
}

// bar shares 1000 units among the classes. A class with any bytes gets a part
// that can be seen, taken from the others in proportion.
func bar(b handoff.Balance) []Segment {
	const width, least = 1000.0, 3.0
	var out []Segment
	var shown int64
	for _, c := range b.Classes {
		if c.Bytes > 0 {
			out = append(out, Segment{Class: c.Class, Bytes: c.Bytes})
			shown += c.Bytes
		}
	}
	room := width - least*float64(len(out))
	x := 0.0
	for i := range out {
		out[i].X = x
		out[i].Width = least + room*float64(out[i].Bytes)/float64(shown)
		x += out[i].Width
	}
	return out
}

// CollectorProblems are what the scan could not read, grouped by collector.
func (d *Document) CollectorProblems() map[string][]facts.Problem {
	out := map[string][]facts.Problem{}
	for _, p := range d.Inventory.Problems {
		out[p.Collector] = append(out[p.Collector], p)
	}
	return out
}

// Mounted names, for a mount of a container, what stands behind it.
func (d *Document) Mounted(w handoff.Workload, m handoff.Mount) string {
	for _, v := range w.Mounts {
		if v.Name == m.Volume {
			return strings.TrimSpace(string(v.Origin) + " " + v.Of)
		}
	}
	return m.Volume
}

// Totals of the host.
func (d *Document) Totals() handoff.ClassTally { return d.Plan.Balance.Total }

// VolumeBytes adds up the data of all volumes.
func (d *Document) VolumeBytes() (n int64) {
	for _, v := range d.Plan.Volumes {
		n += v.Bytes
	}
	return n
}
