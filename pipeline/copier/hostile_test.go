package copier_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

const rootLine = "d\t0755\t0\t0\t0\t0\t-\t-\t-\t-\t/\n"

func dirLine(path string) string { return "d\t0755\t0\t0\t0\t0\t-\t-\t-\t-\t" + path + "\n" }

func linkLine(path, target string) string {
	return fmt.Sprintf("l\t0777\t0\t0\t%d\t0\t-\t-\t-\t-\t%s\t%s\n", len(target), path, target)
}

func fileLine(path, content string) string {
	return fmt.Sprintf("f\t0644\t0\t0\t%d\t0\t-\t-\t-\t%x\t%s\n", len(content), sha256.Sum256([]byte(content)), path)
}

type member struct{ name, content string }

func tarOf(t *testing.T, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Size: int64(len(m.content)), Mode: 0o4777}
		if target, ok := strings.CutPrefix(m.content, "-> "); ok {
			h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, target
			m.content = ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(m.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A hostile seed is refused, and nothing outside of the directory is touched.
func TestHostileSeeds(t *testing.T) {
	type made struct {
		listing string
		units   []seed.Unit
		edit    func(*seed.Config)
	}
	one := func(records int, pack seed.Packed) []seed.Unit { return []seed.Unit{{Records: records, Pack: &pack}} }
	for name, craft := range map[string]func(c seedtest.Craft, outside string) made{
		"good": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "hello"), one(2, c.Pack(tarOf(t, member{"a", "hello"}))), nil}
		},
		"listing with ..": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/../evil", "x"), one(2, c.Pack(tarOf(t, member{"../evil", "x"}))), nil}
		},
		"pack with ..": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), one(2, c.Pack(tarOf(t, member{"../evil", "x"}))), nil}
		},
		"pack with absolute name": func(c seedtest.Craft, outside string) made {
			return made{rootLine + fileLine("/a", "x"), one(2, c.Pack(tarOf(t, member{outside + "/evil", "x"}))), nil}
		},
		"file below a symlink": func(c seedtest.Craft, outside string) made {
			return made{rootLine + linkLine("/s", outside) + fileLine("/s/evil", "x"), one(3, c.Pack(tarOf(t, member{"s/evil", "x"}))), nil}
		},
		"symlink over a directory": func(c seedtest.Craft, outside string) made {
			return made{rootLine + dirLine("/s") + linkLine("/s", outside) + fileLine("/s/evil", "x"), one(4, c.Pack(tarOf(t, member{"s/evil", "x"}))), nil}
		},
		"symlink in the pack only": func(c seedtest.Craft, outside string) made {
			return made{
				rootLine + dirLine("/s") + fileLine("/s/evil", "x"),
				one(3, c.Pack(tarOf(t, member{"s", "-> " + outside}, member{"s/evil", "x"}))), nil,
			}
		},
		"one member too many": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), one(2, c.Pack(tarOf(t, member{"a", "x"}, member{"b", "y"}))), nil}
		},
		"one member too few": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x") + fileLine("/b", "y"), one(3, c.Pack(tarOf(t, member{"a", "x"}))), nil}
		},
		"content of another sum": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "hello"), one(2, c.Pack(tarOf(t, member{"a", "jello"}))), nil}
		},
		"larger than the listing says": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), one(2, c.Pack(tarOf(t, member{"a", strings.Repeat("x", 1<<20)}))), nil}
		},
		"bomb": func(c seedtest.Craft, _ string) made {
			p := c.Pack(tarOf(t, member{"a", strings.Repeat("\x00", 64<<20)}))
			p.Raw = 4096
			return made{rootLine + fileLine("/a", strings.Repeat("\x00", 64<<20)), one(2, p), nil}
		},
		"listing bomb": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), one(2, c.Pack(tarOf(t, member{"a", "x"}))), func(c *seed.Config) { c.Listing.Raw = 20 }}
		},
		"another tree digest": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), one(2, c.Pack(tarOf(t, member{"a", "x"}))), func(c *seed.Config) { c.Tree = strings.Repeat("0", 64) }}
		},
		"no content": func(_ seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), []seed.Unit{{Records: 2}}, nil}
		},
		"parts too short": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "xyz"), []seed.Unit{{Records: 2, Large: []seed.Large{{At: 1, Parts: []seed.Part{c.Part([]byte("x"))}}}}}, nil}
		},
		"parts too long": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/a", "x"), []seed.Unit{{Records: 2, Large: []seed.Large{{At: 1, Parts: []seed.Part{c.Part([]byte("xyz"))}}}}}, nil}
		},
		"part longer than its word": func(c seedtest.Craft, _ string) made {
			p := c.Part([]byte("xyz"))
			p.Size, p.Raw = 1, 1
			return made{rootLine + fileLine("/a", "x"), []seed.Unit{{Records: 2, Large: []seed.Large{{At: 1, Parts: []seed.Part{p}}}}}, nil}
		},
		"parts of a directory": func(c seedtest.Craft, _ string) made {
			return made{rootLine, []seed.Unit{{Records: 1, Large: []seed.Large{{At: 0, Parts: []seed.Part{c.Part([]byte("x"))}}}}}, nil}
		},
		"index out of range": func(_ seedtest.Craft, _ string) made {
			return made{rootLine, []seed.Unit{{Records: 1, Sparse: []int{-1}}}, nil}
		},
		"digest is a path": func(c seedtest.Craft, _ string) made {
			p := c.Part([]byte("x"))
			p.Digest = "sha256:../../../../../../../../etc/passwd"
			return made{rootLine + fileLine("/a", "x"), []seed.Unit{{Records: 2, Large: []seed.Large{{At: 1, Parts: []seed.Part{p}}}}}, nil}
		},
		"marker as a path": func(c seedtest.Craft, _ string) made {
			return made{rootLine + fileLine("/"+copier.Marker, "x"), one(2, c.Pack(tarOf(t, member{copier.Marker, "x"}))), nil}
		},
		"more units than records": func(_ seedtest.Craft, _ string) made {
			return made{rootLine, []seed.Unit{{Records: 1}, {Records: 1}}, nil}
		},
		"link to a directory": func(_ seedtest.Craft, _ string) made {
			return made{rootLine + dirLine("/a") + "p\t0644\t0\t0\t0\t0\t-\t/a\t-\t-\t/b\n", []seed.Unit{{Records: 3}}, nil}
		},
	} {
		t.Run(name, func(t *testing.T) {
			parent := t.TempDir()
			target, outside := filepath.Join(parent, "target"), filepath.Join(parent, "outside")
			for _, dir := range []string{target, outside} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			layout := t.TempDir()
			c := seedtest.NewCraft(t, layout)
			m := craft(c, outside)
			d := c.Seed(m.listing, m.units, m.edit)
			var receipt bool
			s, err := seed.Open(t.Context(), c.Layout, d)
			if err == nil {
				r, copyErr := copier.Copy(t.Context(), s, target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2})
				err, receipt = copyErr, r.Proved
			}
			if name == "good" {
				if err != nil || !receipt {
					t.Fatalf("the good one: %v", err)
				}
				return
			}
			if harmless := name == "symlink in the pack only"; harmless != (err == nil && receipt) {
				t.Errorf("proved: %v, %v", receipt, err)
			}
			if left, _ := os.ReadDir(outside); len(left) != 0 {
				t.Errorf("outside there is now %v", left)
			}
			if all, _ := os.ReadDir(parent); len(all) != 2 {
				t.Errorf("beside the target there is now %v", all)
			}
		})
	}
}

// While a copy is interrupted, somebody puts a symlink in the place of one of
// its directories: the copy does not go through it.
func TestASymlinkInThePlaceOfADirectory(t *testing.T) {
	_, layout := every(t)
	s := seedtest.Open(t, layout)
	target, outside := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(target, copier.Marker), []byte(string(s.Manifest.Digest)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(target, "files")); err != nil {
		t.Fatal(err)
	}
	_, err := copier.Copy(t.Context(), s, target, filepath.Join(t.TempDir(), "l"), copier.Options{Workers: 2})
	if !errors.Is(err, copier.ErrOccupied) || !strings.Contains(err.Error(), "/files") {
		t.Errorf("err = %v", err)
	}
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("outside there is now %v", left)
	}
}

// A symlink at the name of a file is replaced, not written through.
func TestASymlinkInThePlaceOfAFile(t *testing.T) {
	dir, layout := every(t)
	s := seedtest.Open(t, layout)
	target, outside := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(outside, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target, copier.Marker), []byte(string(s.Manifest.Digest)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(target, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"text", "large-noise"} {
		if err := os.Symlink(outside, filepath.Join(target, "files", name)); err != nil {
			t.Fatal(err)
		}
	}
	mustCopy(t, layout, target)
	equal(t, dir, target)
	if data, _ := os.ReadFile(outside); string(data) != "precious" {
		t.Errorf("outside there is now %q", data)
	}
}
