package strictyaml

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds the nesting of a document.
const maxDepth = 64

type decoder struct {
	file   string
	faults []error
}

func (d *decoder) fault(n *yaml.Node, format string, args ...any) {
	if len(d.faults) < maxFaults {
		d.faults = append(d.faults, &Error{File: d.file, Line: n.Line, Text: fmt.Sprintf(format, args...)})
	}
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, depth int) {
	switch {
	case depth > maxDepth:
		d.fault(n, "nested deeper than %d", maxDepth)
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.fault(n, "anchors and aliases are not supported")
		return
	case isNull(n):
		d.fault(n, "a value is missing")
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), depth)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if d.wants(n, yaml.ScalarNode, "a text") {
			if err := u.UnmarshalText([]byte(n.Value)); err != nil {
				d.fault(n, "%s", err)
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if d.wants(n, yaml.MappingNode, "a mapping") {
			d.structure(n, v, depth)
		}
	case reflect.Map:
		if d.wants(n, yaml.MappingNode, "a mapping") {
			d.mapping(n, v, depth)
		}
	case reflect.Slice:
		if d.wants(n, yaml.SequenceNode, "a list") {
			list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
			for i, item := range n.Content {
				d.value(item, list.Index(i), depth+1)
			}
			v.Set(list)
		}
	default:
		if d.wants(n, yaml.ScalarNode, "a single value") {
			d.scalar(n, v)
		}
	}
}

func (d *decoder) wants(n *yaml.Node, kind yaml.Kind, what string) bool {
	if n.Kind != kind {
		d.fault(n, "wants %s", what)
		return false
	}
	return true
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, depth int) {
	fields := map[string]reflect.Value{}
	collect(v, n.Line, fields)
	d.pairs(n, func(key, value *yaml.Node) {
		f, ok := fields[key.Value]
		if !ok {
			d.fault(key, "unknown key %q (known: %s)", key.Value, strings.Join(sortedKeys(fields), ", "))
			return
		}
		d.value(value, f, depth+1)
	})
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, depth int) {
	m := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	d.pairs(n, func(key, value *yaml.Node) {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(value, item, depth+1)
		m.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), item)
	})
	v.Set(m)
}

// pairs calls visit for each key that is given once.
func (d *decoder) pairs(n *yaml.Node, visit func(key, value *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Tag == "!!merge" {
			d.fault(key, "a key must be a plain text")
			continue
		}
		if line, twice := seen[key.Value]; twice {
			d.fault(key, "key %q is given twice, first in line %d", key.Value, line)
			continue
		}
		seen[key.Value] = key.Line
		visit(key, n.Content[i+1])
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Value)
	case reflect.Bool:
		switch n.Value {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			d.fault(n, "wants true or false, not %q", n.Value)
		}
	case reflect.Int, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if err != nil {
			d.fault(n, "wants a whole number, not %q", n.Value)
			return
		}
		v.SetInt(i)
	case reflect.Uint32, reflect.Uint64:
		i, err := strconv.ParseUint(n.Value, 10, v.Type().Bits())
		if err != nil {
			d.fault(n, "wants a whole number from 0, not %q", n.Value)
			return
		}
		v.SetUint(i)
	case reflect.Float64:
		f, err := strconv.ParseFloat(n.Value, 64)
		if err != nil {
			d.fault(n, "wants a number, not %q", n.Value)
			return
		}
		v.SetFloat(f)
	default:
		d.fault(n, "a %s cannot be read", v.Kind())
	}
}

// collect maps keys to the fields of v, those of embedded structs included, and
// sets the fields of type Line.
func collect(v reflect.Value, line int, fields map[string]reflect.Value) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if v.Field(i).Type() == reflect.TypeFor[Line]() {
			v.Field(i).SetInt(int64(line))
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collect(v.Field(i), line, fields)
		case f.IsExported() && name != "" && name != "-":
			fields[name] = v.Field(i)
		}
	}
}

func sortedKeys(m map[string]reflect.Value) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
