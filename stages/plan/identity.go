package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/profile"
)

// setIdentity decides as whom the container runs, in numbers.
func (p *planner) setIdentity(s *service) {
	name, group := p.userOf(s)
	run := profile.Run{}
	if s.profile != nil {
		run = s.profile.Run
	}
	switch {
	case name == "" && run.StartsAsRoot:
		s.box.StartsAsRoot = true
		p.setWorkers(s)
		return
	case name == "" && run.User != "":
		name, group = run.User, firstOf(group, run.Group)
	case name == "" || name == "root":
		s.box.StartsAsRoot = true
		return
	}
	u, ok := p.host.user(name)
	if !ok {
		p.risk("high", s.id, fmt.Sprintf("runs as user %s, which the host's passwd does not have", name), "name the user on the host, or choose a number in an overlay")
		u = facts.User{Name: name, UID: 65534, GID: 65534}
	}
	id := p.identity(u, group)
	s.box.UID, s.box.GID, s.box.Groups = id.uid, id.gid, id.groups
	s.box.StartsAsRoot = id.uid == 0
	if d, ok := s.unit.Last("Service", "SupplementaryGroups"); ok {
		for g := range strings.FieldsSeq(d.Value) {
			if gid, ok := p.host.group(g); ok {
				s.box.Groups = append(s.box.Groups, gid)
			}
		}
		slices.Sort(s.box.Groups)
		s.box.Groups = slices.Compact(s.box.Groups)
	}
}

// setWorkers finds the users to whom a service changes by itself: those that its
// configuration names, else the profile's, else those of its run-time
// directories.
func (p *planner) setWorkers(s *service) {
	run := s.profile.Run
	add := func(user, group string) {
		u, ok := p.host.users[user]
		if !ok || u.UID == 0 {
			return
		}
		id := p.identity(u, group)
		if !slices.ContainsFunc(s.workers, func(w identity) bool { return w.uid == id.uid && w.gid == id.gid }) {
			s.workers = append(s.workers, id)
		}
	}
	for _, v := range p.host.settings {
		if v.Profile == s.profile.Name && !v.Secret && profile.MatchKey("user", v.Key) {
			user, _, _ := strings.Cut(strings.Trim(v.Value, `"'`), " ")
			add(user, "")
		}
	}
	if len(s.workers) == 0 {
		add(run.User, run.Group)
	}
	for _, r := range run.Runtime {
		if len(s.workers) == 0 {
			add(r.User, "")
		}
	}
}

// userOf is the user and group that the unit, script or job names.
func (p *planner) userOf(s *service) (user, group string) {
	switch {
	case s.cron != nil:
		return s.cron.User, ""
	case s.script != nil:
		// The script itself runs as root and changes to its user.
		if s.script.User != "" {
			if u, ok := p.host.user(s.script.User); ok {
				s.workers = append(s.workers, p.identity(u, ""))
			}
		}
		return "root", ""
	}
	if d, ok := s.unit.Last("Service", "User"); ok {
		user = unitSpecifiers(s.unit.Name, "", "", "", "").expand(d.Value)
		s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "User=" + d.Value})
	}
	if d, ok := s.unit.Last("Service", "Group"); ok {
		group = unitSpecifiers(s.unit.Name, "", "", "", "").expand(d.Value)
	}
	if d, ok := s.unit.Last("Service", "DynamicUser"); ok && isTrue(d.Value) {
		name := firstOf(user, s.base())
		if _, known := p.host.user(name); !known {
			// systemd takes a number from 61184 to 65519 by a hash of the name
			// (systemd.exec(5)); what it wrote belongs to that number already.
			p.risk("medium", s.id, "has a dynamic user, whose number is not in passwd", "give it a user of its own")
			user = strconv.Itoa(61184 + int(hash(name)%4336))
		}
	}
	return user, group
}

func (p *planner) identity(u facts.User, group string) identity {
	id := identity{uid: u.UID, gid: u.GID}
	if gid, ok := p.host.group(group); ok && group != "" {
		id.gid = gid
	}
	id.groups = p.host.memberships(u.Name, id.gid)
	if u.GID != id.gid && !slices.Contains(id.groups, u.GID) && group == "" {
		id.groups = append(id.groups, u.GID)
	}
	return id
}
