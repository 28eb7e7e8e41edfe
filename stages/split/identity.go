package split

import (
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// identities are the users, root left out, as which a service or the processes
// that it starts run: by its unit or script, its profile, an option of its command
// line (-u bind), a variable that its script reads (SLAPD_USER=openldap).
func (s *run) identities(svc service) []facts.User {
	names := []string{svc.user}
	if svc.profile != nil {
		names = append(names, svc.profile.Run.User)
	}
	switch {
	case svc.unit != nil:
		env := s.values(svc)
		for _, v := range svc.unit.Values("Service", "ExecStart") {
			list, err := unitfile.ParseExec(v.Value)
			if err != nil {
				continue // the scan reports it
			}
			for _, cmd := range list {
				names = append(names, userOptions(unitfile.ExpandVariables(cmd.Args, lookup(env)))...)
			}
		}
	case svc.script != nil:
		names = append(names, userOptions(strings.Fields(svc.script.Args))...)
		for _, p := range svc.script.Reads {
			for name, value := range s.variables(p) {
				if holdsAny(name, "user", "runas") {
					names = append(names, strings.TrimSpace(value))
				}
			}
		}
	}
	slices.Sort(names)
	var out []facts.User
	for _, name := range slices.Compact(names) {
		if u, ok := s.host.users[name]; ok && u.UID != 0 {
			out = append(out, u)
		}
	}
	return out
}

// userOptions are the values of options that name a user.
func userOptions(args []string) []string {
	var out []string
	for i, a := range args {
		if i+1 < len(args) && nameIn(a, "-u", "--user", "--uid", "--runas", "--username") {
			out = append(out, args[i+1])
		}
		if value, ok := strings.CutPrefix(a, "--user="); ok {
			out = append(out, value)
		}
	}
	return out
}

func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := env[name]; return v, ok }
}

// owns reports whether a directory that no package owns was made for one of the
// users: it is theirs, or their group's to write.
func owns(users []facts.User, n node) (facts.User, bool) {
	i := slices.IndexFunc(users, func(u facts.User) bool {
		return n.pkg == "" && (n.uid == u.UID || n.gid == u.GID && n.mode&0o020 != 0)
	})
	if i < 0 {
		return facts.User{}, false
	}
	return users[i], true
}

// names are what a service's own directories may be called: as its unit, as its
// package, and that without what packages append.
func (svc service) names() []string {
	out := []string{strings.ToLower(svc.base)}
	pkg := strings.ToLower(svc.pkg)
	for _, suffix := range []string{"", "-server", "-daemon", "-core", "-common", "-base"} {
		if name, ok := strings.CutSuffix(pkg, suffix); ok && name != "" {
			out = append(out, name, strings.TrimRight(name, "0123456789."))
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(s string) bool { return s == "" || strings.Contains(s, "/") })
}
