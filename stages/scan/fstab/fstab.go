// Package fstab reads the file systems that a host mounts, fstab(5).
package fstab

import (
	"context"
	"errors"
	"strings"

	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

const fstab = hostpath.Path("/etc/fstab")

// Collector implements collect.Collector.
type Collector struct{}

// Name implements collect.Collector.
func (Collector) Name() string { return "fstab" }

// Wants implements collect.Collector.
func (Collector) Wants(p hostpath.Path, _ tree.Type) bool { return p == fstab }

// Collect implements collect.Collector.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, paths []hostpath.Path, emit collect.Emit) error {
	if len(paths) == 0 {
		return nil // a container has none
	}
	data, ok, err := collect.Read(r, c.Name(), fstab, emit)
	if !ok {
		return err
	}
	return collect.Each(ctx, c.Name(), fstab, data, func(line string, src facts.Source) (collect.Found, error) {
		f, err := parse(line)
		f.Source = src
		return collect.Found{Kind: facts.KindFstab, Name: f.Target.String(), Source: src, Data: f}, err
	}, emit)
}

// parse reads one line: what, where, type, options, dump, pass. Fields are
// apart by blanks; a blank within one is \040.
func parse(line string) (facts.Fstab, error) {
	fields := strings.Fields(line)
	if len(fields) == 0 || fields[0][0] == '#' {
		return facts.Fstab{}, collect.ErrNothing
	}
	if len(fields) < 3 {
		return facts.Fstab{}, errors.New("not a line of fstab: it has not three fields")
	}
	for i, f := range fields {
		fields[i] = unescape(f)
	}
	f := facts.Fstab{Spec: redactSpec(fields[0]), FSType: hostpath.Quote(fields[2])}
	switch {
	case strings.HasPrefix(fields[1], "/"):
		f.Target = hostpath.Clean(fields[1])
	case fields[1] != "none" && fields[1] != "swap":
		return facts.Fstab{}, errors.New("not a line of fstab: the mount point is not an absolute path")
	}
	if len(fields) > 3 {
		for o := range strings.SplitSeq(fields[3], ",") {
			if o != "" && o != "defaults" {
				f.Options = append(f.Options, redactOption(o))
			}
		}
	}
	return f, nil
}

// redactOption keeps the key of an option whose value is a credential, such as
// password=; the files that credentials= and the like name are no secrets.
func redactOption(o string) string {
	o = hostpath.Quote(o)
	key, value, ok := strings.Cut(o, "=")
	if !ok {
		return o
	}
	switch strings.ToLower(key) {
	case "credentials", "cred", "secretfile", "keyfile", "keytab", "identityfile", "passwd_file", "password_file":
		return o
	case "pass", "password", "passwd", "password2", "pw", "secret", "key", "passphrase", "token", "access_key", "secret_key":
		return key + "=" + facts.Redacted
	case "user", "username":
		// mount.cifs(8) takes user=name%password.
		if name, _, ok := strings.Cut(value, "%"); ok {
			return key + "=" + name + "%" + facts.Redacted
		}
		return o
	}
	value, _ = credential.Redact(key, value)
	return key + "=" + value
}

// redactSpec removes the password of a URL (davfs, curlftpfs) or of the form
// //user:password@server/share.
func redactSpec(s string) string {
	s, _ = credential.Redact("", hostpath.Quote(s))
	if rest, ok := strings.CutPrefix(s, "//"); ok {
		server, share, slash := strings.Cut(rest, "/")
		if i := strings.LastIndexByte(server, '@'); i >= 0 {
			if user, _, ok := strings.Cut(server[:i], ":"); ok {
				server = user + ":" + facts.Redacted + server[i:]
			}
			s = "//" + server
			if slash {
				s += "/" + share
			}
		}
	}
	return s
}

// unescape reads the octal escapes of getmntent(3): \040, \011, \012, \134.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`, `\043`, "#").Replace(s)
}
