package verify_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/deploy"
	"github.com/statelift/statelift/stages/images"
	"github.com/statelift/statelift/stages/objects"
	"github.com/statelift/statelift/stages/seed"
	"github.com/statelift/statelift/stages/verify"
)

// lifted is a workspace in which everything was made.
type lifted struct {
	env  *pipeline.Env
	made verify.Made
}

func lift(t *testing.T, o images.Options) lifted {
	t.Helper()
	root := hosttest.Legacy(t)
	l := lifted{env: hosttest.Env(t, t.TempDir())}
	hosttest.Inventory(t, l.env, root, hosttest.LegacyPlace, hosttest.LegacyPackages...)
	ctx, source := t.Context(), handoff.Source{Kind: "directory", Root: root}
	l.made.Plan = hosttest.LegacyPlan()
	l.made.Plan.Balance = balance(t, l.env)
	l.made.Plan.Volumes = append(l.made.Plan.Volumes, handoff.Volume{Name: "spool", Path: "/var/spool/app", UID: 700, GID: 701, Mode: 0o2750})
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	o.Tool = "1.0"
	l.made.Images, err = images.New(o).Run(ctx, l.env, source, l.made.Split, l.made.Plan)
	check()
	l.made.Objects, err = objects.New(objects.Options{}, nil).Run(ctx, l.env, source, l.made.Plan)
	check()
	l.made.Seeds, err = seed.New(seed.Options{}).Run(ctx, l.env, l.made.Plan, source)
	check()
	l.made.Copies, err = deploy.New(deploy.Options{}).Run(ctx, l.env, l.made.Plan, l.made.Seeds)
	check()
	l.made.Manifests = manifests(t, l.env)
	return l
}

// balance is counted by SQLite itself.
func balance(t *testing.T, env *pipeline.Env) handoff.Balance {
	t.Helper()
	c, err := catalog.Open(t.Context(), env.Workspace.Path(workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var b handoff.Balance
	for _, class := range claim.Classes() {
		var k handoff.ClassTally
		rows, err := c.Query(t.Context(), "SELECT count(*), coalesce(sum(type='f'),0), coalesce(sum(bytes),0) FROM paths WHERE class=?", string(class))
		if err != nil {
			t.Fatal(err)
		}
		rows.Next()
		if err := rows.Scan(&k.Entries, &k.Files, &k.Bytes); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		k.Class = class
		b.Classes = append(b.Classes, k)
		b.Total.Entries += k.Entries
		b.Total.Files += k.Files
		b.Total.Bytes += k.Bytes
	}
	return b
}

func manifests(t *testing.T, env *pipeline.Env) handoff.Manifests {
	t.Helper()
	m := handoff.Manifests{Directory: workspace.Manifests}
	if err := os.MkdirAll(env.Workspace.Path(m.Directory), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kustomization.yaml", "secret-app.yaml"} {
		data := []byte("of " + name)
		if err := os.WriteFile(env.Workspace.Path(m.Directory, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		m.Files = append(m.Files, handoff.ManifestFile{Name: name, SHA256: hex.EncodeToString(sum[:]), Sensitive: strings.HasPrefix(name, "secret")})
	}
	return m
}

func (l lifted) verify(t *testing.T) handoff.Verdicts {
	t.Helper()
	v, err := verify.New(verify.Options{}, nil).Run(t.Context(), l.env, l.made)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// bad lists what failed, as WHAT NAME.
func bad(v handoff.Verdicts) []string {
	var out []string
	for _, c := range v.Checks {
		if !c.OK {
			out = append(out, c.What+" "+c.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (l lifted) blob(digest string) string {
	return l.env.Workspace.Path(workspace.Images, "blobs", "sha256", strings.TrimPrefix(digest, "sha256:"))
}

func TestAllIsWell(t *testing.T) {
	l := lift(t, images.Options{})
	first := l.verify(t)
	if !first.Proved || len(first.Incomplete) != 0 {
		t.Fatalf("verdicts = %+v", first)
	}
	got := map[string]int{}
	for _, c := range first.Checks {
		got[c.What]++
	}
	// Images: the paths, the index, three images.
	want := map[string]int{"balance": 1, "image": 5, "object": 1, "manifest": 1, "seed": 1, "volume": 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("checks:\n%s", diff)
	}
	if diff := cmp.Diff(first, l.verify(t)); diff != "" {
		t.Errorf("the second time:\n%s", diff)
	}
	if _, err := os.Stat(l.env.Workspace.Path(workspace.Run, "verify")); err == nil {
		t.Error("run/verify is left behind")
	}
}

// Everything that can go wrong with what was made is found and named.
func TestDamage(t *testing.T) {
	flip := func(t *testing.T, name string) {
		t.Helper()
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	shell := func(script string) func(*testing.T, lifted) {
		return func(t *testing.T, l lifted) {
			t.Helper()
			cmd := exec.Command("sh", "-ec", script)
			cmd.Dir = l.env.Workspace.Dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", script, err, out)
			}
		}
	}
	// One entry gets a run of its own.
	reclassed := func(path, class string) func(*testing.T, lifted) {
		return shell(`sqlite3 inventory.db "BEGIN;
			CREATE TEMP TABLE x AS SELECT e.id, p.entry, p.last, p.class, p.claim FROM entries e JOIN placements p ON e.id BETWEEN p.entry AND p.last WHERE e.path='` + path + `';
			DELETE FROM placements WHERE entry=(SELECT entry FROM x);
			INSERT INTO placements SELECT entry, id-1, class, claim FROM x WHERE entry<id;
			INSERT INTO placements SELECT id, id, '` + class + `', claim FROM x;
			INSERT INTO placements SELECT id+1, last, class, claim FROM x WHERE last>id; COMMIT"`)
	}
	image := func(l lifted, name string) handoff.Image {
		i := slices.IndexFunc(l.made.Images.Images, func(i handoff.Image) bool { return i.Name == name })
		return l.made.Images.Images[i]
	}
	whole := func(l lifted) string { return "object " + l.env.Workspace.Path(workspace.Store) }
	for name, c := range map[string]struct {
		do   func(*testing.T, lifted)
		want func(lifted) []string
	}{
		"a shared layer": {
			func(t *testing.T, l lifted) { flip(t, l.blob(image(l, "legacy-app").Layers[0].Digest)) },
			func(lifted) []string {
				return []string{"image legacy-app", "image legacy-nightly", "image legacy-other"}
			},
		},
		"the layer of one": {
			func(t *testing.T, l lifted) {
				if err := os.Remove(l.blob(image(l, "legacy-other").Layers[3].Digest)); err != nil {
					t.Fatal(err)
				}
			},
			func(lifted) []string { return []string{"image legacy-nightly", "image legacy-other"} },
		},
		"a manifest of an image": {
			func(t *testing.T, l lifted) { flip(t, l.blob(image(l, "legacy-app").Digest)) },
			func(lifted) []string { return []string{"image legacy-app"} },
		},
		"the index of the layout": {
			shell(`sed -i s/legacy-app/legacy-bpp/ images/index.json`),
			func(lifted) []string { return []string{"image index"} },
		},
		"an object": {
			shell(`printf X | dd of=store/objects/var/backups/dump.sql.gz conv=notrunc status=none`),
			func(l lifted) []string { return []string{whole(l), "object objects/var/backups/dump.sql.gz"} },
		},
		"an object that is gone": {
			shell(`rm store/objects/var/backups/older.sql.gz`),
			func(l lifted) []string { return []string{whole(l), "object objects/var/backups/older.sql.gz"} },
		},
		"a manifest": {
			shell(`echo >>manifests/kustomization.yaml`),
			func(lifted) []string { return []string{"manifest manifests/kustomization.yaml"} },
		},
		"a Secret for all to read": {
			shell(`chmod 644 manifests/secret-app.yaml`),
			func(lifted) []string { return []string{"manifest manifests/secret-app.yaml"} },
		},
		"a file of a volume": {
			shell(`printf X | dd of=volumes/app-data/table conv=notrunc status=none`),
			func(lifted) []string { return []string{"volume app-data"} },
		},
		"a mode in a volume": {
			shell(`chmod 640 volumes/app-data/table`),
			func(lifted) []string { return []string{"volume app-data"} },
		},
		"a file more in a volume": {
			shell(`touch volumes/app-data/new`),
			func(lifted) []string { return []string{"volume app-data"} },
		},
		"a receipt": {
			shell(`echo >>receipts/app-data.json`),
			func(lifted) []string { return []string{"volume app-data"} },
		},
		"a listing": {
			shell(`echo >>receipts/app-data.listing`),
			func(lifted) []string { return []string{"volume app-data"} },
		},
		"a blob of a seed": {
			func(t *testing.T, l lifted) {
				blobs, err := filepath.Glob(l.env.Workspace.Path(workspace.Seeds, "blobs", "sha256", "*"))
				if err != nil || len(blobs) == 0 {
					t.Fatalf("%v, %v", blobs, err)
				}
				for _, b := range blobs {
					if "sha256:"+filepath.Base(b) != l.made.Seeds.Seeds[0].Digest {
						flip(t, b)
					}
				}
			},
			func(lifted) []string { return []string{"seed app-data"} },
		},
		"a class": {
			reclassed("/usr/bin/tool", "drop"),
			func(lifted) []string {
				return []string{"balance all classes", "image legacy-app", "image legacy-nightly", "image legacy-other"}
			},
		},
		"an object more in the inventory": {
			reclassed("/home/u", "object"),
			func(l lifted) []string { return []string{"balance all classes", whole(l), "object /home/u"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := lift(t, images.Options{})
			c.do(t, l)
			v := l.verify(t)
			want := c.want(l)
			slices.Sort(want)
			if diff := cmp.Diff(want, bad(v)); diff != "" || v.Proved {
				t.Errorf("proved %v, what failed:\n%s", v.Proved, diff)
			}
		})
	}
}

// What a registry lost or changed is found there.
func TestRegistry(t *testing.T) {
	srv := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(srv.Close)
	l := lift(t, images.Options{Registry: strings.TrimPrefix(srv.URL, "http://")})
	if v := l.verify(t); !v.Proved {
		t.Fatalf("failed: %v", bad(v))
	}
	srv.Config.Handler = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	var want []string
	for _, i := range l.made.Images.Images {
		want = append(want, "image "+i.Ref)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, bad(l.verify(t))); diff != "" {
		t.Errorf("what failed:\n%s", diff)
	}
}

// Reasons for no success are told apart from faults.
func TestIncomplete(t *testing.T) {
	l := lift(t, images.Options{})
	l.made.Split.Unreadable = []hostpath.Path{"/broken"}
	l.made.Split.UnreadableCount = 3
	l.made.Incomplete = []string{"/var/lib/x changed since the scan"}
	v := l.verify(t)
	want := []string{
		"/var/lib/x changed since the scan",
		"/broken could not be read and is not accepted in statelift.yaml",
		"2 more paths could not be read",
	}
	if diff := cmp.Diff(want, v.Incomplete); diff != "" || !v.Proved {
		t.Errorf("proved %v, incomplete:\n%s", v.Proved, diff)
	}
}

// A path that changed after the scan is missing, named, and nothing else is
// wrong.
func TestMissing(t *testing.T) {
	root := hosttest.Legacy(t)
	l := lifted{env: hosttest.Env(t, t.TempDir())}
	hosttest.Inventory(t, l.env, root, hosttest.LegacyPlace, hosttest.LegacyPackages...)
	for _, p := range []string{"usr/local/bin/app", "var/backups/older.sql.gz"} {
		if err := os.WriteFile(filepath.Join(root, p), []byte("something else"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, source := t.Context(), handoff.Source{Root: root}
	l.made.Plan = hosttest.LegacyPlan()
	l.made.Plan.Volumes = nil
	l.made.Plan.Balance = balance(t, l.env)
	l.made.Images, _ = images.New(images.Options{}).Run(ctx, l.env, source, l.made.Split, l.made.Plan)
	l.made.Objects, _ = objects.New(objects.Options{}, nil).Run(ctx, l.env, source, l.made.Plan)
	var err error
	if l.made.Seeds, err = seed.New(seed.Options{}).Run(ctx, l.env, l.made.Plan, source); err != nil {
		t.Fatal(err)
	}
	v := l.verify(t)
	if !v.Proved {
		for _, c := range v.Checks {
			if !c.OK {
				t.Errorf("%s %s: %s", c.What, c.Name, c.Detail)
			}
		}
	}
	if len(v.Incomplete) != 2 || !strings.HasPrefix(v.Incomplete[0], "/usr/local/bin/app changed") || !strings.HasPrefix(v.Incomplete[1], "/var/backups/older.sql.gz changed") {
		t.Errorf("incomplete = %q", v.Incomplete)
	}
}
