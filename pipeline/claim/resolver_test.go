package claim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

func TestMatchGlob(t *testing.T) {
	for _, c := range []struct {
		pattern, path hostpath.Path
		want          bool
	}{
		{"/var/log/*.gz", "/var/log/a.gz", true},
		{"/var/log/*.gz", "/var/log/x/a.gz", false},
		{"/var/log/**/*.gz", "/var/log/a.gz", true},
		{"/var/log/**/*.gz", "/var/log/x/y/a.gz", true},
		{"/var/log/**/*.gz", "/var/lib/a.gz", false},
		{"/a/**", "/a", false},
		{"/a/**", "/a/b/c", true},
		{"/**/core", "/core", true},
		{"/**/core", "/x/core", true},
		{"/etc/[ab]?", "/etc/ax", true},
		{"/etc/[ab]?", "/etc/cx", false},
		{"/n/caf?.txt", "/n/caf\xe9.txt", true},
		{"/n/*", "/n/two\nlines", true},
		{`/n/\*`, "/n/*", true},
		{`/n/\*`, "/n/x", false},
		{"/", "/", false},
		{"/*", "/", false},
		{"/a/**/b/**/c", "/a/x/b/c", true},
		{"/a/**/b/**/c", "/a/x/c", false},
	} {
		if got := MatchGlob(c.pattern, c.path); got != c.want {
			t.Errorf("MatchGlob(%q, %q) = %v", c.pattern, c.path, got)
		}
	}
	if CheckGlob("/a/[") == nil {
		t.Error("an unfinished pattern is accepted")
	}
}

func TestCondition(t *testing.T) {
	s := Subject{Path: "/etc/x.conf", Type: tree.Regular, Package: "x", State: "conffile-changed"}
	for text, want := range map[string]bool{
		"":                             true,
		"type=f":                       true,
		"type=d,f":                     true,
		"type=d":                       false,
		"type!=d":                      true,
		"type!=f,d":                    false,
		"package=*":                    true,
		"package=":                     false,
		"package!=":                    true,
		"problem=":                     true,
		"state=conffile-*":             true,
		"name=*.conf type=f":           true,
		"name=*.conf type=l":           false,
		"state=same,conffile-changed":  true,
		"fs=nfs,nfs4":                  false,
		"package=x state!=same type=f": true,
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Holds(s); got != want {
			t.Errorf("%q holds: %v", text, got)
		}
	}
	for _, bad := range []string{"type", "colour=red", "name=["} {
		if _, err := ParseCondition(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestOrder(t *testing.T) {
	claims := []Claim{
		{ID: 1, Class: Volume, Reach: Every, Path: "/", Authority: ByNobody},
		{ID: 2, Class: Image, Reach: Every, Path: "/", Authority: ByPackage, When: "state=same"},
		{ID: 3, Class: Ephemeral, Reach: Tree, Path: "/var/log", Authority: ByDefault},
		{ID: 4, Class: Object, Reach: Glob, Path: "/var/log/**/*.gz", Authority: ByDefault},
		{ID: 5, Class: Volume, Reach: Tree, Path: "/var/lib/mysql", Authority: ByProfile},
		{ID: 6, Class: Secret, Reach: Exact, Path: "/var/lib/mysql/key.pem", Authority: BySafety},
		{ID: 7, Class: Drop, Reach: Tree, Path: "/srv/x/y", Authority: ByUser},
		{ID: 8, Class: Config, Reach: Exact, Path: "/etc/a", Authority: ByProfile},
		{ID: 9, Class: Drop, Reach: Exact, Path: "/etc/a", Authority: ByProfile},
		{ID: 10, Class: Image, Reach: Tree, Path: "/etc", Authority: ByProfile},
		{ID: 11, Class: Volume, Reach: Tree, Path: "/srv/x", Authority: ByMount},
		{ID: 12, Class: Object, Reach: Glob, Path: "/srv/x/*.tgz", Authority: ByHost},
		{ID: 13, Class: Ephemeral, Reach: Tree, Path: "/srv/x/cache", Authority: ByProfile},
		{ID: 14, Class: Image, Reach: Tree, Path: "/srv/x/y/z", Authority: ByProfile},
	}
	r, err := NewResolver(claims...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    Subject
		want int64
	}{
		{Subject{Path: "/data"}, 1},
		{Subject{Path: "/"}, 1},
		{Subject{Path: "/usr/bin/x", State: "same"}, 2},
		{Subject{Path: "/var/log/a.log"}, 3},
		{Subject{Path: "/var/log"}, 3},
		{Subject{Path: "/var/log/x/a.gz"}, 4},
		{Subject{Path: "/var/log/x/a.gz", State: "same"}, 2},
		{Subject{Path: "/var/lib/mysql/ibdata1"}, 5},
		{Subject{Path: "/var/lib/mysql/key.pem"}, 6},
		{Subject{Path: "/var/lib/mysqlx"}, 1},
		{Subject{Path: "/srv/x/y/z"}, 7},
		{Subject{Path: "/etc/a"}, 8},
		{Subject{Path: "/etc/b"}, 10},
		{Subject{Path: "/srv/x/f", State: "same"}, 11}, // the mount hides the packaged file
		{Subject{Path: "/srv/x/old.tgz"}, 12},          // objects leave the volume
		{Subject{Path: "/srv/x/cache/f"}, 11},
		{Subject{Path: "/srv/x/new"}, 1}, // volume by itself: the claim that says why
	} {
		got, ok := r.Winner(c.s)
		if !ok || got.ID != c.want {
			t.Errorf("%s: claim %d, want %d", c.s.Path, got.ID, c.want)
		}
	}

	var lost []string
	for _, c := range r.Claimants(Subject{Path: "/etc/a", State: "same"}) {
		lost = append(lost, fmt.Sprint(c.ID, " ", c.Lost))
	}
	want := []string{"8 ", "9 the other claim was made earlier", "10 the other claim names a deeper path",
		"2 the application's profile outweighs the package manager", "1 the application's profile outweighs no claim"}
	if diff := cmp.Diff(want, lost); diff != "" {
		t.Error(diff)
	}
	same, err := NewResolver(Claim{ID: 1, Class: Volume, Reach: Tree, Path: "/a", Serves: "x"}, Claim{ID: 2, Class: Volume, Reach: Tree, Path: "/a", Serves: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if c := same.Claimants(Subject{Path: "/a"}); c[1].Lost != "it says the same, for y" {
		t.Errorf("the same claim twice: %+v", c)
	}
	under := r.Claimants(Subject{Path: "/srv/x/cache/f"})
	if under[0].ID != 11 || under[1].ID != 13 || under[1].Lost != "the mount of the volume /srv/x hides what the image has there" {
		t.Errorf("below a mount: %+v", under[:2])
	}
}

// The index may answer only what a plain pass over all claims answers.
func TestResolverAgainstPlainPass(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c", "*", "**", "?"}
	randomPath := func(glob bool) hostpath.Path {
		p := hostpath.Root
		for range rng.IntN(4) {
			n := 3
			if glob {
				n = len(names)
			}
			p = p.Join(names[rng.IntN(n)])
		}
		return p
	}
	for range 500 {
		var claims []Claim
		for i := range 12 {
			reach := []Reach{Exact, Tree, Glob, Every}[rng.IntN(4)]
			c := Claim{ID: int64(i + 1), Reach: reach, Path: randomPath(reach == Glob), Class: Classes()[rng.IntN(9)],
				Authority: []Authority{ByDefault, ByHost, ByUser}[rng.IntN(3)], When: []string{"", "type=f", "type=d", "name=a"}[rng.IntN(4)]}
			if reach == Every {
				c.Path = "/"
			}
			if CheckGlob(c.Path) == nil {
				claims = append(claims, c)
			}
		}
		r, err := NewResolver(claims...)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			s := Subject{Path: randomPath(false), Type: []tree.Type{tree.Regular, tree.Directory}[rng.IntN(2)]}
			var want []int64
			for _, c := range claims {
				if reaches(c, s) {
					want = append(want, c.ID)
				}
			}
			var got []int64
			for _, c := range r.Claimants(s) {
				got = append(got, c.ID)
			}
			w, ok := r.Winner(s)
			if ok != (len(want) > 0) || ok && w.ID != got[0] {
				t.Fatalf("%v: winner %v %v of %v", s, w.ID, ok, got)
			}
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("%v: claims %v, a plain pass finds %v in %+v", s, got, want, claims)
			}
		}
	}
}

// A pattern made ready says the same as MatchGlob, and leads to every match.
func TestPatternAgainstMatchGlob(t *testing.T) {
	for _, g := range []hostpath.Path{"/", "/a", "/a/*", "/a/**", "/**/b", "/*/b*/c", "/a/**/c/*", "/a/[", "/a/[b-c]/d", "/?/b"} {
		ready := NewPattern(g)
		for _, p := range []hostpath.Path{"/", "/a", "/b", "/a/b", "/a/c", "/a/b/c", "/a/bb/c", "/a/b/c/d", "/a/c/d", "/x/y/b", "/x/b"} {
			if got, want := ready.Match(p), MatchGlob(g, p); got != want {
				t.Errorf("%s matches %s: %v, want %v", g, p, got, want)
			}
			for d := p.Dir(); MatchGlob(g, p); d = d.Dir() {
				if !ready.Below(d) {
					t.Errorf("%s matches %s, and nothing below %s", g, p, d)
				}
				if d == hostpath.Root {
					break
				}
			}
		}
	}
	if NewPattern("/a/*/c").Below("/a/b/c") || NewPattern("/a/*").Below("/b") || !NewPattern("/a/*/c").Below("/a/b") {
		t.Error("it does not know where to look")
	}
}

func reaches(c Claim, s Subject) bool {
	if when, _ := ParseCondition(c.When); !when.Holds(s) {
		return false
	}
	switch c.Reach {
	case Exact:
		return c.Path == s.Path
	case Tree:
		return s.Path.Within(c.Path)
	case Glob:
		return MatchGlob(c.Path, s.Path)
	}
	return true
}

func FuzzMatchGlob(f *testing.F) {
	f.Add("/a/**/*.[ch]", "/a/b/c.h")
	f.Add("/**/**/x", "/y/x")
	f.Add("/[", "/\xff")
	f.Fuzz(func(t *testing.T, pattern, p string) {
		pat, path := hostpath.Clean(pattern), hostpath.Clean(p)
		if CheckGlob(pat) != nil {
			return
		}
		got := MatchGlob(pat, path)
		r, err := NewResolver(Claim{ID: 1, Reach: Glob, Path: pat})
		if err != nil {
			t.Fatal(err)
		}
		if _, found := r.Winner(Subject{Path: path}); found != got {
			t.Errorf("%q on %q: alone %v, by the index %v", pat, path, got, found)
		}
	})
}
