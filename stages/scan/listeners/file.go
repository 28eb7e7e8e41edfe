package listeners

import (
	"bytes"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// maxFile is far above what a person writes to configure one program.
const maxFile = 256 << 10

// ofFiles looks for addresses in the files that a command line names: the
// configuration of a program that no profile knows (listen = 127.0.0.1:8070).
func ofFiles(r *rootfs.Root, u facts.Unit, vars map[string]word) []facts.Listener {
	var out []facts.Listener
	for c := range started(u) {
		if isClient(hostpath.Path(c.Path).Base()) {
			continue
		}
		for _, arg := range unitfile.ExpandVariables(c.Args, lookup(vars))[min(1, len(c.Args)):] {
			if _, value, ok := strings.Cut(arg, "="); ok && strings.HasPrefix(arg, "-") {
				arg = value
			}
			if strings.HasPrefix(arg, "/etc/") || strings.HasPrefix(arg, "/opt/") || strings.HasPrefix(arg, "/srv/") || strings.HasPrefix(arg, "/usr/local/") {
				out = append(out, ofFile(r, hostpath.Clean(arg))...)
			}
		}
	}
	return out
}

// ofFile reads lines "key = value" and "key: value", of JSON, too. Only keys that
// speak of listening or binding are believed: host and port alone are as often
// those of a server that the program uses.
func ofFile(r *rootfs.Root, path hostpath.Path) []facts.Listener {
	path, err := r.Resolve(path)
	if err != nil {
		return nil
	}
	data, err := r.ReadFile(path, maxFile)
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return nil // a directory, a program, or nothing that could be read
	}
	var out []facts.Listener
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		at := strings.IndexAny(line, "=:")
		if at <= 0 || strings.IndexByte("#;/", line[0]) >= 0 {
			continue
		}
		key := strings.ToLower(strings.Trim(strings.TrimSpace(line[:at]), `"'`))
		if strings.ContainsAny(key, " \t") || !strings.Contains(key, "listen") && !strings.Contains(key, "bind") {
			continue
		}
		value := strings.Trim(strings.TrimSpace(strings.TrimSuffix(line[at+1:], ",")), `"'`)
		if _, number := parsePort(value); !number && !strings.ContainsAny(value, ":/") {
			continue
		}
		if l, ok := parseAddress(value, "tcp", 0); ok {
			l.Source = facts.Source{Path: path, Line: i + 1}
			out = append(out, l)
		}
	}
	return out
}
