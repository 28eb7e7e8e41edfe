package images_test

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/images"
)

// With a registry the images are there as well, under the same digests, and the
// stage notices when they are not any more.
func TestPush(t *testing.T) {
	serve := func() *httptest.Server {
		s := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(s.Close)
		return s
	}
	srv := serve()
	host := strings.TrimPrefix(srv.URL, "http://")
	root := hosttest.Legacy(t)
	_, local := mustLift(t, root, images.Options{Tool: "1.0"})
	o := images.Options{Tool: "1.0", Registry: host + "/team", Tag: "v1"}
	env, out := mustLift(t, root, o)
	for n, i := range out.Images {
		if want := host + "/team/" + i.Name + "@" + i.Digest; i.Ref != want {
			t.Errorf("ref = %s, want %s", i.Ref, want)
		}
		got := strings.TrimSpace(run(t, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+i.Ref))
		if got != local.Images[n].Digest {
			t.Errorf("%s: skopeo sees %s, want %s", i.Name, got, local.Images[n].Digest)
		}
		tag := "docker://" + host + "/team/" + i.Name + ":v1"
		if got := strings.TrimSpace(run(t, "skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", tag)); got != i.Digest {
			t.Errorf("%s is %s, want %s", tag, got, i.Digest)
		}
	}
	stage := images.New(o)
	stale := func(want string) {
		t.Helper()
		got, err := stage.Recheck(t.Context(), env, hosttest.LegacyPlan(), out)
		if err != nil || !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("stale = %q, %v, want %q", got, err, want)
		}
	}
	stale("")
	first, other := out.Images[0], out.Images[1]
	run(t, "skopeo", "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+other.Ref, "docker://"+host+"/team/"+first.Name+":v1")
	stale("has no image " + first.Name + " any more")
	srv.Config.Handler = serve().Config.Handler // as if it had lost everything
	stale("has no image legacy-app any more")
	second, err := again(t, env, root, o)
	if diff := cmp.Diff(out, second); diff != "" || err != nil {
		t.Errorf("the second run: %v\n%s", err, diff)
	}
	stale("")
	l := out.Images[0].Layers[0]
	if err := os.Remove(env.Workspace.Path(workspace.Images, "blobs", "sha256", strings.TrimPrefix(l.Digest, "sha256:"))); err != nil {
		t.Fatal(err)
	}
	stale("layer " + l.Digest)
	total, done := env.Progress.(interface{ Told() (int64, int64) }).Told()
	if total != done || total == 0 {
		t.Errorf("progress: %d of %d", done, total)
	}
}

// The stage is stale when what images are made of changed, be it of another
// class, and not when data did.
func TestRecheckSeesTheHost(t *testing.T) {
	root := hosttest.Legacy(t)
	env, out := mustLift(t, root, images.Options{})
	for _, c := range []struct {
		change string
		stale  bool
	}{
		{"true", false},
		{`echo data >"$1/var/lib/db/new"; touch "$1/var/lib/db" "$1/var/log/app"`, false},
		{`chmod 700 "$1/var/lib/db"`, true},
		{`chmod 750 "$1/var/lib/db"`, true},
		{`touch "$1/etc/passwd"`, true},
		{`touch "$1/usr/bin/tool"`, true},
	} {
		run(t, "sh", "-c", c.change, "sh", root)
		hosttest.Inventory(t, env, root, hosttest.LegacyPlace, hosttest.LegacyPackages...)
		why, err := images.New(images.Options{}).Recheck(t.Context(), env, hosttest.LegacyPlan(), out)
		if err != nil || (why != "") != c.stale {
			t.Errorf("after %s: %q, %v", c.change, why, err)
		}
		if c.stale {
			second, err := again(t, env, root, images.Options{})
			if err != nil {
				t.Fatal(err)
			}
			out = second
		}
	}
}

// What cannot work is said before any work is done.
func TestRegistryIsAskedFirst(t *testing.T) {
	env, _, err := lift(t, hosttest.Legacy(t), images.Options{Registry: "127.0.0.1:1"})
	if err == nil || !strings.Contains(err.Error(), "registry 127.0.0.1:1: ") {
		t.Errorf("error = %v", err)
	}
	if _, err := os.Stat(env.Workspace.Path(workspace.Images)); err == nil {
		t.Error("images were built")
	}
}
