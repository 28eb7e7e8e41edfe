package admit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hotbackup"
)

func TestAdmit(t *testing.T) {
	blocks := []handoff.Block{
		{About: "volume", Text: "too small", Choices: []string{"more", "less"}},
		{About: "object", Text: "taken", Choices: []string{"another name"}},
	}
	there := handoff.Target{Context: "prod", Namespace: "shop"}
	for _, tt := range []struct {
		name   string
		plan   handoff.Plan
		target handoff.Target
		want   string // of the admission
		err    string
	}{
		{"rehearsal", handoff.Plan{}, handoff.Target{}, "rehearsal", ""},
		{"a cluster", handoff.Plan{}, there, "prod/shop", ""},
		{"blocked", handoff.Plan{Blocks: blocks}, there, "", `blocked: prod/shop cannot serve this plan as it is, and nothing was begun:
1. too small
   - more
   - less
2. taken
   - another name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := New(Options{}).Run(t.Context(), nil, tt.plan, tt.target, handoff.Source{})
			if got.Target != tt.want {
				t.Errorf("admitted to %q, want %q", got.Target, tt.want)
			}
			var blocked *pipeline.Blocked
			if errors.As(err, &blocked) != (tt.err != "") {
				t.Fatalf("error %v", err)
			}
			if blocked != nil {
				if diff := cmp.Diff(tt.err, blocked.Error()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestDatabases admits a database by its files as they are now, and by what the
// user decided.
func TestDatabases(t *testing.T) {
	root := t.TempDir()
	dump := filepath.Join(root, "dump.rdb")
	write := func(content string) {
		if err := os.WriteFile(dump, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const whole, cut = "REDIS0003\xff", "REDIS0003"
	for _, tt := range []struct {
		name, content, consistent string
		options                   Options
		ok                        bool
	}{
		{"clean", whole, "", Options{}, true},
		{"unclean", cut, "", Options{}, false},
		{"held", cut, "", Options{Hold: true}, true},
		{"a snapshot", cut, "snapshot", Options{}, true},
	} {
		write(tt.content)
		plan := handoff.Plan{
			// What the plan said is of its time.
			Blocks:    []handoff.Block{{About: "database", Text: "of old"}},
			Databases: []handoff.Database{{Volume: "redis", Root: "/", Path: "/", Engine: "redis", Unit: "redis.service", Consistent: tt.consistent}},
		}
		_, err := New(tt.options).Run(t.Context(), nil, plan, handoff.Target{}, handoff.Source{Root: root})
		if blocked := (*pipeline.Blocked)(nil); (err == nil) != tt.ok || err != nil && !errors.As(err, &blocked) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, want := range []string{"--hold", "cutover --quiesce", "stop it", "consistent: snapshot", "cut off"} {
			if err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no word of %q: %v", tt.name, want, err)
			}
		}
	}
}

// TestBackups admits a database that runs when its own means can copy it, and says
// otherwise why not, with what helps.
func TestBackups(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "dump.rdb"), []byte("REDIS0003"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := handoff.Plan{Databases: []handoff.Database{{Volume: "redis", Root: "/", Path: "/", Engine: "redis", Unit: "redis.service", Backup: "BGSAVE"}}}
	unreachable := errors.New("no route")
	for _, tt := range []struct {
		name    string
		options Options
		said    error
		want    []string // words of the block; none: it is admitted
	}{
		{"not granted", Options{}, nil, []string{"have BGSAVE copy it while it runs: statelift run SOURCE --quiesce"}},
		{"granted", Options{Backup: true}, nil, nil},
		{"held and granted", Options{Backup: true, Hold: true}, nil, nil},
		{"refused", Options{Backup: true}, &hotbackup.Refusal{Tool: "BGSAVE", Why: "it is not there", Remedy: "install redis-tools"}, []string{"it is not there", "- install redis-tools", "--hold"}},
		{"unreachable", Options{Backup: true}, unreachable, []string{"no route"}},
	} {
		ask := func(context.Context, handoff.Database) error { return tt.said }
		_, err := New(tt.options).WithBackups(ask).Run(t.Context(), nil, plan, handoff.Target{}, handoff.Source{Root: root})
		blocked := (*pipeline.Blocked)(nil)
		if (err == nil) != (len(tt.want) == 0) || err != nil && errors.As(err, &blocked) == errors.Is(err, unreachable) {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, w := range tt.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no word of %q: %v", tt.name, w, err)
			}
		}
		if tt.options.Backup && err != nil && strings.Contains(err.Error(), "run SOURCE --quiesce") {
			t.Errorf("%s: what was granted is a choice: %v", tt.name, err)
		}
	}
}
