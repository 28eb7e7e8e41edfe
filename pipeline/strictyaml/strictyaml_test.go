package strictyaml

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/hostpath"
)

type inner struct {
	Line Line          `json:"-"`
	Path hostpath.Path `json:"path"`
	Size int64         `json:"size,omitempty"`
	Yes  *bool         `json:"yes,omitempty"`
}

type base struct {
	Name string `json:"name"`
}

type outer struct {
	base0
	Base  base              `json:"base"`
	Items []inner           `json:"items"`
	Map   map[string]string `json:"map"`
	Rate  float64           `json:"rate"`
}

type base0 struct {
	Title string `json:"title"`
}

func TestDecode(t *testing.T) {
	yes := true
	got := outer{}
	err := Decode("f.yaml", []byte("title: t\nbase: {name: 8.2}\nitems:\n- path: '/a\\xff'\n  size: 12\n-\n  path: /b\n  yes: true\nmap: {x: '1'}\nrate: 0.5\n"), &got)
	if err != nil {
		t.Fatal(err)
	}
	want := outer{base0: base0{Title: "t"}, Base: base{Name: "8.2"}, Map: map[string]string{"x": "1"}, Rate: 0.5,
		Items: []inner{{Line: 4, Path: "/a\xff", Size: 12}, {Line: 7, Path: "/b", Yes: &yes}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(outer{})); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeFaults(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"unknown key":     {"title: t\nbase:\n  nome: x\n", `f.yaml:3: unknown key "nome" (known: name)`},
		"unknown nested":  {"items:\n- path: /a\n  sise: 3\n", `f.yaml:3: unknown key "sise" (known: path, size, yes)`},
		"key twice":       {"title: t\ntitle: u\n", `f.yaml:2: key "title" is given twice, first in line 1`},
		"wrong kind":      {"title: t\nitems: 3\n", "f.yaml:2: wants a list"},
		"no number":       {"items:\n- size: many\n", `f.yaml:2: wants a whole number, not "many"`},
		"octal":           {"items:\n- size: 0x10\n", `f.yaml:2: wants a whole number, not "0x10"`},
		"bool":            {"items:\n- yes: maybe\n", `f.yaml:2: wants true or false, not "maybe"`},
		"missing":         {"title:\n", "f.yaml:1: a value is missing"},
		"alias":           {"title: &a t\nbase: {name: *a}\n", "f.yaml:1: anchors and aliases are not supported\nf.yaml:2: anchors and aliases are not supported"},
		"merge":           {"base:\n  <<: {name: x}\n", "f.yaml:2: a key must be a plain text"},
		"two documents":   {"title: t\n---\ntitle: u\n", "f.yaml:2: a second document; only one is read"},
		"syntax":          {"title: [\nbase: }\n", "f.yaml:1: did not find expected node content"},
		"escape":          {"items:\n- path: '/a\\q'\n", `f.yaml:2: escape "/a\\q": unknown escape \q`},
		"root is a list":  {"- a\n", "f.yaml:1: wants a mapping"},
		"two faults":      {"a: 1\nb: 2\n", "f.yaml:1: unknown key \"a\" (known: base, items, map, rate, title)\nf.yaml:2: unknown key \"b\" (known: base, items, map, rate, title)"},
		"line is no key":  {"items:\n- Line: 3\n", `f.yaml:2: unknown key "Line" (known: path, size, yes)`},
		"mapping for key": {"? {a: b}\n: c\n", "f.yaml:1: a key must be a plain text"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Decode("f.yaml", []byte(c.in), &outer{})
			if err == nil {
				t.Fatal("no error")
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestDecodeNothing(t *testing.T) {
	for _, in := range []string{"", "# only a comment\n", "---\n"} {
		got := outer{Base: base{Name: "kept"}}
		if err := Decode("f.yaml", []byte(in), &got); err != nil || got.Base.Name != "kept" {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
}

func TestDecodeBounds(t *testing.T) {
	if err := Decode("f.yaml", []byte("title: "+strings.Repeat("x", MaxSize)), &outer{}); err == nil {
		t.Error("a document over the limit was read")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("title: t\nbase: {name: x}\nitems: [{path: /a, size: 3}]\n"))
	f.Add([]byte("a: &x [*x]\n"))
	f.Add([]byte("? - a\n: - b\n"))
	f.Add([]byte("--- !!binary aGk=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var v outer
		Decode("f.yaml", data, &v)
	})
}
