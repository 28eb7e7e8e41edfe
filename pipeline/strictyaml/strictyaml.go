// Package strictyaml reads the YAML that people write: an unknown key, a key
// given twice, a value of the wrong kind or a missing value is an error that
// names the file and the line. Structs are described by their json tags, so that
// one type serves YAML that is read and JSON that is written.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Line is the line, counted from 1, on which a mapping begins. A struct field of
// this type is filled by Decode and is no key of the document.
type Line int

// Error is one fault of a document.
type Error struct {
	File string
	Line int
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text) }

// MaxSize is the largest document that Decode accepts, in bytes.
const MaxSize = 4 << 20

// maxFaults is how many faults of one document are worth reading.
const maxFaults = 20

// Decode reads the one document in data into out, a pointer to a struct with
// json tags. The error joins all faults, each an [Error]. Anchors, aliases and
// merge keys are refused: a file of decisions says each thing where it stands.
// An empty document leaves out as it is.
func Decode(file string, data []byte, out any) error {
	if len(data) > MaxSize {
		return &Error{File: file, Line: 1, Text: fmt.Sprintf("longer than %d bytes", MaxSize)}
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return syntax(file, err)
	}
	var second yaml.Node
	switch err := dec.Decode(&second); {
	case err == nil:
		return &Error{File: file, Line: max(second.Line, 1), Text: "a second document; only one is read"}
	case !errors.Is(err, io.EOF):
		return syntax(file, err)
	}
	if len(doc.Content) != 1 {
		return nil
	}
	d := decoder{file: file}
	root := doc.Content[0]
	if !isNull(root) { // only comments: nothing is said
		d.value(root, reflect.ValueOf(out).Elem(), 0)
	}
	return errors.Join(d.faults...)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntax takes the line out of the parser's message.
func syntax(file string, err error) error {
	text, line := err.Error(), 1
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		text = text[len(m[0]):]
	}
	return &Error{File: file, Line: line, Text: text}
}
