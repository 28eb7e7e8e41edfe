package plan

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// host is what the inventory knows beyond its entries. Facts are few: what a
// host has configured, not what it holds.
type host struct {
	cat  *catalog.Catalog
	root *rootfs.Root

	os         facts.OS
	users      map[string]facts.User
	groups     map[string]facts.Group
	groupList  []facts.Group
	units      map[string]facts.Unit
	unitNames  []string
	scripts    []facts.Script
	crons      []facts.Cron
	fstab      []facts.Fstab
	tmpfiles   []facts.Tmpfile
	settings   []facts.Setting
	listeners  []facts.Listener
	processes  []facts.Process
	packages   map[string]bool
	claims     []claim.Claim
	claimByID  map[int64]int
	timeZone   string
	ownAddress map[string]bool // names and addresses by which the host calls itself
}

func readHost(ctx context.Context, cat *catalog.Catalog, root *rootfs.Root, os facts.OS) (*host, error) {
	h := &host{
		cat: cat, root: root, os: os,
		users: map[string]facts.User{}, groups: map[string]facts.Group{}, units: map[string]facts.Unit{},
		packages: map[string]bool{}, claimByID: map[int64]int{},
	}
	var (
		users []facts.User
		units []facts.Unit
		pkgs  []facts.Package
		err   error
	)
	load := func(step func() error) {
		if err == nil {
			err = step()
		}
	}
	load(func() (e error) { users, e = catalog.Facts[facts.User](ctx, cat, facts.KindUser); return })
	load(func() (e error) { h.groupList, e = catalog.Facts[facts.Group](ctx, cat, facts.KindGroup); return })
	load(func() (e error) { units, e = catalog.Facts[facts.Unit](ctx, cat, facts.KindUnit); return })
	load(func() (e error) { h.scripts, e = catalog.Facts[facts.Script](ctx, cat, facts.KindScript); return })
	load(func() (e error) { h.crons, e = catalog.Facts[facts.Cron](ctx, cat, facts.KindCron); return })
	load(func() (e error) { h.fstab, e = catalog.Facts[facts.Fstab](ctx, cat, facts.KindFstab); return })
	load(func() (e error) { h.tmpfiles, e = catalog.Facts[facts.Tmpfile](ctx, cat, facts.KindTmpfile); return })
	load(func() (e error) { h.settings, e = catalog.Facts[facts.Setting](ctx, cat, facts.KindSetting); return })
	load(func() (e error) { h.listeners, e = catalog.Facts[facts.Listener](ctx, cat, facts.KindListener); return })
	load(func() (e error) { h.processes, e = catalog.Facts[facts.Process](ctx, cat, facts.KindProcess); return })
	load(func() (e error) { pkgs, e = catalog.Facts[facts.Package](ctx, cat, facts.KindPackage); return })
	load(func() (e error) { h.claims, e = cat.Claims(ctx); return })
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if _, twice := h.users[u.Name]; !twice { // the first line counts, as getpwnam(3) reads it
			h.users[u.Name] = u
		}
	}
	for _, g := range h.groupList {
		if _, twice := h.groups[g.Name]; !twice {
			h.groups[g.Name] = g
		}
	}
	for _, u := range units {
		h.units[u.Name] = u
		h.unitNames = append(h.unitNames, u.Name)
	}
	slices.Sort(h.unitNames)
	for _, p := range pkgs {
		h.packages[p.Name] = true
	}
	for i, c := range h.claims {
		h.claimByID[c.ID] = i
	}
	slices.SortStableFunc(h.crons, func(a, b facts.Cron) int {
		return cmp.Or(hostpath.Compare(a.Path, b.Path), cmp.Compare(a.Line, b.Line))
	})
	h.timeZone = h.readTimeZone()
	return h, nil
}

// claim finds a claim by its ID.
func (h *host) claim(id int64) (claim.Claim, bool) {
	i, ok := h.claimByID[id]
	if !ok {
		return claim.Claim{}, false
	}
	return h.claims[i], true
}

// readTimeZone is the name of the host's time zone (localtime(5)), "" for UTC
// or when it is not known.
func (h *host) readTimeZone() string {
	const zones = "/usr/share/zoneinfo/"
	target, err := h.root.Readlink("/etc/localtime")
	if err == nil {
		if i := strings.Index(target, zones[1:]); i >= 0 {
			return zone(target[i+len(zones)-1:])
		}
	}
	data, err := h.root.ReadFile("/etc/timezone", 256)
	if err != nil {
		return ""
	}
	return zone(strings.TrimSpace(string(data)))
}

// zone refuses what is no name of a zone, and drops the names of UTC.
func zone(s string) string {
	switch s {
	case "UTC", "Etc/UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu", "Universal", "Etc/Universal", "Etc/Greenwich", "GMT", "Etc/GMT":
		return ""
	}
	for _, c := range []byte(s) {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("/_+-", c) >= 0
		if !ok {
			return ""
		}
	}
	if len(s) > 64 || strings.HasPrefix(s, "posix/") || strings.HasPrefix(s, "right/") {
		return ""
	}
	return s
}

// user finds a user by name or by number.
func (h *host) user(name string) (facts.User, bool) {
	if u, ok := h.users[name]; ok {
		return u, true
	}
	n, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return facts.User{}, false
	}
	return h.userByID(uint32(n)), true
}

// userByID never fails: an unknown number is a user without a name.
func (h *host) userByID(uid uint32) facts.User {
	best := facts.User{UID: uid, GID: uid}
	for _, u := range h.users {
		if u.UID == uid && (best.Name == "" || u.Name < best.Name) {
			best = u
		}
	}
	return best
}

// group finds a group's number by name or by number.
func (h *host) group(name string) (uint32, bool) {
	if g, ok := h.groups[name]; ok {
		return g.GID, true
	}
	n, err := strconv.ParseUint(name, 10, 32)
	return uint32(n), err == nil
}

// memberships are the groups in which the user is a member (initgroups(3)),
// without the primary one.
func (h *host) memberships(user string, primary uint32) []uint32 {
	var gids []uint32
	for _, g := range h.groupList {
		if g.GID != primary && user != "" && slices.Contains(g.Members, user) {
			gids = append(gids, g.GID)
		}
	}
	slices.Sort(gids)
	return slices.Compact(gids)
}
