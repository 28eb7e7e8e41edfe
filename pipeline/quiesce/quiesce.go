package quiesce

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
)

// Service is something on the source that is stopped and started.
type Service struct {
	// Unit is its full name for systemd; for a System V script see
	// [profile.ScriptUnit].
	Unit string
	Tier profile.Tier
	// Scripts are the names that its init script may have, the likeliest first.
	Scripts []string
	// Programs are globs of its executables.
	Programs []string
	// Optional services are left alone where the source has none of that name.
	Optional bool
	// Timed says that it is no daemon: a timer of systemd starts it, and it ends by
	// itself, which a stop waits for. Where systemd is not the init, nothing starts it.
	Timed bool
	// GraceSeconds is how long it may take to stop.
	GraceSeconds int64
}

// Actions are what is done to the services of a plan.
type Actions struct {
	Services []Service // in the order in which they are stopped
}

// For finds the services that become workloads: those of the web first, then
// applications, then databases; before all of them what starts jobs, when one of
// those moves.
func For(plan handoff.Plan, profiles []profile.Profile) (Actions, error) {
	var a Actions
	seen := map[string]bool{}
	add := func(s Service) {
		if !seen[s.Unit] {
			seen[s.Unit] = true
			a.Services = append(a.Services, s)
		}
	}
	for _, w := range plan.Workloads {
		for _, c := range w.Containers {
			if strings.HasPrefix(c.Unit, profile.CronUnit(facts.Cron{})) {
				starters, err := starters(profiles)
				if err != nil {
					return Actions{}, err
				}
				for _, s := range starters {
					add(s)
				}
				continue
			}
			if c.Unit == "" {
				return Actions{}, fmt.Errorf("workload %s: nothing says what %s is on the source", w.Name, c.Name)
			}
			add(serviceOf(w, c, profiles))
		}
	}
	slices.SortStableFunc(a.Services, func(x, y Service) int {
		return cmp.Or(cmp.Compare(slices.Index(profile.Tiers(), x.Tier), slices.Index(profile.Tiers(), y.Tier)), cmp.Compare(x.Unit, y.Unit))
	})
	return a, nil
}

// starters are what starts the jobs of cron(8).
func starters(profiles []profile.Profile) ([]Service, error) {
	p, ok := profile.Generic(profiles, profile.GenericCron)
	if !ok || len(p.Data.Quiesce.Units) == 0 {
		return nil, fmt.Errorf("no profile says what starts the jobs of cron (%s, data.quiesce.units)", profile.GenericCron)
	}
	var out []Service
	for _, unit := range p.Data.Quiesce.Units {
		name := base(unit)
		out = append(out, Service{
			Unit: unit, Tier: p.Data.Quiesce.Place(), Scripts: scripts(unit, p.Data.Quiesce), Optional: true,
			Programs: []string{"/usr/sbin/" + name, "/usr/bin/" + name, "/sbin/" + name, "/bin/" + name}, GraceSeconds: jobSeconds,
		})
	}
	return out, nil
}

// jobSeconds is how long a job that runs may take to end.
const jobSeconds = 120

func serviceOf(w handoff.Workload, c handoff.Container, profiles []profile.Profile) Service {
	s := Service{Unit: c.Unit, Tier: profile.ApplicationTier, GraceSeconds: w.GraceSeconds, Timed: w.Kind == handoff.CronJob}
	var q profile.Quiesce
	if p, ok := profile.Generic(profiles, c.Profile); ok {
		q = p.Data.Quiesce
		s.Tier = q.Place()
		s.Programs = p.Recognise.Programs
	}
	if s.Timed {
		s.Tier = profile.JobsTier
	}
	if len(s.Programs) == 0 && len(c.Command) > 0 && ownProgram(c.Command[0]) {
		s.Programs = []string{c.Command[0]}
	}
	s.Scripts = scripts(c.Unit, q)
	return s
}

// ownProgram reports whether a process that runs the program is the service; an
// interpreter may be anything's.
func ownProgram(path string) bool {
	dir, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return strings.HasPrefix(path, "/") && (dir == "opt" || dir == "srv" || strings.HasPrefix(path, "/usr/local/"))
}

// scripts are the names that the init script of a unit may have: its own, that of
// the template which it is an instance of, those of the profile.
func scripts(unit string, q profile.Quiesce) []string {
	name := base(unit)
	out := []string{name}
	if template, _, ok := strings.Cut(name, "@"); ok {
		out = []string{template}
	}
	for _, s := range q.Scripts {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// base is the name of a unit without its type.
func base(unit string) string {
	if i := strings.LastIndexByte(unit, '.'); i > 0 {
		return unit[:i]
	}
	return unit
}
