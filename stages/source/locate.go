package source

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// place is where the source is.
type place struct {
	file     string   // on this machine
	url      *url.URL // or behind this, without the checksum
	checksum string
}

var scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// locate reads the spec. What go-getter would take beyond http and https
// (git::, s3::, subdirectories after //) is refused here, before it sees it.
func (s *Stage) locate() (place, error) {
	if !scheme.MatchString(s.Spec) {
		if i := strings.Index(s.Spec, "::"); i > 0 && !strings.ContainsAny(s.Spec[:i], "/.") {
			return place{}, fmt.Errorf("%s:: is not supported: name a directory, an archive, or a URL with http, https or file", s.Spec[:i])
		}
		file, query, _ := strings.Cut(s.Spec, "?checksum=")
		p := place{file: file, checksum: query}
		return p, s.agree(&p)
	}
	u, err := url.Parse(s.Spec)
	if err != nil {
		return place{}, errors.New("not a URL that can be read") // the error would quote it
	}
	q := u.Query()
	p := place{checksum: q.Get("checksum")}
	for _, ours := range []string{"checksum", "archive", "filename"} {
		q.Del(ours)
	}
	u.RawQuery = q.Encode()
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return place{}, errors.New("a file URL with a host: write file:///path")
		}
		p.file = u.Path
	case "http", "https":
		if u.Host == "" || strings.Contains(u.Path, "//") || strings.HasSuffix(u.Path, "/") || u.Path == "" {
			return place{}, errors.New("the URL does not name a file")
		}
		u.Fragment = ""
		p.url = u
	default:
		return place{}, fmt.Errorf("%s is not supported: use http, https or file", u.Scheme)
	}
	return p, s.agree(&p)
}

// agree brings the checksum of the URL and that of the option together.
func (s *Stage) agree(p *place) error {
	if p.checksum != "" && s.Checksum != "" && p.checksum != s.Checksum {
		return errors.New("it has one checksum in its name and another one beside")
	}
	if p.checksum == "" {
		p.checksum = s.Checksum
	}
	if p.checksum == "" {
		return nil
	}
	_, _, err := parseChecksum(p.checksum)
	return err
}

// Redact removes credentials from a spec: the password of a URL, and the values
// of its query, which may be signatures or tokens.
func Redact(spec string) string {
	if !scheme.MatchString(spec) {
		return hostpath.Quote(spec)
	}
	u, err := url.Parse(spec)
	if err != nil {
		before, _, _ := strings.Cut(spec, "://")
		return before + "://" + facts.Redacted
	}
	out := u.Scheme + "://"
	if u.User != nil {
		out += facts.Redacted + "@"
	}
	out += u.Host + u.EscapedPath()
	var query []string
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		switch {
		case pair == "":
		case key == "checksum" || key == "archive":
			query = append(query, pair)
		default:
			query = append(query, key+"="+facts.Redacted)
		}
	}
	if len(query) > 0 {
		out += "?" + strings.Join(query, "&")
	}
	return hostpath.Quote(out)
}

func anyOf(root *rootfs.Root, paths ...hostpath.Path) bool {
	for _, p := range paths {
		if _, err := root.Stat(p); err == nil {
			return true
		}
	}
	return false
}
