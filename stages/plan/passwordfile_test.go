package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/templates"
)

// TestPasswordFiles keeps PostgreSQL apart from a job that has its password in a
// file: its lines for the host itself are for the server's new name.
func TestPasswordFiles(t *testing.T) {
	const lines = "# shop\nlocalhost:5432:shop:shop:not-to-be-seen\nlocalhost.example:5432:*:*:other\n127.0.0.1:*:shop:shop:not-to-be-seen\n\\:\\:1:5432:a:b:c\n"
	for name, c := range map[string]struct {
		script string
		class  claim.Class // of the password file
		want   []string
		fault  string
	}{
		"rewritten": {"PGPASSFILE=/etc/shop/pgpass pg_dump --file=/tmp/x shop\n", claim.Secret, []string{
			"shop-dump/shop-dump /etc/shop/pgpass:2 host of a password: localhost→atlas-store",
			"shop-dump/shop-dump /etc/shop/pgpass:4 host of a password: 127.0.0.1→atlas-store",
			"shop-dump/shop-dump /etc/shop/pgpass:5 host of a password: \\:\\:1→atlas-store",
		}, ""},
		"not the job's":           {"pg_dump --file=/tmp/x shop\n", claim.Secret, nil, ""},
		"named by the command":    {"pg_dump --host=localhost --file=/tmp/x shop\n", claim.Secret, nil, "pg_dump names localhost on its command line"},
		"another host's database": {"pg_dump --host=db.example --file=/tmp/x shop\n", claim.Secret, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := unit("postgresql@15-main.service", true, "Service.User=postgres", "Service.ExecStart=/usr/lib/postgresql/15/bin/postgres")
			server.Package = "postgresql-15"
			h := small(server, unit("app.service", true, "Service.User=app", "Service.ExecStart=/usr/local/bin/app", "Service.Environment=DB=127.0.0.1:5432"))
			var err error
			if h.profiles, err = profile.Load(templates.Profiles()); err != nil {
				t.Fatal(err)
			}
			h.items = append(h.items,
				item{path: "/usr/bin/pg_dump", class: claim.Image, mode: 0o755, pkg: "postgresql-client-15", content: "\x7fELF"},
				item{path: "/usr/local/sbin/shop-dump", class: claim.Image, mode: 0o755, content: "#!/bin/sh\n" + c.script},
				item{path: "/etc/shop/pgpass", class: c.class, mode: 0o600, content: lines})
			h.write("/etc/postgresql/15/main/postgresql.conf", "port = 5432\n")
			h.write("/etc/postgresql/15/main/pg_hba.conf", "host shop shop 127.0.0.1/32 scram-sha-256\n")
			h.settings = []facts.Setting{{Profile: "postgresql", Key: "port", Value: "5432", Source: facts.Source{Path: "/etc/postgresql/15/main/postgresql.conf", Line: 1}}}
			h.listeners = []facts.Listener{{Protocol: "tcp", Address: "127.0.0.1", Port: 5432, Unit: server.Name}}
			h.crons = []facts.Cron{{Name: "cron.d/shop:1", Schedule: "1 1 * * *", User: "app", Command: "/usr/local/sbin/shop-dump", Source: facts.Source{Path: "/etc/cron.d/shop", Line: 1}}}
			h.decisions = decisions.PlanPart{File: "statelift.yaml", Workloads: []decisions.Workload{{Name: "store", Units: []string{server.Name}, Split: true, Line: 2}}}
			pl, _, err := h.plan(t)
			if c.fault != "" {
				said := err != nil && strings.Contains(err.Error(), c.fault) || slices.ContainsFunc(pl.Risks, func(r handoff.Risk) bool { return strings.Contains(r.Text, c.fault) }) ||
					slices.ContainsFunc(pl.Blocks, func(b handoff.Block) bool { return strings.Contains(b.Text, c.fault) })
				if !said {
					t.Errorf("not said: %s\n%v\n%+v", c.fault, err, pl.Risks)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := slices.DeleteFunc(rewrites(pl), func(s string) bool { return !strings.Contains(s, "host of a password") })
			if diff := cmp.Diff(strings.Join(c.want, "\n"), strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s\n%s", diff, strings.Join(rewrites(pl), "\n"))
			}
		})
	}
}
