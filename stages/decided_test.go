package stages_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/statelift/statelift/fixtures/tinyhost"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/strictyaml"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/templates"
)

// decided is, for every key of statelift.yaml, a file without it and the same
// one with it. Where without is empty, nothing is decided.
var decided = map[string]struct{ without, with string }{
	"name":                          {"", "name: other"},
	"namespace":                     {"", "namespace: other"},
	"accept.path":                   {"", "accept: [{path: /home/ann/notes.txt}]"},
	"accept.reason":                 {"accept: [{path: /home/ann/notes.txt}]", "accept: [{path: /home/ann/notes.txt, reason: none}]"},
	"paths.path":                    {"paths: [{path: /tmp, class: volume}]", "paths: [{path: /home/ann, class: volume}]"},
	"paths.class":                   {"paths: [{path: /opt/app/data, class: drop}]", "paths: [{path: /opt/app/data, class: object}]"},
	"paths.reach":                   {"paths: [{path: /opt/app/data, class: object}]", "paths: [{path: /opt/app/data, class: object, reach: exact}]"},
	"paths.reason":                  {"paths: [{path: /home/ann, class: drop}]", "paths: [{path: /home/ann, class: drop, reason: she left}]"},
	"rules.off":                     {"", "rules: {off: [host/boot]}"},
	"profiles.off":                  {"", "profiles: {off: [redis]}"},
	"profiles.use":                  {"", "profiles: {use: {tinyd.service: redis}}"},
	"units.unit":                    {"units: [{unit: idle.service, leaveOut: true}]", "units: [{unit: tinyd.service, leaveOut: true}]"},
	"units.keep":                    {"", "units: [{unit: idle.service, keep: true}]"},
	"units.leaveOut":                {"", "units: [{unit: cron:cron.d/tiny-dump:1, leaveOut: true}]"},
	"units.reason":                  {"units: [{unit: tinyd.service, leaveOut: true}]", "units: [{unit: tinyd.service, leaveOut: true, reason: too old}]"},
	"workloads.name":                {"workloads: [{name: a, units: [tinyd.service]}]", "workloads: [{name: b, units: [tinyd.service]}]"},
	"workloads.units":               {"workloads: [{name: a, units: [tinyd.service]}]", "workloads: [{name: a, units: [other.service]}]"},
	"workloads.kind":                {"workloads: [{name: a, units: [other.service]}]", "workloads: [{name: a, units: [other.service], kind: StatefulSet}]"},
	"workloads.replicas":            {"workloads: [{name: a, units: [other.service]}]", "workloads: [{name: a, units: [other.service], replicas: 0}]"},
	"workloads.together":            {"workloads: [{name: a, units: [tinyd.service, other.service]}]", "workloads: [{name: a, units: [tinyd.service, other.service], together: true}]"},
	"workloads.split":               {"workloads: [{name: a, units: [tinyd.service, other.service]}]", "workloads: [{name: a, units: [tinyd.service, other.service], split: true}]"},
	"workloads.externalize":         {"", outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}")},
	"workloads.server.host":         {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: other.example.org, user: admin, passwordEnv: A}")},
	"workloads.server.port":         {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: db.example.org, user: admin, passwordEnv: A, port: 3307}")},
	"workloads.server.databases":    {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: db.example.org, user: admin, passwordEnv: A, databases: [shop]}")},
	"workloads.server.user":         {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: db.example.org, user: root, passwordEnv: A}")},
	"workloads.server.passwordEnv":  {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: db.example.org, user: admin, passwordEnv: B}")},
	"workloads.server.passwordFile": {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: db.example.org, user: admin, passwordFile: /root/password}")},
	"workloads.server.tls":          {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A}"), outside("database, server: {host: db.example.org, user: admin, passwordEnv: A, tls: require}")},
	"workloads.server.caFile":       {outside("database, server: {host: db.example.org, user: admin, passwordEnv: A, tls: verify, caFile: /etc/ca.pem}"), outside("database, server: {host: db.example.org, user: admin, passwordEnv: A, tls: verify, caFile: /etc/other.pem}")},
	"workloads.directories":         {"", "workloads: [{name: a, units: [tinyd.service], externalize: objects, directories: [/var/lib/tinyd/files]}]"},
	"workloads.readOnly":            {"workloads: [{name: a, units: [tinyd.service], externalize: objects, directories: [/var/lib/tinyd/files]}]", "workloads: [{name: a, units: [tinyd.service], externalize: objects, directories: [/var/lib/tinyd/files], readOnly: true}]"},
	"volumes.consistent":            {"", "volumes: [{path: /var/lib/mysql, consistent: snapshot}]"},
	"volumes.path":                  {"volumes: [{path: /home/ann, size: 9Gi}]", "volumes: [{path: /var/lib/tinyd, size: 9Gi}]"},
	"volumes.name":                  {"", "volumes: [{path: /home/ann, name: ann}]"},
	"volumes.size":                  {"", "volumes: [{path: /home/ann, size: 9Gi}]"},
	"volumes.storageClass":          {"", "volumes: [{path: /home/ann, storageClass: fast}]"},
	"volumes.accessMode":            {"", "volumes: [{path: /home/ann, accessMode: ReadWriteMany}]"},
	"volumes.headroom":              {"", "volumes: [{path: /var/lib/tinyd, headroom: 90}]"},
	"answers":                       {"", "answers: {schedule-late: 0 0 28 * *}"},
	"images.tag":                    {"", "images: {tag: v1}"},
	"images.labels":                 {"", "images: {labels: {vendor: Example}}"},
	"host.names":                    {"", "host: {names: [ldap]}"},
	"host.addresses":                {"", "host: {addresses: [10.9.8.7]}"},
	"host.timeZone":                 {"", "host: {timeZone: Europe/Paris}"},
	"smoke.name":                    {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{name: front, http: {service: x, port: 80}}]"},
	"smoke.seconds":                 {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 80}, seconds: 9}]"},
	"smoke.http.workload":           {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {workload: other}}]"},
	"smoke.http.service":            {"", "smoke: [{http: {service: x, port: 80}}]"},
	"smoke.http.port":               {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 81}}]"},
	"smoke.http.tls":                {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 80, tls: true}}]"},
	"smoke.http.path":               {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 80, path: /a}}]"},
	"smoke.http.host":               {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 80, host: a}}]"},
	"smoke.http.status":             {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 80, status: 301}}]"},
	"smoke.http.contains":           {"smoke: [{http: {service: x, port: 80}}]", "smoke: [{http: {service: x, port: 80, contains: a}}]"},
	"smoke.exec.workload":           {"smoke: [{exec: {workload: tinyd, command: [id]}}]", "smoke: [{exec: {workload: other, command: [id]}}]"},
	"smoke.exec.container":          {"", "smoke: [{exec: {workload: tinyd, container: tinyd, command: [id]}}]"},
	"smoke.exec.command":            {"smoke: [{exec: {workload: tinyd, command: [id]}}]", "smoke: [{exec: {workload: tinyd, command: [ls]}}]"},
	"smoke.exec.status":             {"smoke: [{exec: {workload: tinyd, command: [id]}}]", "smoke: [{exec: {workload: tinyd, command: [id], status: 1}}]"},
	"smoke.exec.contains":           {"smoke: [{exec: {workload: tinyd, command: [id]}}]", "smoke: [{exec: {workload: tinyd, command: [id], contains: a}}]"},
}

// outside decides that the data of the database live elsewhere.
func outside(what string) string {
	return "workloads: [{name: a, units: [mariadb.service], externalize: " + what + "}]"
}

// TestEveryDecisionHasAnEffect lifts a host with and without each key that
// statelift.yaml can have: what comes out must differ.
func TestEveryDecisionHasAnEffect(t *testing.T) {
	for key := range leaves(reflect.TypeFor[decisions.Decisions](), "") {
		if _, ok := decided[key]; !ok {
			t.Errorf("nothing shows that %s has an effect", key)
		}
	}
	root := busyHost(t)
	for key, c := range decided {
		t.Run(key, func(t *testing.T) {
			images := strings.HasPrefix(key, "images.")
			if outcome(t, root, c.without, images) == outcome(t, root, c.with, images) {
				t.Errorf("%q has no effect", c.with)
			}
		})
	}
}

// A job cannot be told to be something else.
func TestJobsStayJobs(t *testing.T) {
	root := busyHost(t)
	for _, what := range []string{"kind: Deployment", "replicas: 2", "together: true", "split: true"} {
		_, err := lifted(t, root, "workloads: [{name: a, units: [cron:cron.d/tiny-dump:1], "+what+"}]", "plan", "")
		if err == nil || !strings.Contains(err.Error(), "statelift.yaml:1: workload a: cron:cron.d/tiny-dump:1 runs at its times") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// leaves are the keys of a struct that hold no further struct.
func leaves(t reflect.Type, prefix string) map[string]bool {
	out := map[string]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		in := f.Type
		if in.Kind() == reflect.Slice {
			in = in.Elem()
		}
		switch {
		case name == "-" || f.Type == reflect.TypeFor[strictyaml.Line]():
		case in.Kind() == reflect.Struct:
			for key := range leaves(in, prefix+name+".") {
				out[key] = true
			}
		default:
			out[prefix+name] = true
		}
	}
	return out
}

// busyHost has something for every decision.
func busyHost(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "host")
	units := filepath.Join(root, "etc/systemd/system")
	if err := errors.Join(
		os.Mkdir(root, 0o755), tinyhost.Build(root),
		os.WriteFile(filepath.Join(units, "idle.service"), []byte("[Service]\nExecStart=/usr/local/bin/idle\n"), 0o644),
		os.WriteFile(filepath.Join(units, "other.service"), []byte("[Service]\nExecStart=/usr/local/bin/other --port 8080\n[Install]\nWantedBy=multi-user.target\n"), 0o644),
		os.Symlink("../other.service", filepath.Join(units, "multi-user.target.wants/other.service")),
		os.WriteFile(filepath.Join(units, "redis.service"), []byte("[Service]\nExecStart=/usr/bin/redis-server /etc/redis.conf\n[Install]\nWantedBy=multi-user.target\n"), 0o644),
		os.Symlink("../redis.service", filepath.Join(units, "multi-user.target.wants/redis.service")),
		os.WriteFile(filepath.Join(units, "mariadb.service"), []byte("[Service]\nExecStart=/usr/sbin/mariadbd\n[Install]\nWantedBy=multi-user.target\n"), 0o644),
		os.Symlink("../mariadb.service", filepath.Join(units, "multi-user.target.wants/mariadb.service")),
		os.MkdirAll(filepath.Join(root, "var/lib/mysql"), 0o755),
		os.WriteFile(filepath.Join(root, "var/lib/mysql/ib_logfile0"), make([]byte, 4096), 0o600),
		os.WriteFile(filepath.Join(units, "late.service"), []byte("[Service]\nType=oneshot\nExecStart=/usr/local/bin/late\n"), 0o644),
		os.WriteFile(filepath.Join(units, "late.timer"), []byte("[Timer]\nOnCalendar=*-02~03\n[Install]\nWantedBy=timers.target\n"), 0o644),
		os.Mkdir(filepath.Join(units, "timers.target.wants"), 0o755),
		os.Symlink("../late.timer", filepath.Join(units, "timers.target.wants/late.timer")),
	); err != nil {
		t.Fatal(err)
	}
	return root
}

// lifted runs the pipeline up to the stage with the decisions.
func lifted(t *testing.T, root, text, until, registry string) (workspace.Workspace, error) {
	t.Helper()
	d, err := decisions.Parse(workspace.Decisions, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	ws := workspace.Workspace{Dir: t.TempDir()}
	profiles, perr := profile.Load(templates.Profiles())
	rules, rerr := profile.LoadRules(templates.Rules())
	if err := errors.Join(perr, rerr, os.MkdirAll(ws.Path(workspace.Run), 0o700)); err != nil {
		t.Fatal(err)
	}
	runner := &pipeline.Runner{
		Stages:  stages.All(stages.Deps{Source: root, Registry: registry, Hold: true, Version: "test", Decisions: d, Profiles: profiles, Rules: rules}),
		Granted: pipeline.Local | pipeline.Registry, Version: "test",
		Env:     pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: ws, Progress: silent{}},
		Ledgers: func(string) pipeline.Ledger { return forgetful{} },
	}
	return ws, runner.Run(context.Background(), until)
}

// outcome is what was decided about the host: the plan, and every path's class
// with its reason; for what is about images, what they say and are called.
func outcome(t *testing.T, root, text string, images bool) string {
	t.Helper()
	if images {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		defer server.Close()
		ws, err := lifted(t, root, text, "images", strings.TrimPrefix(server.URL, "http://"))
		if err != nil {
			t.Fatalf("with %q: %v", text, err)
		}
		index, err := os.ReadFile(ws.Path(workspace.Images, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(index) + tags(t, server.URL, "tiny-tinyd")
	}
	ws, err := lifted(t, root, text, "plan", "")
	if err != nil {
		t.Fatalf("with %q: %v", text, err)
	}
	plan, err := pipeline.Read(ws, handoff.PlanKey)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := json.NewEncoder(&out).Encode(plan); err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Open(t.Context(), ws.Path(workspace.Inventory))
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	claims, err := cat.Claims(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for e, err := range cat.Entries(t.Context(), catalog.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&out, e.Path, e.Class, claims[e.Claim-1].Reason)
	}
	return out.String()
}

func tags(t *testing.T, registry, image string) string {
	t.Helper()
	resp, err := http.Get(registry + "/v2/" + image + "/tags/list")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	list, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", image, resp.Status, err)
	}
	return string(list)
}
