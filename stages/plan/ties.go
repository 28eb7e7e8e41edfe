package plan

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
)

// tie is what a service has to do with a directory or file.
type tie struct {
	s      *service
	writes bool
	why    string
}

// tiesTo finds the services that use a volume.
func (p *planner) tiesTo(ctx context.Context, root handoff.VolumeRoot) ([]tie, error) {
	made, _ := p.host.claim(root.Claim)
	var ties, byOwner []tie
	for _, s := range p.services {
		t := tie{s: s}
		switch {
		case slices.Contains(root.Serves, s.id):
			t.why = firstOf(root.Reason, "serves it")
		case made.Serves != "" && made.Serves == s.id:
			t.why = made.Reason
		default:
			t.why = firstOf(p.claimedFor(s, root.Path), p.mentioned(s, root.Path))
		}
		writing := p.seenWriting(s, root.Path)
		if writing != "" {
			t.why, t.writes = firstOf(t.why, "has "+writing+" open for writing"), true
		}
		if t.why == "" {
			if !s.job() && p.worksAs(s, root.UID) {
				t.why, t.writes = "works as the user that owns it", true
				byOwner = append(byOwner, t)
			}
			continue
		}
		if !t.writes {
			var err error
			if t.writes, err = p.mayWrite(ctx, s, root.Path, root.Entries); err != nil {
				return nil, err
			}
		}
		ties = append(ties, t)
	}
	if len(ties) == 0 {
		ties = byOwner
	}
	return ties, nil
}

// claimedFor is the profile of one of the service's applications that claims the
// path, also when another claim won; "" when there is none.
func (p *planner) claimedFor(s *service, path hostpath.Path) string {
	for _, q := range s.profiles() {
		by := "profile " + q.Name
		for _, c := range p.host.claims {
			if c.By != by {
				continue
			}
			switch c.Reach {
			case claim.Exact:
				if c.Path == path {
					return by
				}
			case claim.Tree:
				if path.Within(c.Path) {
					return by
				}
			case claim.Glob:
				if claim.MatchGlob(c.Path, path) {
					return by
				}
			}
		}
	}
	return ""
}

// mentioned says how the service names the path, something below it, or a
// directory above it that is its own; "" when it does not.
func (p *planner) mentioned(s *service, root hostpath.Path) string {
	for _, m := range s.mentions {
		if m.path.Within(root) || m.covers(root) {
			if at := place(m.Source); at != "" {
				return fmt.Sprintf("%s (%s)", m.how, at)
			}
			return m.how
		}
	}
	return ""
}

// covers reports whether the path lies below what is mentioned, or in the
// application under /opt or /srv that it is a part of: its programs find the
// rest of it by themselves. A directory that many share covers nothing.
func (m mention) covers(p hostpath.Path) bool {
	dir := m.path
	for _, base := range []hostpath.Path{"/opt", "/srv"} {
		if dir.Within(base) && dir != base {
			name, _, _ := strings.Cut(string(dir.Below(base))[1:], "/")
			dir = base.Join(name)
		}
	}
	return p == m.path || p.Within(dir) && !tooWide(dir)
}

// tooWide are directories that many share: to name one says nothing about what
// lies below.
func tooWide(p hostpath.Path) bool { return slices.Contains(profile.NeverClaimed(), string(p)) }

// seenWriting is a file below root that a process of the service had open.
func (p *planner) seenWriting(s *service, root hostpath.Path) string {
	for _, proc := range p.host.processes {
		if proc.Unit != s.id {
			continue
		}
		for _, w := range proc.Writing {
			if w.Within(root) {
				return w.String()
			}
		}
	}
	return ""
}

func (p *planner) worksAs(s *service, uid uint32) bool {
	return uid != 0 && slices.ContainsFunc(s.identities(), func(id identity) bool { return id.uid == uid })
}

// mayWrite reports whether owner and mode let the service write anywhere in the
// tree. A process that stays root may always.
func (p *planner) mayWrite(ctx context.Context, s *service, root hostpath.Path, entries int64) (bool, error) {
	ids := s.identities()
	if s.box.StartsAsRoot && len(s.workers) > 0 {
		ids = s.workers
	}
	for _, id := range ids {
		if id.uid == 0 {
			return true, nil
		}
		at, err := p.host.cat.Find(root)
		if errors.Is(err, catalog.ErrNoPath) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		ok, err := p.host.writable(ctx, id, "e.id >= ? AND e.id < ?", at.ID, at.ID+max(entries, 1))
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// writable reports whether any directory or file among those that the condition
// selects can be written by the identity (path_resolution(7), Permissions).
func (h *host) writable(ctx context.Context, id identity, condition string, args ...any) (bool, error) {
	groups := []string{fmt.Sprint(id.gid)}
	for _, g := range id.groups {
		groups = append(groups, fmt.Sprint(g))
	}
	query := fmt.Sprintf(`SELECT 1 FROM entries e WHERE %s AND e.type IN ('d','f') AND
		CASE WHEN e.uid = %d THEN e.mode & 128 WHEN e.gid IN (%s) THEN e.mode & 16 ELSE e.mode & 2 END LIMIT 1`,
		condition, id.uid, strings.Join(groups, ","))
	rows, err := h.cat.Query(ctx, query, args...)
	if err != nil {
		return false, fmt.Errorf("inventory: %w", err)
	}
	defer rows.Close()
	found := rows.Next()
	return found, rows.Err()
}
