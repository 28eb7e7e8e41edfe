package upload_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/trees"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/carrier/registryserver"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/selfimage"
	"github.com/statelift/statelift/pipeline/store/storetest/faults"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/upload"
)

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

// marks is a ledger in memory.
type marks struct {
	mu sync.Mutex
	m  map[string]string
}

func (l *marks) Lookup(_ context.Context, item string) (string, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mark, ok := l.m[item]
	return mark, ok, nil
}

func (l *marks) Commit(_ context.Context, item, mark string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.m[item] = mark
	return nil
}

// two is a workspace with the seeds of two volumes that share content.
func two(t *testing.T) (*pipeline.Env, handoff.Seeds) {
	t.Helper()
	env := &pipeline.Env{
		Log: slog.New(slog.DiscardHandler), Workspace: workspace.Workspace{Dir: t.TempDir()},
		Ledger: &marks{m: map[string]string{}}, Progress: silent{},
	}
	layout := env.Workspace.Path(workspace.Seeds)
	seeds := handoff.Seeds{Layout: workspace.Seeds}
	var index []oci.Descriptor
	for _, volume := range []string{"data", "uploads"} {
		dir := t.TempDir()
		if err := trees.Every(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "only-in-"+volume), []byte(volume), 0o644); err != nil {
			t.Fatal(err)
		}
		limits := seedtest.Small()
		if volume == "uploads" {
			limits.PageBlobs = 4 // an index with pages
		}
		b, err := seedtest.TryBuild(t.Context(), dir, layout, seedtest.Scan(t, dir), seed.Options{Volume: volume, Root: hostpath.Root, Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		index = append(index, b.Manifest)
		seeds.Seeds = append(seeds.Seeds, handoff.Seed{Volume: volume, Digest: string(b.Manifest.Digest), Bytes: b.Config.Bytes})
	}
	l, err := oci.Open(layout)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetIndex(index); err != nil {
		t.Fatal(err)
	}
	return env, seeds
}

// program is a small static program.
func program(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "program")
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte("package main\n\nfunc main() { println(\"here\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", name, filepath.Join(dir, "main.go"))
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return name
}

func talk() carrier.Options {
	return carrier.Options{Backoff: time.Millisecond, Stall: 5 * time.Second}
}

func run(t *testing.T, o upload.Options, env *pipeline.Env, seeds handoff.Seeds) handoff.Upload {
	t.Helper()
	out, err := upload.New(o).Run(t.Context(), env, seeds)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fresh(t *testing.T, o upload.Options, env *pipeline.Env, seeds handoff.Seeds, out handoff.Upload) string {
	t.Helper()
	stale, err := upload.New(o).Recheck(t.Context(), env, seeds, out)
	if err != nil {
		t.Fatal(err)
	}
	return stale
}

func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Through a registry: skopeo takes the seeds from there, and what it took is
// what was made, by the sums of coreutils; statelift's own image starts.
func TestThroughARegistry(t *testing.T) {
	env, seeds := two(t)
	server := registryserver.Start(t)
	proxy := faults.New(t, "http://"+server.Host)
	base := strings.TrimPrefix(proxy.URL, "http://") + "/lift"
	o := upload.Options{Registry: base, Needed: true, Program: program(t), Talk: talk()}
	out := run(t, o, env, seeds)
	if out.Carrier != "registry" || out.Seeds != "registry:"+base+"/seeds" || !strings.HasPrefix(out.Copier, base+"/statelift@sha256:") || out.Arch != "amd64" || out.Blobs < 10 {
		t.Errorf("upload = %+v", out)
	}
	for _, s := range seeds.Seeds {
		dir := t.TempDir()
		for _, ref := range []string{base + "/seeds:" + s.Volume, base + "/seeds@" + s.Digest} {
			tool(t, "skopeo", "copy", "--all", "--src-tls-verify=false", "docker://"+ref, "oci:"+dir+":x")
		}
		l, err := oci.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		index, err := l.Index()
		if err != nil || len(index.Manifests) != 1 || string(index.Manifests[0].Digest) != s.Digest {
			t.Fatalf("skopeo has %+v, %v", index, err)
		}
		if err := seed.Verify(t.Context(), l, index.Manifests[0], 2); err != nil {
			t.Errorf("volume %s: %v", s.Volume, err)
		}
	}
	image := tool(t, "skopeo", "inspect", "--tls-verify=false", "--config", "docker://"+out.Copier)
	if !strings.Contains(image, `"/statelift"`) {
		t.Errorf("config of the image: %s", image)
	}
	// Again: nothing is sent, and the result is the same.
	proxy.Requests()
	if again := run(t, o, env, seeds); again != out {
		t.Errorf("again: %s", cmp.Diff(out, again))
	}
	for _, r := range proxy.Requests() {
		if r.Method == "PATCH" || r.Method == "PUT" {
			t.Errorf("the second time: %s %s", r.Method, r.URL.Path)
		}
	}
	// A blob and the image go away.
	if stale := fresh(t, o, env, seeds, out); stale != "" {
		t.Errorf("stale = %q", stale)
	}
	blob := someBlob(t, env)
	server.Unlink(t, "lift/seeds", string(blob))
	if stale := fresh(t, o, env, seeds, out); !strings.Contains(stale, string(blob)) {
		t.Errorf("without %s: stale = %q", blob, stale)
	}
	run(t, o, env, seeds)
	if stale := fresh(t, o, env, seeds, out); stale != "" {
		t.Errorf("after sending it again: stale = %q", stale)
	}
	if err := os.RemoveAll(filepath.Join(server.Folder, "docker/registry/v2/repositories/lift/statelift")); err != nil {
		t.Fatal(err)
	}
	if stale := fresh(t, o, env, seeds, out); !strings.Contains(stale, out.Copier) {
		t.Errorf("without the image: stale = %q", stale)
	}
}

// someBlob is the largest of the layout.
func someBlob(t *testing.T, env *pipeline.Env) oci.Digest {
	t.Helper()
	dir := env.Workspace.Path(workspace.Seeds, "blobs/sha256")
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	largest := slices.MaxFunc(list, func(a, b os.DirEntry) int {
		x, _ := a.Info()
		y, _ := b.Info()
		return int(x.Size() - y.Size())
	})
	return oci.Digest("sha256:" + largest.Name())
}

// Through a bucket: what lies below seeds/ is an OCI layout that skopeo reads,
// and every object's sum is its name.
func TestThroughABucket(t *testing.T) {
	env, seeds := two(t)
	server := s3server.Start(t)
	o := upload.Options{Store: server.Spec("", "lift/x"), Talk: talk()}
	o.Talk.Environment = server.Environment
	out := run(t, o, env, seeds)
	if out.Carrier != "bucket" || out.Seeds != o.Store || out.Copier != "" || out.Blobs < 10 {
		t.Errorf("upload = %+v", out)
	}
	dir := filepath.Join(server.Folder, "lift/x/seeds")
	sums := tool(t, "sh", "-c", `cd "$1"/blobs/sha256 && sha256sum *`, "sh", dir)
	lines := strings.Split(strings.TrimSpace(sums), "\n")
	if int64(len(lines)) != out.Blobs {
		t.Errorf("%d objects, the hand-off says %d", len(lines), out.Blobs)
	}
	for _, line := range lines {
		if sum, name, _ := strings.Cut(line, "  "); sum != name {
			t.Errorf("object %s has the sum %s", name, sum)
		}
	}
	for _, s := range seeds.Seeds {
		var raw oci.Manifest
		text := tool(t, "skopeo", "inspect", "--raw", "oci:"+dir+":"+s.Volume)
		if err := json.Unmarshal([]byte(text), &raw); err != nil || oci.Sum([]byte(strings.TrimSuffix(text, "\n"))) != s.Digest[7:] {
			t.Errorf("skopeo says of %s: %s", s.Volume, text)
		}
	}
	if stale := fresh(t, o, env, seeds, out); stale != "" {
		t.Errorf("stale = %q", stale)
	}
	blob := someBlob(t, env)
	name := filepath.Join(dir, "blobs/sha256", string(blob[7:]))
	for _, spoil := range []func() error{
		func() error { return os.Remove(name) },
		func() error { return os.Truncate(name, 10) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if stale := fresh(t, o, env, seeds, out); !strings.Contains(stale, string(blob)) {
			t.Errorf("stale = %q", stale)
		}
		run(t, o, env, seeds)
		if stale := fresh(t, o, env, seeds, out); stale != "" {
			t.Errorf("after sending it again: stale = %q", stale)
		}
	}
}

// Stopped in the middle, and with one request of ten broken, it goes on: what is
// there is not sent again, and the result is the same.
func TestStoppedAndBroken(t *testing.T) {
	env, seeds := two(t)
	registry, s3 := registryserver.Start(t), s3server.Start(t)
	program := program(t)
	for kind, target := range map[string]string{"registry": "http://" + registry.Host, "bucket": s3.Endpoint} {
		proxy := faults.New(t, target)
		o := upload.Options{Program: program, Talk: talk()}
		if kind == "registry" {
			o.Registry = strings.TrimPrefix(proxy.URL, "http://")
		} else {
			o.Store, o.Talk.Environment = s3.Spec(proxy.URL, "lift"), s3.Environment
		}
		sent := map[string]int{}
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(3, 4))
		stops := 0
		for {
			ctx, cancel := context.WithCancel(t.Context())
			left := 12
			proxy.Decide(func(r *http.Request) faults.Fault {
				mu.Lock()
				defer mu.Unlock()
				if r.Method == "PUT" {
					if left--; left == 0 {
						cancel()
					}
					if dice.IntN(10) == 0 {
						return faults.Reset
					}
					sent[r.URL.Path+r.URL.Query().Get("digest")]++
				}
				return faults.None
			})
			out, err := upload.New(o).Run(ctx, env, seeds)
			cancel()
			if err == nil {
				proxy.Decide(func(*http.Request) faults.Fault { return faults.None })
				if stale := fresh(t, o, env, seeds, out); stale != "" {
					t.Errorf("%s: stale = %q", kind, stale)
				}
				if stops < 2 {
					t.Errorf("%s: it was stopped %d times only", kind, stops)
				}
				break
			}
			stops++
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("%s: %v", kind, err)
			}
		}
		// Only what was on its way when a run was stopped goes twice.
		again := 0
		for what, n := range sent {
			if kind == "bucket" && strings.Contains(what, "/blobs/") {
				again += n - 1
			}
		}
		if again > 4*stops {
			t.Errorf("%s: %d blobs were sent again after %d stops", kind, again, stops)
		}
	}
}

// A damaged blob of the workspace goes nowhere, and is named with its volume.
func TestDamagedHere(t *testing.T) {
	env, seeds := two(t)
	server := registryserver.Start(t)
	blob := someBlob(t, env)
	name, err := carrier.BlobFile(env.Workspace.Path(workspace.Seeds), blob)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	o := upload.Options{Registry: server.Host, Program: program(t), Talk: talk()}
	_, err = upload.New(o).Run(t.Context(), env, seeds)
	if err == nil || !strings.Contains(err.Error(), "seed of volume ") || !strings.Contains(err.Error(), string(blob)) {
		t.Errorf("error = %v", err)
	}
}

// Without far sides nothing is done; with a cluster as target they are asked for.
func TestWhereTo(t *testing.T) {
	bucket := "s3://lift/x?endpoint=https://s3.example"
	for _, c := range []struct {
		name    string
		o       upload.Options
		effects pipeline.Effect
		blocked string // where
		input   string // what
	}{
		{name: "rehearsal", o: upload.Options{}, effects: pipeline.Local},
		{name: "directory as store", o: upload.Options{Store: "/srv/store"}, effects: pipeline.Local},
		{name: "registry", o: upload.Options{Registry: "registry.example/lift"}, effects: pipeline.Local | pipeline.Registry},
		{name: "bucket", o: upload.Options{Store: bucket}, effects: pipeline.Local | pipeline.Bucket},
		{name: "both", o: upload.Options{Registry: "registry.example/lift", Store: bucket, Needed: true}, effects: pipeline.Local | pipeline.Registry | pipeline.Bucket},
		{name: "both, registry asked", o: upload.Options{Registry: "registry.example/lift", Store: bucket, Carrier: "registry", Needed: true}, effects: pipeline.Local | pipeline.Registry},
		{name: "cluster with nothing", o: upload.Options{Needed: true}, blocked: "--registry"},
		{name: "cluster with a bucket only", o: upload.Options{Needed: true, Store: bucket}, blocked: "--registry"},
		{name: "bucket asked, none there", o: upload.Options{Carrier: "bucket", Registry: "registry.example/lift", Store: "/srv/store"}, blocked: "--store"},
		{name: "registry asked, none there", o: upload.Options{Carrier: "registry", Store: bucket}, blocked: "--registry"},
		{name: "pigeon", o: upload.Options{Carrier: "pigeon"}, input: "--carrier"},
		{name: "bad registry", o: upload.Options{Registry: "x"}, input: "--registry"},
		{name: "bad store", o: upload.Options{Store: "s3://"}, input: "--store"},
	} {
		err := c.o.Check()
		var (
			blocked *pipeline.Blocked
			input   *pipeline.InputError
			where   string
			what    string
		)
		if errors.As(err, &blocked) {
			where = blocked.Where
		}
		if errors.As(err, &input) {
			what = input.What
		}
		if where != c.blocked || what != c.input || (err == nil) != (c.blocked+c.input == "") {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil && c.o.Effects() != c.effects {
			t.Errorf("%s: effects %v, want %v", c.name, c.o.Effects(), c.effects)
		}
	}
	// What the environment says of the bucket, a Pod has to be told.
	server := s3server.Start(t)
	env, seeds := two(t)
	o := upload.Options{Store: "s3://" + server.Bucket + "/lift", Talk: talk()}
	o.Talk.Environment = func(name string) string {
		return map[string]string{"AWS_ENDPOINT_URL": server.Endpoint, "AWS_REGION": "us-east-1"}[name] + server.Environment(name)
	}
	if out, want := run(t, o, env, seeds), o.Store+"?endpoint="+server.Endpoint+"&region=us-east-1"; out.Seeds != want {
		t.Errorf("seeds are at %s, want %s", out.Seeds, want)
	}
	env, seeds = two(t)
	before := tool(t, "find", env.Workspace.Dir, "-printf", "%p %T@\n")
	if out := run(t, upload.Options{}, env, seeds); out != (handoff.Upload{}) {
		t.Errorf("upload = %+v", out)
	}
	if after := tool(t, "find", env.Workspace.Dir, "-printf", "%p %T@\n"); after != before {
		t.Error("a rehearsal touched something")
	}
}

// A program that is linked dynamically is no image: said so when a cluster needs
// it, done without otherwise.
func TestADynamicProgram(t *testing.T) {
	env, seeds := two(t)
	server := registryserver.Start(t)
	var log bytes.Buffer
	env.Log = slog.New(slog.NewTextHandler(&log, nil))
	o := upload.Options{Registry: server.Host, Program: "/bin/ls", Talk: talk()}
	if out := run(t, o, env, seeds); out.Copier != "" || out.Arch != "" || !strings.Contains(log.String(), "CGO_ENABLED=0") {
		t.Errorf("upload = %+v, log %s", out, &log)
	}
	o.Needed = true
	if _, err := upload.New(o).Run(t.Context(), env, seeds); !errors.Is(err, selfimage.ErrDynamic) {
		t.Errorf("error = %v", err)
	}
}

// A blob that an earlier lift left damaged in the registry is named with its
// volume, and the upload is no success.
func TestDamagedThere(t *testing.T) {
	server := registryserver.Start(t)
	o := upload.Options{Registry: server.Host, Program: program(t), Talk: talk()}
	env, seeds := two(t)
	run(t, o, env, seeds)
	blob := someBlob(t, env)
	data, err := os.ReadFile(server.Blob(string(blob)))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(server.Blob(string(blob)), data, 0o600); err != nil {
		t.Fatal(err)
	}
	env, seeds = two(t) // another workspace with the same content
	if _, err := upload.New(o).Run(t.Context(), env, seeds); err == nil || !strings.Contains(err.Error(), "seed of volume ") ||
		!strings.Contains(err.Error(), string(blob)) || !strings.Contains(err.Error(), "deleted in the registry's storage") {
		t.Errorf("error = %v", err)
	}
}
