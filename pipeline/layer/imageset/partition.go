package imageset

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/facts"
)

// partition puts packages into layers.
type partition struct {
	of   map[string]int // package → layer
	what []string       // of each layer
}

// The sizes of a layer of packages, in bytes of content. A cut between two
// packages depends on the name of the second one where the layer is large
// enough, so that one package more or less moves few others.
const (
	fullLayer  = 256 << 20
	cutFrom    = 64 << 20
	cutOneIn   = 16
	manyLayers = 48 // overlay file systems and registries bear about 120
)

type sized struct {
	name  string
	bytes int64
}

// partitionPackages reads how much every package has in images.
func partitionPackages(ctx context.Context, c *catalog.Catalog) (partition, error) {
	known, err := catalog.Facts[facts.Package](ctx, c, facts.KindPackage)
	if err != nil {
		return partition{}, err
	}
	base := map[string]bool{}
	for _, p := range known {
		if p.Essential || p.Priority == "required" || p.Priority == "important" {
			base[p.Name] = true
		}
	}
	rows, err := c.Query(ctx, `SELECT e.package, sum(CASE WHEN e.type='f' AND e.link IS NULL THEN e.size ELSE 0 END)
		FROM placements p CROSS JOIN entries e ON e.id BETWEEN p.entry AND p.last
		WHERE p.class = 'image' AND e.package IS NOT NULL AND coalesce(e.state,'') NOT IN ('changed', 'conffile-changed')
		GROUP BY e.package ORDER BY e.package`)
	if err != nil {
		return partition{}, fmt.Errorf("packages: %w", err)
	}
	defer rows.Close()
	var first, rest []sized
	for rows.Next() {
		var s sized
		if err := rows.Scan(&s.name, &s.bytes); err != nil {
			return partition{}, fmt.Errorf("packages: %w", err)
		}
		name, _, _ := strings.Cut(s.name, ":")
		if base[name] {
			first = append(first, s)
		} else {
			rest = append(rest, s)
		}
	}
	if err := rows.Err(); err != nil {
		return partition{}, fmt.Errorf("packages: %w", err)
	}
	return divide(first, rest), nil
}

// divide cuts the sorted lists into layers, the base system first.
func divide(base, rest []sized) partition {
	p := partition{of: map[string]int{}}
	var total int64
	for _, s := range slices.Concat(base, rest) {
		total += s.bytes
	}
	full := max(fullLayer, min(maxLayer, total/manyLayers))
	p.cut(base, "base system", full)
	p.cut(rest, "packages", full)
	return p
}

func (p *partition) cut(list []sized, what string, full int64) {
	var size int64
	begin := 0
	for i, s := range list {
		switch {
		case i == begin:
		case size+s.bytes > full, size >= cutFrom && cutBefore(s.name):
			p.end(list[begin:i], what)
			begin, size = i, 0
		}
		p.of[s.name] = len(p.what)
		size += s.bytes
	}
	if len(list) > 0 {
		p.end(list[begin:], what)
	}
}

func (p *partition) end(list []sized, what string) {
	p.what = append(p.what, fmt.Sprintf("%s: %s to %s", what, list[0].name, list[len(list)-1].name))
}

func cutBefore(name string) bool {
	h := fnv.New32a()
	h.Write([]byte(name))
	return h.Sum32()%cutOneIn == 0
}
