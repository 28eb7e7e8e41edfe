package split

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// mention is how a service came to name a path.
type mention struct {
	key    string // the option, variable or directive
	from   claim.Evidence
	writes bool // it is said that the service writes there
}

// mention makes of a path that a service names what its place suggests:
// configuration, run-time state, or data.
func (s *run) mention(ctx context.Context, svc service, p hostpath.Path, m mention) error {
	p = s.real(p)
	kind := placeOf(p)
	if kind == inEtc {
		if err := s.namedIn(ctx, svc, p); err != nil {
			return err
		}
		s.scopes = append(s.scopes, scope{path: p, serves: svc.name, by: svc.claim("", "", p, "", m.from).By, authority: claim.ByUnit,
			why: fmt.Sprintf("%s names it", describe(svc)), from: m.from})
		return nil
	}
	n, ok, err := s.view.at(ctx, p)
	if err != nil || neverClaimed(p) {
		return err
	}
	if p.Within(unitfile.Credentials) {
		return nil // the manager makes it, from what it is given
	}
	directory := ok && n.typ == tree.Directory
	switch kind {
	case inRuntime, inCache:
		dir := p
		if !directory {
			dir = p.Dir()
		}
		if !neverClaimed(dir) && !dir.Within("/dev") {
			s.claims.add(svc.claim(claim.Ephemeral, claim.Tree, dir, fmt.Sprintf("run-time state or cache of %s", describe(svc)), m.from))
		}
		return nil
	case inLogs:
		if directory {
			c := svc.claim(claim.Ephemeral, claim.Tree, p, fmt.Sprintf("the logs of %s, which go to standard output", describe(svc)), m.from)
			c.When = "type!=f"
			s.claims.add(c)
		}
		return nil
	case inData:
	default:
		return nil
	}
	if !ok {
		return nil
	}
	s.uses(svc, p, m.from)
	return s.mentionData(ctx, svc, n, m)
}

// mentionData judges a path that exists in a place of data.
func (s *run) mentionData(ctx context.Context, svc service, n node, m mention) error {
	dir := n.path
	if n.typ != tree.Directory {
		switch kind := nameKind(n.path.Base(), n.typ); {
		case kind == confName:
			if err := s.namedIn(ctx, svc, n.path); err != nil {
				return err
			}
			s.scopes = append(s.scopes, scope{path: n.path, exact: true, serves: svc.name, by: svc.claim("", "", n.path, "", m.from).By, authority: claim.ByUnit,
				why: fmt.Sprintf("configuration that %s names", describe(svc)), from: m.from})
			return nil
		case kind == dataName || m.writes || dataKey(m.key):
			dir = n.path.Dir()
		default:
			return nil
		}
	}
	if neverClaimed(dir) || s.applicationRoot(dir) {
		return nil // code and data of a whole application: see divide
	}
	switch nameKind(dir.Base(), tree.Directory) {
	case codeName:
		if !m.writes && !dataKey(m.key) {
			return nil
		}
	case confName:
		s.scopes = append(s.scopes, scope{path: dir, serves: svc.name, by: svc.claim("", "", dir, "", m.from).By, authority: claim.ByUnit,
			why: fmt.Sprintf("configuration that %s names", describe(svc)), from: m.from})
		return nil
	case cacheName:
		s.claims.add(svc.claim(claim.Ephemeral, claim.Tree, dir, fmt.Sprintf("the cache of %s", describe(svc)), m.from))
		return nil
	case logName:
		c := svc.claim(claim.Ephemeral, claim.Tree, dir, fmt.Sprintf("the logs of %s", describe(svc)), m.from)
		c.When = "type!=f"
		s.claims.add(c)
		return nil
	}
	c := svc.claim(claim.Volume, claim.Tree, dir, fmt.Sprintf("data of %s", describe(svc)), m.from)
	if m.writes || strongKey(m.key) {
		s.claims.add(c)
		return nil
	}
	c.Confidence = claim.Medium // it may as well be code
	return s.divide(ctx, division{claim: c})
}

// dataKey is true for names of options and variables that mean a place, mostly of
// data.
func dataKey(key string) bool {
	return strongKey(key) || holdsAny(key, "dir", "root", "home", "path")
}

// strongKey is true for names that mean data and nothing else.
func strongKey(key string) bool {
	return strings.TrimLeft(key, "-") == "d" || holdsAny(key, "data", "spool", "store", "storage", "state", "db", "repo", "queue", "upload")
}

func holdsAny(key string, parts ...string) bool {
	key = strings.ToLower(key)
	return slices.ContainsFunc(parts, func(part string) bool { return strings.Contains(key, part) })
}

// nameClass is what the name of a file or directory says about it.
type nameClass int

const (
	anyName nameClass = iota
	codeName
	confName
	dataName
	cacheName
	logName
)

// nameKind judges by name alone. The lists are those of everyday use: the file
// hierarchy standard's own names, and what applications under /opt and web
// roots call their parts.
func nameKind(name string, typ tree.Type) nameClass {
	lower := strings.ToLower(name)
	if typ == tree.Directory {
		switch lower {
		case "bin", "sbin", "lib", "lib64", "libs", "libexec", "share", "doc", "docs", "man", "include", "src", "vendor", "node_modules", "static", "templates",
			"public", "app", "webapps", "modules", "plugins", "themes", "scripts", "locale", "locales", "i18n", "examples", "jre", "jdk", "python", "venv", ".venv", "env", "site-packages", "dist", "build", "assets", "css", "js", "img", "classes", "web-inf", "tools", "migrations", "support":
			return codeName
		case "conf", "conf.d", "config", "configs", "cfg", "etc", "settings":
			return confName
		case "data", "var", "db", "database", "databases", "storage", "spool", "uploads", "upload", "files", "media", "store", "repo", "repos", "repositories", "state", "queue", "queues",
			"ledger", "attachments", "documents", "backup", "backups", "dumps", "archive", "archives", "mail", "maildir", "indexes", "index", "lucene", "blobs", "objects", "inbox", "outbox", "incoming", "outgoing", "export", "import", "sessions-data", "avatars", "sqlite", "private-files":
			return dataName
		case "cache", "caches", ".cache", "tmp", "temp", "work", "run", "sessions":
			return cacheName
		case "log", "logs":
			return logName
		}
		return anyName
	}
	switch ext := strings.ToLower(path.Ext(name)); ext {
	case ".conf", ".cfg", ".ini", ".yaml", ".yml", ".toml", ".env", ".properties", ".cnf", ".config", ".plist":
		return confName
	case ".db", ".sqlite", ".sqlite3", ".db3", ".mdb", ".ldb", ".rdb", ".aof", ".frm", ".ibd", ".myd", ".myi", ".dbf", ".fdb", ".gdb", ".bolt", ".kdbx", ".journal", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".mbox", ".eml":
		return dataName
	case ".log":
		return logName
	case ".pid", ".tmp", ".swp", ".lock":
		return cacheName
	case ".php", ".py", ".pyc", ".rb", ".pl", ".pm", ".js", ".mjs", ".cjs", ".ts", ".jsx", ".tsx", ".vue", ".java", ".class", ".jar", ".war", ".ear", ".so", ".a", ".o", ".dll", ".exe", ".sh", ".bash",
		".html", ".htm", ".phtml", ".css", ".scss", ".less", ".twig", ".tpl", ".tmpl", ".erb", ".jsp", ".asp", ".aspx", ".cgi", ".fcgi", ".inc", ".lua", ".go", ".rs", ".c", ".h", ".cc", ".cpp", ".map", ".mo", ".po", ".pot", ".xsl", ".xsd", ".wasm", ".woff", ".woff2", ".ttf", ".eot", ".svg", ".ico":
		return codeName
	}
	if strings.HasPrefix(lower, ".env") {
		return confName
	}
	if strings.Contains(lower, ".so.") {
		return codeName
	}
	return anyName
}
