package split

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// absolutePaths are the absolute paths that a text of configuration or a command
// names, in order: whole words, what follows = or : in a word, without quotes
// and the punctuation of configuration languages. URLs are no paths.
func absolutePaths(text string) []hostpath.Path {
	var out []hostpath.Path
	for _, word := range strings.FieldsFunc(text, func(r rune) bool {
		return r == ' ' || r == '\t' || r == '\n' || r == '"' || r == '\'' || r == '`' || r == ',' || r == ';' || r == '(' || r == ')' || r == '<' || r == '>' || r == '|' || r == '&' || r == '{' || r == '}'
	}) {
		if strings.Contains(word, "://") {
			continue
		}
		at := strings.IndexByte(word, '/')
		if at < 0 {
			continue
		}
		if at > 0 && word[at-1] != '=' && word[at-1] != ':' && word[at-1] != '@' && word[at-1] != '[' {
			continue // relative, or an option such as -I/usr/include
		}
		word = strings.TrimRight(word[at:], ".:]")
		for _, part := range strings.Split(word, ":/") { // PATH-like lists
			if p := hostpath.Clean(part); p != hostpath.Root && !strings.ContainsAny(part, "$*?\x00") && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	return out
}

// lastPath is the path that a setting is about: of "/archive /srv/archive" and
// of "|/usr/bin/rotatelogs /var/log/x" it is the last.
func lastPath(value string) (hostpath.Path, bool) {
	list := absolutePaths(value)
	if len(list) == 0 {
		return "", false
	}
	return list[len(list)-1], true
}

func neverClaimed(p hostpath.Path) bool {
	return slices.Contains(profile.NeverClaimed(), string(p))
}

// place says what a path is by where it lies.
type placeKind int

const (
	elsewhere placeKind = iota
	inEtc
	inCode
	inRuntime
	inCache
	inLogs
	inData
)

func placeOf(p hostpath.Path) placeKind {
	for _, x := range []struct {
		dir  hostpath.Path
		kind placeKind
	}{
		{"/etc", inEtc}, {"/usr/local/etc", inEtc},
		{"/run", inRuntime}, {"/var/run", inRuntime}, {"/tmp", inRuntime}, {"/var/tmp", inRuntime}, {"/dev", inRuntime}, {"/var/lock", inRuntime},
		{"/proc", inRuntime}, {"/sys", inRuntime},
		{"/var/cache", inCache}, {"/var/log", inLogs},
		{"/usr", inCode}, {"/bin", inCode}, {"/sbin", inCode}, {"/lib", inCode}, {"/lib32", inCode}, {"/lib64", inCode}, {"/boot", inCode},
		{"/var/lib/dpkg", inCode}, {"/var/lib/apt", inCode}, {"/var/lib/systemd", inCode},
	} {
		if p.Within(x.dir) {
			return x.kind
		}
	}
	if neverClaimed(p) {
		return elsewhere
	}
	return inData
}
