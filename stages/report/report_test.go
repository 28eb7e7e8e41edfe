package report

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/templates"
)

var update = flag.Bool("update", false, "write the golden files")

const hostile = "/srv/<script>alert(1)</script>|`\n[x](y)"

// sample is a plan with something in every part of the report.
func sample() *Document {
	balance := handoff.Balance{Total: handoff.ClassTally{Entries: 90, Files: 45, Bytes: 4_500_000}}
	for i, c := range claim.Classes() {
		n := int64(i + 1)
		balance.Classes = append(balance.Classes, handoff.ClassTally{Class: c, Entries: 2 * n, Files: n, Bytes: n * 100_000})
	}
	plan := handoff.Plan{
		Name: "old-host", Host: facts.OS{PrettyName: "Debian GNU/Linux 12", Architecture: "amd64"}, Balance: balance,
		Workloads: []handoff.Workload{{
			Name: "web", Kind: handoff.StatefulSet, Replicas: 1, WhyKind: "it owns a volume", WhyTogether: "they talk over a socket",
			Containers: []handoff.Container{{Name: "apache2", Unit: "apache2.service", Profile: "apache2", Command: []string{"/usr/sbin/apache2", "-DFOREGROUND"}, UID: 33, GID: 33, StartsAsRoot: true, Capabilities: []string{"SETUID"}, Ports: []handoff.Port{{Name: "http", Number: 80, Protocol: "TCP"}}, Mounts: []handoff.Mount{{Volume: "data", Path: "/var/lib/mysql"}}}},
			Mounts:     []handoff.PodVolume{{Name: "data", Origin: handoff.FromVolume, Of: "var-lib-mysql"}},
			Verdict:    handoff.Verdict{School: handoff.InCluster, Reasons: []string{"12 files"}, Others: []string{"no database outside is known"}},
		}, {Name: "dump", Kind: handoff.CronJob, Schedule: "0 3 * * *", Near: "web", Verdict: handoff.Verdict{School: handoff.Refactor}}},
		Volumes:     []handoff.Volume{{Name: "var-lib-mysql", Path: "/var/lib/mysql", Seed: true, Files: 12, Bytes: 3_000_000, Request: 1 << 30, AccessMode: "ReadWriteOnce", WhyAccess: "one writer", Reason: "the database's files", Confidence: claim.Low, Owner: "web"}},
		Configs:     []handoff.FileSet{{Name: "web", Owner: "web", Bytes: 100, Files: []handoff.KeyFile{{Key: "ports.conf", Path: "/etc/apache2/ports.conf"}}}},
		Secrets:     []handoff.FileSet{{Name: "web", Owner: "web", Bytes: 10, Files: []handoff.KeyFile{{Key: "TOKEN", Path: "/etc/default/d", Variable: "TOKEN"}}}},
		Shares:      []handoff.Share{{Name: "media", FSType: "nfs", Server: "nas.example", Export: "/media", Path: "/mnt/media"}},
		LeftOut:     []handoff.LeftOut{{Unit: "ssh.service", Reason: "kubectl exec takes its place", Rule: "plumbing"}},
		Questions:   []handoff.Question{{ID: "q", About: "logs", Text: "Keep them?", Choices: []string{"yes", "no"}, Default: "yes", Answer: "answers: {q: no}"}},
		Risks:       []handoff.Risk{{About: "db", Text: "may be large", Remedy: "look", Level: "low"}},
		Look:        []handoff.Look{{Path: hostile, Class: claim.Volume, Files: 1, Bytes: 5, Reason: "nobody claims <b>it</b>"}},
		Patched:     []hostpath.Path{"/usr/share/x.php"},
		HostAliases: []handoff.HostAlias{{IP: "10.0.0.9", Names: []string{"db.old"}}},
		Mentions:    []handoff.Mention{{What: "ServerName old-host"}},
		Estimate:    handoff.Estimate{ImageBytes: 1 << 20, CopySeconds: 90, Basis: "measured"},
	}
	doc := &Document{
		Plan: plan, Unreadable: 1, Unread: []hostpath.Path{"/root/locked"}, Accepted: []hostpath.Path{"/root/old"},
		Inventory:   handoff.Inventory{Packages: 300, Problems: []facts.Problem{{Collector: "dpkg", What: "a stanza without a name", Source: facts.Source{Path: "/var/lib/dpkg/status", Line: 7}}}},
		Credentials: []handoff.Credential{{Path: "/etc/default/d", Line: 1, Kind: "token", Fingerprint: "abcdef012345"}},
		Places:      []Place{{"/var/lib/mysql", claim.Volume, 12, 3_000_000}, {"/usr/lib", claim.Image, 30, 1_400_000}, {hostile, claim.Volume, 1, 100_000}},
		Dropped:     []Reasoned{{Reason: "a kernel", By: "rule", Path: "/boot", Entries: 1, Bytes: 5}},
	}
	doc.Bar = bar(balance)
	doc.Map = treemap(doc.Places, mapWidth, mapHeight)
	return doc
}

func written(t *testing.T) map[string]string { return writtenOf(t, sample()) }

// writtenOf are the files of a report, by name.
func writtenOf(t *testing.T, doc *Document) map[string]string {
	t.Helper()
	ws := workspace.Workspace{Dir: t.TempDir()}
	out, err := New(templates.Report).write(ws, doc)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range out.Files {
		data, err := os.ReadFile(ws.Path(f.Name))
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(data)
	}
	return files
}

func TestGolden(t *testing.T) {
	for name, got := range written(t) {
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestHTMLLoadsNothingAndRunsNothing(t *testing.T) {
	html := written(t)[HTML]
	loadsNothing(t, html)
	if !strings.Contains(html, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the hostile name is not shown escaped")
	}
}

func loadsNothing(t *testing.T, html string) {
	t.Helper()
	for _, bad := range []string{"<script", "http://", "https://", "src=", "@import", "url(", "javascript:", "ZgotmplZ"} {
		if strings.Contains(strings.ToLower(html), strings.ToLower(bad)) {
			t.Errorf("the report contains %q", bad)
		}
	}
}

func TestMarkdownTablesKeepTheirShape(t *testing.T) { tablesKeepTheirShape(t, written(t)[Markdown]) }

func tablesKeepTheirShape(t *testing.T, markdown string) {
	t.Helper()
	columns := regexp.MustCompile(`(^|[^\\])\|`)
	lines := strings.Split(markdown, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "|--") {
			continue
		}
		want := len(columns.FindAllString(line, -1))
		for _, row := range append(lines[i-1:i:i], lines[i+1:]...) {
			if !strings.HasPrefix(row, "|") {
				break
			}
			if got := len(columns.FindAllString(row, -1)); got != want {
				t.Errorf("row %q has %d bars, the table %d", row, got, want)
			}
		}
	}
}

func TestJSONIsThePlanAgain(t *testing.T) {
	var doc Document
	if err := json.Unmarshal([]byte(written(t)[JSON]), &doc); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample().Plan, doc.Plan); diff != "" {
		t.Error(diff)
	}
}

func TestTreemapAreasAreTheBytes(t *testing.T) {
	places := []Place{{Path: "/a", Bytes: 600}, {Path: "/b", Bytes: 300}, {Path: "/c", Bytes: 60}, {Path: "/d", Bytes: 30}, {Path: "/e", Bytes: 10}}
	tiles := treemap(places, 100, 50)
	if len(tiles) != len(places) {
		t.Fatalf("%d tiles for %d places", len(tiles), len(places))
	}
	for i, tile := range tiles {
		if want := float64(places[i].Bytes) * 5; math.Abs(tile.W*tile.H-want) > 1e-6 {
			t.Errorf("%s has area %f, want %f", tile.Path, tile.W*tile.H, want)
		}
		if tile.X < -1e-9 || tile.Y < -1e-9 || tile.X+tile.W > 100+1e-6 || tile.Y+tile.H > 50+1e-6 {
			t.Errorf("%s leaves the picture: %+v", tile.Path, tile)
		}
		for _, other := range tiles[:i] {
			if tile.X+1e-6 < other.X+other.W && other.X+1e-6 < tile.X+tile.W && tile.Y+1e-6 < other.Y+other.H && other.Y+1e-6 < tile.Y+tile.H {
				t.Errorf("%s and %s overlap", tile.Path, other.Path)
			}
		}
	}
}

func TestBarShowsEveryClassThatHasBytes(t *testing.T) {
	b := handoff.Balance{Classes: []handoff.ClassTally{{Class: claim.Image, Bytes: 1 << 40}, {Class: claim.Config, Bytes: 1}, {Class: claim.Secret}}}
	segments := bar(b)
	if len(segments) != 2 || segments[1].Width < 3 {
		t.Fatalf("segments %+v", segments)
	}
	if end := segments[1].X + segments[1].Width; math.Abs(end-1000) > 1e-6 {
		t.Errorf("the bar ends at %f", end)
	}
}
