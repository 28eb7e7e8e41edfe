package settings

import (
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// php reads what PHP files set to literal values: define('NAME', 'value'),
// const NAME = 'value', $name['a']['b'] = 'value', properties of a class, and
// arrays, also those that a file returns: keys are NAME, name.a.b. Literals may
// be joined with dots, and with __DIR__, dirname(__FILE__) and constants that
// are known. Nothing is run; bodies of functions are passed over.
type php struct{}

func (php) parse(rd *reader, f file) error {
	p := &phpParser{
		tokens: phpTokens(f.text), dir: string(f.path.Dir()), file: string(f.path), constants: map[string]string{},
		set: func(key []string, value string, line int) error {
			return rd.set(f.at(line), strings.Join(key, "."), key[len(key)-1], value)
		},
	}
	return p.run()
}

type phpParser struct {
	tokens    []phpToken
	at        int
	file, dir string
	constants map[string]string
	set       func(key []string, value string, line int) error
	err       error
}

func (p *phpParser) peek(n int) phpToken {
	if p.at+n < len(p.tokens) {
		return p.tokens[p.at+n]
	}
	return phpToken{}
}

// is reports whether the next token is this sign or word.
func (p *phpParser) is(text string) bool {
	t := p.peek(0)
	return (t.kind == phpSign || t.kind == phpWord) && strings.EqualFold(t.text, text)
}

func (p *phpParser) take(text string) bool {
	if p.is(text) {
		p.at++
		return true
	}
	return false
}

func (p *phpParser) run() error {
	for p.at < len(p.tokens) && p.err == nil {
		t := p.peek(0)
		switch {
		case p.take("define"):
			p.define()
		case p.take("const"):
			if n := p.peek(0); n.kind == phpWord && p.peek(1).text == "=" {
				p.at += 2
				p.assign([]string{n.text}, n.line, true)
			}
		case p.take("return"):
			if p.is("[") || p.is("array") {
				p.assign(nil, t.line, false)
			}
		case p.take("function"), p.take("fn"):
			p.skipFunction()
		case t.kind == phpVariable:
			p.variable()
		default:
			p.at++
		}
	}
	return p.err
}

func (p *phpParser) define() {
	if !p.take("(") {
		return
	}
	name := p.peek(0)
	if name.kind != phpString || p.peek(1).text != "," {
		return
	}
	p.at += 2
	p.assign([]string{name.text}, name.line, true)
}

// variable reads $name['key'][…] = value.
func (p *phpParser) variable() {
	t := p.peek(0)
	p.at++
	key := []string{t.text}
	for p.take("[") {
		k := p.peek(0)
		switch {
		case (k.kind == phpString || k.kind == phpNumber || k.kind == phpWord) && p.peek(1).text == "]":
			key = append(key, k.text)
			p.at += 2
		case k.kind == phpVariable && p.peek(1).text == "]": // $cfg['Servers'][$i]
			p.at += 2
		case p.take("]"):
		default:
			return
		}
	}
	if p.peek(0).kind == phpSign && p.take("=") {
		p.assign(key, t.line, false)
	}
}

// assign reads the value of key, and the elements when it is an array.
func (p *phpParser) assign(key []string, line int, constant bool) {
	if p.is("[") || p.is("array") && p.peek(1).text == "(" {
		p.array(key)
		return
	}
	value, ok := p.expression()
	if !ok || p.err != nil || len(key) == 0 {
		return
	}
	if constant {
		p.constants[key[0]] = value
	}
	p.err = p.set(key, value, line)
}

// array reads [ … ] or array( … ).
func (p *phpParser) array(key []string) {
	p.take("array")
	end := "]"
	if p.take("(") {
		end = ")"
	} else if !p.take("[") {
		return
	}
	if len(key) >= maxDepth {
		return
	}
	for n := 0; p.at < len(p.tokens) && p.err == nil && !p.take(end); n++ {
		t := p.peek(0)
		before := p.at
		if (t.kind == phpString || t.kind == phpNumber || t.kind == phpWord) && p.peek(1).text == "=>" {
			p.at += 2
			p.assign(append(key[:len(key):len(key)], t.text), t.line, false)
		} else if p.is("[") || p.is("array") {
			p.array(append(key[:len(key):len(key)], "*"))
		} else {
			p.expression()
		}
		p.skipTo(end)
		if !p.take(",") && p.at == before {
			p.at++
		}
	}
}

// skipTo goes to the comma or the end of the element.
func (p *phpParser) skipTo(end string) {
	depth := 0
	for ; p.at < len(p.tokens); p.at++ {
		t := p.peek(0)
		if t.kind != phpSign {
			continue
		}
		switch t.text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth == 0 {
				if t.text == end {
					return
				}
				continue
			}
			depth--
		case ",":
			if depth == 0 {
				return
			}
		case ";":
			if depth == 0 {
				return
			}
		}
	}
}

// expression reads literals joined by dots. ok is false for all else, and
// nothing after it is taken.
func (p *phpParser) expression() (value string, ok bool) {
	for {
		part, ok := p.operand()
		if !ok || len(value)+len(part) > maxValue {
			return "", false
		}
		value += part
		switch t := p.peek(0); {
		case p.take("."):
		case t.kind == phpEnd, t.kind == phpSign && strings.Contains(";,)]}", t.text):
			return value, true
		default:
			return "", false
		}
	}
}

func (p *phpParser) operand() (string, bool) {
	t := p.peek(0)
	switch t.kind {
	case phpString:
		p.at++
		return t.text, !t.mixed
	case phpNumber:
		p.at++
		return t.text, true
	case phpSign:
		if t.text == "-" && p.peek(1).kind == phpNumber {
			p.at += 2
			return "-" + p.tokens[p.at-1].text, true
		}
	case phpWord:
		switch strings.ToLower(t.text) {
		case "true", "false", "null":
			p.at++
			return strings.ToLower(t.text), true
		case "__dir__":
			p.at++
			return p.dir, true
		case "__file__":
			p.at++
			return p.file, true
		case "dirname":
			return p.dirname()
		}
		if v, ok := p.constants[t.text]; ok && p.peek(1).text != "(" {
			p.at++
			return v, true
		}
	}
	return "", false
}

// dirname reads dirname(__FILE__), dirname(__DIR__) and nested ones.
func (p *phpParser) dirname() (string, bool) {
	p.at++
	if !p.take("(") || p.at > len(p.tokens) {
		return "", false
	}
	inner, ok := p.operand()
	if !ok || !p.take(")") || !strings.HasPrefix(inner, "/") {
		return "", false
	}
	return string(hostpath.Clean(inner).Dir()), true
}

// skipFunction passes over parameters and body.
func (p *phpParser) skipFunction() {
	depth := 0
	for ; p.at < len(p.tokens); p.at++ {
		t := p.peek(0)
		if t.kind != phpSign {
			continue
		}
		switch t.text {
		case "(", "{":
			depth++
		case ")":
			depth--
		case "}":
			if depth--; depth <= 0 {
				p.at++
				return
			}
		case ";":
			if depth <= 0 {
				return
			}
		}
	}
}
