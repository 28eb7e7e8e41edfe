package profile

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Tier is where a service stands between the users and the data. What is nearer
// to the users is stopped first, so that nothing loses the server that it talks
// to, and is started last.
type Tier string

// The tiers, in the order in which they are stopped.
const (
	JobsTier        Tier = "jobs" // starts commands at their times
	WebTier         Tier = "web"
	ApplicationTier Tier = "application"
	DatabaseTier    Tier = "database"
)

// Tiers are all tiers in the order in which they are stopped.
func Tiers() []Tier { return []Tier{JobsTier, WebTier, ApplicationTier, DatabaseTier} }

// Quiesce is how a service is stopped on its host.
type Quiesce struct {
	Tier Tier `json:"tier,omitempty"` // default application
	// Units start what the profile describes when that is no unit itself, as the
	// jobs of cron: full names; those that the host has are held.
	Units []string `json:"units,omitempty"`
	// Scripts are init scripts to look for where none is named like the unit.
	Scripts []string `json:"scripts,omitempty"`
}

// Place is the tier.
func (q Quiesce) Place() Tier {
	if q.Tier == "" {
		return ApplicationTier
	}
	return q.Tier
}

func (q Quiesce) validate() error {
	var faults []error
	if q.Tier != "" && !slices.Contains(Tiers(), q.Tier) {
		faults = append(faults, fmt.Errorf("quiesce.tier %q is none of %q", q.Tier, Tiers()))
	}
	for _, name := range slices.Concat(q.Units, q.Scripts) {
		if name == "" || strings.ContainsAny(name, "/ \t\n") || name[0] == '-' {
			faults = append(faults, fmt.Errorf("quiesce: %q is no name of a unit or script", name))
		}
	}
	return errors.Join(faults...)
}

// Store says that the application's data is a database, which is only a copy when
// it was taken consistently.
type Store struct {
	// Engine names the format of its files: innodb, postgresql, redis.
	Engine string `json:"engine,omitempty"`
	// Markers are globs of paths below a directory that show that it is one of the
	// engine: global/pg_control.
	Markers []string `json:"markers,omitempty"`
}

func (s Store) validate() error {
	if (s.Engine == "") != (len(s.Markers) == 0) {
		return errors.New("store: engine and markers belong together")
	}
	var faults []error
	for _, m := range s.Markers {
		if _, err := path.Match(m, ""); err != nil || m == "" || path.IsAbs(m) {
			faults = append(faults, fmt.Errorf("store.markers: %q is no glob below a directory", m))
		}
	}
	return errors.Join(faults...)
}
