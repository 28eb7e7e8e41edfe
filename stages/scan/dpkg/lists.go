package dpkg

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// list adds what the three files about one package say: NAME.list (all its
// paths), NAME.md5sums (files that are no conffiles), NAME.conffiles, and the
// sums of the conffiles, which the status file has.
func (l *loader) list(dir *os.File, at hostpath.Path, k *pkg) error {
	owner := l.addPackage(k.name)
	parts := []struct {
		suffix   string
		needed   bool
		parse    func(line string) (string, *[md5Size]byte, string)
		flags    flags
		problems int
	}{
		{suffix: ".list", needed: true, parse: parsePath, flags: shipped},
		{suffix: ".md5sums", parse: parseSumLine},
		{suffix: ".conffiles", parse: parseConffile, flags: conffile},
	}
	for _, part := range parts {
		name, data, err := l.read(dir, at, k, part.suffix)
		if errors.Is(err, fs.ErrNotExist) && !part.needed {
			continue
		}
		if err != nil {
			if err := l.problem(facts.Source{Path: name}, err.Error()); err != nil {
				return err
			}
			continue
		}
		for n, line := range lines(data) {
			p, sum, fault := part.parse(line)
			if fault == "" && p != "" {
				if err := l.add(owner, k.name, p, part.flags, sum); err != nil {
					fault = err.Error()
				}
			}
			if fault != "" {
				if err := l.problem(facts.Source{Path: name, Line: n}, fault); err != nil {
					return err
				}
				// One broken line is told, a wholly broken file not line by line.
				if part.problems++; part.problems == 3 {
					break
				}
			}
			if part.suffix == ".list" && p != "" && p != "/" {
				k.fact.Files++
			}
		}
	}
	return l.conffileSums(owner, k)
}

// conffileSums reads the field Conffiles: lines of a path, an MD5 sum or the
// word newconffile, and flags (obsolete, remove-on-upgrade).
func (l *loader) conffileSums(owner uint32, k *pkg) error {
	for n, line := range lines([]byte(k.conffiles.value)) {
		p, sum, fault := parseConffileSum(line)
		if fault == "" && p != "" {
			if err := l.add(owner, k.name, p, conffile, sum); err != nil {
				fault = err.Error()
			}
		}
		if fault != "" {
			if err := l.problem(facts.Source{Path: statusFile, Line: k.conffiles.line + n - 1}, fault); err != nil {
				return err
			}
		}
	}
	return nil
}

// lines yields the lines of data with their numbers from 1.
func lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for n := 1; len(data) > 0; n++ {
			line, rest, _ := bytes.Cut(data, []byte("\n"))
			data = rest
			if !yield(n, string(line)) {
				return
			}
		}
	}
}

// parsePath reads a line of NAME.list: an absolute path.
func parsePath(line string) (string, *[md5Size]byte, string) {
	if line == "" {
		return "", nil, ""
	}
	if line[0] != '/' {
		return "", nil, "not an absolute path: " + hostpath.Quote(line)
	}
	return string(hostpath.Clean(line)), nil, ""
}

// parseConffile reads a line of NAME.conffiles, on which a flag may come before
// the path (deb-conffiles(5)).
func parseConffile(line string) (string, *[md5Size]byte, string) {
	if rest, ok := strings.CutPrefix(line, "remove-on-upgrade "); ok {
		line = rest
	}
	return parsePath(strings.TrimSpace(line))
}

// parseSumLine reads a line of NAME.md5sums, which md5sum(1) can check: the sum,
// two characters, and the path without its first slash. A backslash before the
// sum says that the path has escapes.
func parseSumLine(line string) (string, *[md5Size]byte, string) {
	if strings.TrimSpace(line) == "" {
		return "", nil, ""
	}
	rest, escaped := strings.CutPrefix(line, `\`)
	if len(rest) < 2*md5Size+3 {
		return "", nil, "not a line of md5sum: " + hostpath.Quote(line)
	}
	sum, ok := parseSum(rest[:2*md5Size])
	if !ok || rest[2*md5Size] != ' ' || rest[2*md5Size+1] != ' ' && rest[2*md5Size+1] != '*' {
		return "", nil, "not a line of md5sum: " + hostpath.Quote(line)
	}
	p := rest[2*md5Size+2:]
	if escaped {
		p = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(p)
	}
	return string(hostpath.Clean(p)), &sum, ""
}

// parseConffileSum reads a line of the field Conffiles. The path may hold
// blanks, so it is read from the end.
func parseConffileSum(line string) (string, *[md5Size]byte, string) {
	line = strings.TrimSpace(line)
	if line == "" {
		return "", nil, ""
	}
	for {
		before, last, ok := cutLast(line)
		switch {
		case !ok:
			return "", nil, "not a line of Conffiles: " + hostpath.Quote(line)
		case last == "obsolete", last == "remove-on-upgrade":
			line = before
			continue
		case !strings.HasPrefix(before, "/"):
			return "", nil, "not an absolute path: " + hostpath.Quote(before)
		case last == "newconffile":
			return string(hostpath.Clean(before)), nil, ""
		}
		sum, ok := parseSum(last)
		if !ok {
			return "", nil, "not an MD5 sum: " + hostpath.Quote(last)
		}
		return string(hostpath.Clean(before)), &sum, ""
	}
}

func cutLast(s string) (before, last string, ok bool) {
	i := strings.LastIndexAny(s, " \t")
	if i < 0 {
		return "", s, false
	}
	return strings.TrimRight(s[:i], " \t"), s[i+1:], true
}
