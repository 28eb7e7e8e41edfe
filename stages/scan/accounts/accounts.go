// Package accounts reads the users and groups of a host from passwd(5) and
// group(5). Passwords are not read: neither shadow(5) nor the old field.
package accounts

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
)

const (
	passwd = hostpath.Path("/etc/passwd")
	group  = hostpath.Path("/etc/group")
)

// Collector implements collect.Collector.
type Collector struct{}

// Name implements collect.Collector.
func (Collector) Name() string { return "accounts" }

// Wants implements collect.Collector.
func (Collector) Wants(p hostpath.Path, _ tree.Type) bool { return p == passwd || p == group }

// Collect implements collect.Collector. A host without the files is told as a
// problem, since nothing can run there under a name.
func (c Collector) Collect(ctx context.Context, r *rootfs.Root, _ []hostpath.Path, emit collect.Emit) error {
	for _, p := range []hostpath.Path{passwd, group} {
		data, ok, err := collect.Read(r, c.Name(), p, emit)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		err = collect.Each(ctx, c.Name(), p, data, func(line string, src facts.Source) (collect.Found, error) {
			return parse(p, line, src)
		}, emit)
		if err != nil {
			return err
		}
	}
	return nil
}

// parse reads one line. A line that names nobody says nothing: a comment, an empty
// line, a line of the Network Information Service, which begins with + or -.
func parse(p hostpath.Path, line string, src facts.Source) (collect.Found, error) {
	if s := strings.TrimSpace(line); s == "" || s[0] == '#' || s[0] == '+' || s[0] == '-' {
		return collect.Found{}, collect.ErrNothing
	}
	if p == group {
		g, err := parseGroup(line)
		return collect.Found{Kind: facts.KindGroup, Name: g.Name, Source: src, Data: g}, err
	}
	u, err := parseUser(line)
	return collect.Found{Kind: facts.KindUser, Name: u.Name, Source: src, Data: u}, err
}

// parseUser reads name:password:uid:gid:comment:home:shell.
func parseUser(line string) (facts.User, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return facts.User{}, errors.New("not a line of passwd: it has not seven fields")
	}
	uid, err1 := id(f[2])
	gid, err2 := id(f[3])
	if err := errors.Join(err1, err2); err != nil || f[0] == "" {
		return facts.User{}, errors.New("not a line of passwd: name, user and group number are needed")
	}
	u := facts.User{Name: hostpath.Quote(f[0]), UID: uid, GID: gid, Shell: hostpath.Quote(f[6])}
	if f[5] != "" {
		u.Home = hostpath.Clean(f[5])
	}
	return u, nil
}

// parseGroup reads name:password:gid:members.
func parseGroup(line string) (facts.Group, error) {
	f := strings.Split(line, ":")
	if len(f) != 4 {
		return facts.Group{}, errors.New("not a line of group: it has not four fields")
	}
	gid, err := id(f[2])
	if err != nil || f[0] == "" {
		return facts.Group{}, errors.New("not a line of group: name and number are needed")
	}
	g := facts.Group{Name: hostpath.Quote(f[0]), GID: gid}
	for m := range strings.SplitSeq(f[3], ",") {
		if m = strings.TrimSpace(m); m != "" {
			g.Members = append(g.Members, hostpath.Quote(m))
		}
	}
	return g, nil
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err
}
