package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
)

// TestDatabases finds the databases of a volume by their markers, and blocks those
// that are no copy when they are copied.
func TestDatabases(t *testing.T) {
	for _, tt := range []struct {
		name, content, consistent, state string
		blocks                           int
	}{
		{"clean", "REDIS0003\xff", "", "clean", 0},
		{"unclean", "REDIS0003", "", "unclean", 1},
		{"vouched for", "REDIS0003", "snapshot", "unclean", 0},
	} {
		h := small(unit("redis.service", true, "Service.User=app", "Service.ExecStart=/bin/redis-server"))
		h.profiles = append(h.profiles, profile.Profile{
			Name: "redis", Title: "Redis", Recognise: profile.Recognise{Units: []string{"redis"}},
			Data: profile.Data{Store: profile.Store{Engine: "redis", Markers: []string{"*.rdb"}}},
		})
		h.data("/srv/redis", 900, 0o755, "redis.service")
		h.items = append(h.items, item{path: "/srv/redis/one/dump.rdb", class: "volume", claim: 1, uid: 900, content: tt.content})
		h.decisions.Volumes = []decisions.Volume{{Path: "/srv/redis", Consistent: tt.consistent}}
		pl, _, err := h.plan(t)
		if err != nil {
			t.Fatal(err)
		}
		for i := range pl.Databases {
			if pl.Databases[i].Why == "" {
				t.Errorf("%s: nothing says why", tt.name)
			}
			pl.Databases[i].Why = ""
		}
		want := []handoff.Database{{Volume: "srv-redis", Root: "/srv/redis", Path: "/srv/redis/one", Engine: "redis", Profile: "redis", Unit: "redis.service", Consistent: tt.consistent, State: tt.state}}
		if diff := cmp.Diff(want, pl.Databases); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if len(pl.Blocks) != tt.blocks {
			t.Errorf("%s: blocks %+v", tt.name, pl.Blocks)
		}
	}
}
