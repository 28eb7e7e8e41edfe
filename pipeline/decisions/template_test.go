package decisions

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/statelift/statelift/pipeline/strictyaml"
)

// The template decides nothing.
func TestTemplateDecidesNothing(t *testing.T) {
	d, err := Parse("f", Template())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Decisions{File: "f"}, d); diff != "" {
		t.Error(diff)
	}
}

// Everything that the template shows can be said, and it shows everything that
// can.
func TestTemplateShowsEveryKey(t *testing.T) {
	text := said()
	if _, err := Parse("f", []byte(text)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	showing(doc.Content[0], reflect.TypeFor[Decisions](), "", shown)
	known := map[string]bool{}
	keys(reflect.TypeFor[Decisions](), "", known)
	if diff := cmp.Diff(known, shown); diff != "" {
		t.Errorf("known and shown (-, +):\n%s", diff)
	}
}

// said is the template without prose and without comment signs.
func said() string {
	key := regexp.MustCompile(`^# +(- )?[a-z][A-Za-z]*:\s`)
	var out strings.Builder
	for line := range strings.Lines(string(Template())) {
		if key.MatchString(line) {
			out.WriteString(strings.TrimPrefix(line, "# "))
		}
	}
	return out.String()
}

// keys are the keys of a struct and of what is in it.
func keys(t reflect.Type, prefix string, out map[string]bool) {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" || f.Type == reflect.TypeFor[strictyaml.Line]() {
			continue
		}
		out[prefix+name] = true
		keys(f.Type, prefix+name+".", out)
	}
}

// showing collects the keys of a document, but for those that are the user's own.
func showing(n *yaml.Node, t reflect.Type, prefix string, out map[string]bool) {
	for t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	switch n.Kind {
	case yaml.SequenceNode:
		for _, item := range n.Content {
			showing(item, t, prefix, out)
		}
	case yaml.MappingNode:
		if t.Kind() != reflect.Struct {
			return
		}
		for i := 0; i < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields := reflect.VisibleFields(t)
			at := slices.IndexFunc(fields, func(f reflect.StructField) bool {
				return f.Tag.Get("json") == name || strings.HasPrefix(f.Tag.Get("json"), name+",")
			})
			out[prefix+name] = true
			if at >= 0 {
				showing(n.Content[i+1], fields[at].Type, prefix+name+".", out)
			}
		}
	}
}
