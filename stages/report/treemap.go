package report

import (
	"github.com/statelift/statelift/pipeline/claim"
)

// The picture's size in user units.
const (
	mapWidth  = 1000.0
	mapHeight = 420.0
)

// Tile is one rectangle of the treemap. Its area is in proportion to the bytes.
type Tile struct {
	Place
	X, Y, W, H float64
	Label      bool // there is room for the path
	Chars      int  // that fit
}

// Name is the path, cut from the left to what fits.
func (t Tile) Name() string {
	s := []rune(t.Path.String())
	if len(s) <= t.Chars {
		return string(s)
	}
	if t.Chars < 2 {
		return ""
	}
	return "…" + string(s[len(s)-t.Chars+1:])
}

// TextX and TextY are where the label stands.
func (t Tile) TextX() float64 { return t.X + 6 }

// TextY is the label's base line.
func (t Tile) TextY() float64 { return t.Y + 17 }

// treemap lays the places out as squares as far as possible (Bruls, Huizing and
// van Wijk, Squarified Treemaps, 2000). Places come largest first.
func treemap(places []Place, width, height float64) []Tile {
	var total int64
	for _, p := range places {
		total += p.Bytes
	}
	if total == 0 {
		return nil
	}
	scale := width * height / float64(total)
	var tiles []Tile
	x, y, w, h := 0.0, 0.0, width, height
	for len(places) > 0 {
		n := rowLength(places, scale, min(w, h))
		var area float64
		for _, p := range places[:n] {
			area += float64(p.Bytes) * scale
		}
		if w >= h {
			thick := area / h
			tiles = append(tiles, layRow(places[:n], scale, x, y, thick, h, false)...)
			x, w = x+thick, w-thick
		} else {
			thick := area / w
			tiles = append(tiles, layRow(places[:n], scale, x, y, w, thick, true)...)
			y, h = y+thick, h-thick
		}
		places = places[n:]
	}
	for i := range tiles {
		t := &tiles[i]
		t.Chars = int((t.W - 10) / 6.6)
		t.Label = t.H > 24 && t.Chars > 5
	}
	return tiles
}

// rowLength is how many places in one row keep the worst aspect ratio smallest.
func rowLength(places []Place, scale, side float64) int {
	if side <= 0 {
		return len(places)
	}
	best, sum := 0.0, 0.0
	for i, p := range places {
		sum += float64(p.Bytes) * scale
		thick := sum / side
		worst := 0.0
		for _, q := range []Place{places[0], p} {
			length := float64(q.Bytes) * scale / thick
			if length == 0 {
				return len(places)
			}
			worst = max(worst, length/thick, thick/length)
		}
		if i > 0 && worst > best {
			return i
		}
		best = worst
	}
	return len(places)
}

func layRow(places []Place, scale, x, y, w, h float64, horizontal bool) []Tile {
	tiles := make([]Tile, 0, len(places))
	for _, p := range places {
		area := float64(p.Bytes) * scale
		t := Tile{Place: p, X: x, Y: y, W: w, H: h}
		if horizontal {
			t.W = area / h
			x += t.W
		} else {
			t.H = area / w
			y += t.H
		}
		tiles = append(tiles, t)
	}
	return tiles
}

// Legend lists the classes that the picture shows, in their order.
func (d *Document) Legend() []claim.Class {
	var out []claim.Class
	for _, c := range claim.Classes() {
		for _, t := range d.Map {
			if t.Class == c {
				out = append(out, c)
				break
			}
		}
	}
	return out
}
