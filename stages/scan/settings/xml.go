package settings

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// xmlFormat reads XML such as Tomcat's server.xml: attributes and texts of
// elements under the names of the elements around them, joined by dots:
// Server.Service.Connector.port. An element that has a child name and a child
// value, as in Hadoop, is a setting of that name. Entities are not followed.
type xmlFormat struct{}

// xmlElement is an open element.
type xmlElement struct {
	name        string
	text        strings.Builder
	line        int
	children    bool
	label, data string // texts of the children name and value
}

func (xmlFormat) parse(rd *reader, f file) error {
	d := xml.NewDecoder(strings.NewReader(f.text))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil } // ASCII is enough for keys and paths
	var stack []*xmlElement
	for {
		token, err := d.Token()
		line, _ := d.InputPos()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return rd.problem(f.at(line), "is no XML")
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(stack) >= maxDepth*4 {
				return rd.problem(f.at(line), "elements are nested too deep")
			}
			if len(stack) > 0 {
				stack[len(stack)-1].children = true
			}
			stack = append(stack, &xmlElement{name: t.Name.Local, line: line})
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name.Local == "xmlns" {
					continue
				}
				if err := rd.set(f.at(line), xmlKey(stack)+"."+a.Name.Local, xmlName(t, a.Name.Local), a.Value); err != nil {
					return err
				}
			}
		case xml.CharData:
			if n := len(stack); n > 0 && stack[n-1].text.Len() < maxValue {
				stack[n-1].text.Write(t[:min(len(t), maxValue)])
			}
		case xml.EndElement:
			if len(stack) == 0 {
				continue
			}
			if err := xmlEnd(rd, f, stack); err != nil {
				return err
			}
			stack = stack[:len(stack)-1]
		}
	}
}

// xmlName is what tells whether an attribute is a credential: in
// <param name="password" value="x"/> the name.
func xmlName(t xml.StartElement, attr string) string {
	if attr != "value" {
		return attr
	}
	for _, a := range t.Attr {
		if a.Name.Local == "name" || a.Name.Local == "key" {
			return a.Value
		}
	}
	return attr
}

func xmlKey(stack []*xmlElement) string {
	names := make([]string, len(stack))
	for i, e := range stack {
		names[i] = e.name
	}
	return strings.Join(names, ".")
}

func xmlEnd(rd *reader, f file, stack []*xmlElement) error {
	e := stack[len(stack)-1]
	text := strings.TrimSpace(e.text.String())
	if e.children || text == "" {
		return e.pair(rd, f, xmlKey(stack))
	}
	if len(text) > maxValue {
		return rd.problem(f.at(e.line), fmt.Sprintf("text of %s is too long", e.name))
	}
	if len(stack) > 1 {
		parent := stack[len(stack)-2]
		switch e.name {
		case "name", "param-name", "key":
			parent.label = text
			return nil
		case "value", "param-value":
			parent.data = text
			return nil
		}
	}
	return rd.set(f.at(e.line), xmlKey(stack), e.name, text)
}

// pair emits the children name and value when the element ends.
func (e *xmlElement) pair(rd *reader, f file, key string) error {
	switch {
	case e.label != "" && e.data != "":
		return rd.set(f.at(e.line), e.label, e.label, e.data)
	case e.label != "":
		return rd.set(f.at(e.line), key+".name", "", e.label)
	case e.data != "":
		return rd.set(f.at(e.line), key+".value", e.name, e.data)
	}
	return nil
}
