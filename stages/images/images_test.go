package images_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/hosttest"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/images"
)

// unpack lays the layers of an image over each other with tar, as a runtime
// does, and returns the directory.
func unpack(t *testing.T, env *pipeline.Env, img handoff.Image) string {
	t.Helper()
	to := t.TempDir()
	for _, l := range img.Layers {
		blob := env.Workspace.Path(workspace.Images, "blobs", "sha256", strings.TrimPrefix(l.Digest, "sha256:"))
		run(t, "tar", "-C", to, "--zstd", "-xpf", blob, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--delay-directory-restore")
	}
	return to
}

func image(t *testing.T, out handoff.Images, name string) handoff.Image {
	t.Helper()
	for _, img := range out.Images {
		if img.Name == name {
			return img
		}
	}
	t.Fatalf("there is no image %s", name)
	return handoff.Image{}
}

// The image of a workload, unpacked, is the host without what went elsewhere.
func TestImageIsTheHost(t *testing.T) {
	root := hosttest.Legacy(t)
	env, out := mustLift(t, root, images.Options{Tool: "1.0"})
	to := unpack(t, env, image(t, out, "legacy-app"))
	got := run(t, "rsync", "-aHAXnic", "--numeric-ids", "--delete", root+"/", to+"/")
	if diff := cmp.Diff(elsewhere, got); diff != "" {
		t.Errorf("what rsync finds between host and image:\n%s", diff)
	}
	// The directories that something is mounted at, empty places, and links.
	stat := run(t, "sh", "-c", `cd "$1"; stat -c '%n %A %u:%g' var/lib/db var/lib/new/place run/app run/made srv/app root tmp etc/shadow etc/gshadow; readlink var/log/app/app.log; cat etc/passwd etc/group etc/shadow etc/gshadow`, "sh", to)
	want := `var/lib/db drwxr-x--- 700:700
var/lib/new/place drwxr-xr-x 0:0
run/app drwxr-xr-x 700:700
run/made drwx--x--- 700:700
srv/app drwxr-xr-x 700:700
root drwx------ 0:0
tmp drwxrwxrwt 0:0
etc/shadow -rw-r----- 0:42
etc/gshadow -rw-r----- 0:42
/dev/stdout
root:x:0:0:root:/root:/bin/sh
app-user:x:700:700::/srv/app:/bin/false
root:x:0:
shadow:x:42:
app-user:x:700:
root:*:::::::
app-user:*:::::::
root:*::
shadow:*::
app-user:*::
`
	if diff := cmp.Diff(want, stat); diff != "" {
		t.Errorf("what was made:\n%s", diff)
	}
}

// elsewhere is all that may differ between the host and the image, in the words
// of rsync --itemize-changes. Directories that are not of class image bring no
// time. Content, owners, modes, times, xattrs, ACLs,
// capabilities and hard links of everything else are the same.
const elsewhere = `*deleting   sys/
*deleting   dev/
>f+++++++++ etc/app.env
>fcs....... etc/group
>fcs...g... etc/gshadow
>fcs....... etc/passwd
>fcs...g... etc/shadow
.d..t...... home/
cd+++++++++ home/u/
.f........x opt/every/attrs/user
*deleting   run/made/
*deleting   var/lib/new/place/
*deleting   var/lib/new/
cS+++++++++ opt/every/special/socket
.d..t...... proc/
.d..t...... root/
.d..t...... run/
.d..t...... run/app/
.d..t...... srv/
.d..t...... srv/app/
>f+++++++++ srv/app/site
.d..t...... tmp/
>f+++++++++ usr/local/bin/other
cd+++++++++ var/backups/
>f+++++++++ var/backups/dump.sql.gz
>f+++++++++ var/backups/older.sql.gz
.d..t...... var/lib/db/
>f+++++++++ var/lib/db/table
.d..t...... var/log/app/
>f+++++++++ var/log/app/app.log
`

// The layout is sound in the eyes of skopeo and umoci.
func TestLayoutIsSound(t *testing.T) {
	env, out := mustLift(t, hosttest.Legacy(t), images.Options{Tool: "1.0"})
	dir := env.Workspace.Path(workspace.Images)
	var got struct {
		Digest       string
		Architecture string
		Labels       map[string]string
		Layers       []string
		Env          []string
	}
	if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", "oci:"+dir+":legacy-app")), &got); err != nil {
		t.Fatal(err)
	}
	img := image(t, out, "legacy-app")
	if got.Digest != img.Digest || got.Architecture != "arm64" {
		t.Errorf("skopeo sees %s for %s, want %s for arm64", got.Digest, got.Architecture, img.Digest)
	}
	var config struct {
		Config struct {
			User, WorkingDir, StopSignal string
			Entrypoint, Env              []string
			ExposedPorts, Labels         map[string]any
		}
	}
	if err := json.Unmarshal([]byte(run(t, "skopeo", "inspect", "--config", "oci:"+dir+":legacy-app")), &config); err != nil {
		t.Fatal(err)
	}
	c := config.Config
	for _, f := range []struct{ name, got, want string }{
		{"user", c.User, "700:700"},
		{"working directory", c.WorkingDir, "/srv/app"},
		{"stop signal", c.StopSignal, "SIGQUIT"},
		{"entrypoint", strings.Join(c.Entrypoint, " "), "/usr/local/bin/app --serve"},
		{"environment", strings.Join(c.Env, " "), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin MODE=lifted"},
		{"unit", c.Labels["io.statelift.units"].(string), "app.service"},
	} {
		if f.got != f.want {
			t.Errorf("%s = %q, want %q", f.name, f.got, f.want)
		}
	}
	if _, ok := c.ExposedPorts["8080/tcp"]; !ok {
		t.Errorf("ports = %v", c.ExposedPorts)
	}
	to := filepath.Join(t.TempDir(), "bundle")
	run(t, "skopeo", "copy", "oci:"+dir+":legacy-app", "oci:"+t.TempDir()+":copied")
	gz := t.TempDir()
	run(t, "skopeo", "copy", "--dest-compress-format", "gzip", "--dest-compress", "oci:"+dir+":legacy-app", "oci:"+gz+":copied")
	run(t, "umoci", "unpack", "--image", gz+":copied", to)
	if data, err := os.ReadFile(to + "/rootfs/usr/bin/tool"); err != nil || string(data) != "tool" {
		t.Errorf("umoci unpacked %q, %v", data, err)
	}
}

// Two runs on two copies of a host, in different places and at different
// times, with the workers in another order, give the same digests.
func TestSameDigests(t *testing.T) {
	_, first := mustLift(t, hosttest.Legacy(t), images.Options{Tool: "1.0"})
	_, second := mustLift(t, hosttest.Legacy(t), images.Options{Tool: "1.0"})
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the same host gives other images:\n%s", diff)
	}
}

// A second run builds nothing and gives the same; a layer that was damaged
// meanwhile is built again.
func TestRunAgain(t *testing.T) {
	root := hosttest.Legacy(t)
	env, first := mustLift(t, root, images.Options{Tool: "1.0"})
	before := run(t, "sh", "-c", `cd "$1" && find . -type f -path '*blobs*' -size +4k -printf '%P %T@ %i\n' | sort; cat index.json`, "sh", env.Workspace.Path(workspace.Images))
	second, err := again(t, env, root, images.Options{Tool: "1.0"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("the second run differs:\n%s", diff)
	}
	after := run(t, "sh", "-c", `cd "$1" && find . -type f -path '*blobs*' -size +4k -printf '%P %T@ %i\n' | sort; cat index.json`, "sh", env.Workspace.Path(workspace.Images))
	if before != after {
		t.Errorf("layers were written again:\n%s\n%s", before, after)
	}
	for _, l := range first.Images[0].Layers {
		blob := env.Workspace.Path(workspace.Images, "blobs", "sha256", strings.TrimPrefix(l.Digest, "sha256:"))
		data, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(blob, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	third, err := again(t, env, root, images.Options{Tool: "1.0"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, third); diff != "" {
		t.Errorf("the run after damage differs:\n%s", diff)
	}
	for _, l := range first.Images[0].Layers {
		blob := env.Workspace.Path(workspace.Images, "blobs", "sha256", strings.TrimPrefix(l.Digest, "sha256:"))
		if got := "sha256:" + run(t, "sha256sum", blob)[:64]; got != l.Digest {
			t.Errorf("layer %s is still damaged", l.Digest)
		}
	}
}

// Nothing secret and no data is in any image.
func TestNoPlantedString(t *testing.T) {
	env, out := mustLift(t, hosttest.Legacy(t), images.Options{Tool: "1.0"})
	for _, img := range out.Images {
		to := unpack(t, env, img)
		for _, s := range hosttest.Planted {
			found := run(t, "sh", "-c", `grep -rlF -e "$1" "$2" || true`, "sh", s, to)
			if found != "" {
				t.Errorf("%s: %q is in %s", img.Name, s, found)
			}
		}
	}
	if found := run(t, "sh", "-c", `grep -lF PLANTED -r "$1" || true`, "sh", env.Workspace.Path(workspace.Images)); found != "" {
		t.Errorf("the layout holds a planted string: %s", found)
	}
}

// All images share what is of packages and of nobody; each workload has its own
// files alone, and a cron job those of all.
func TestWhoHasWhat(t *testing.T) {
	env, out := mustLift(t, hosttest.Legacy(t), images.Options{Tool: "1.0"})
	has := func(img, path string) bool {
		_, err := os.Lstat(filepath.Join(unpack(t, env, image(t, out, img)), path))
		return err == nil
	}
	for _, c := range []struct {
		path string
		in   string
	}{
		{"usr/bin/base", "legacy-app legacy-nightly legacy-other"},
		{"usr/bin/patched", "legacy-app legacy-nightly legacy-other"},
		{"usr/local/lib/unclaimed", "legacy-app legacy-nightly legacy-other"},
		{"usr/local/bin/app", "legacy-app legacy-nightly"},
		{"usr/local/bin/other", "legacy-nightly legacy-other"},
		{"etc/shadow", "legacy-app legacy-nightly legacy-other"},
		{"var/lib/db/table", ""},
		{"etc/app.env", ""},
		{"home/u", ""},
	} {
		var in []string
		for _, name := range []string{"legacy-app", "legacy-nightly", "legacy-other"} {
			if has(name, c.path) {
				in = append(in, name)
			}
		}
		if got := strings.Join(in, " "); got != c.in {
			t.Errorf("%s is in %q, want %q", c.path, got, c.in)
		}
	}
	a, b := image(t, out, "legacy-app"), image(t, out, "legacy-other")
	var shared []string
	for _, l := range a.Layers {
		if slices.ContainsFunc(b.Layers, func(m handoff.ImageLayer) bool { return m.Digest == l.Digest }) {
			shared = append(shared, l.What)
		}
	}
	if diff := cmp.Diff([]string{"base system: base-files to base-files", "packages: tool to tool", "local files"}, shared); diff != "" {
		t.Errorf("shared layers:\n%s", diff)
	}
}

// Files that changed since the scan are all named and left out, and the run is
// incomplete. What was built before they changed stays good.
func TestChangedSinceTheScan(t *testing.T) {
	root := hosttest.Legacy(t)
	run(t, "sh", "-c", `ln "$1/usr/local/bin/app" "$1/usr/local/bin/app-link"`, "sh", root)
	env := hosttest.Env(t, t.TempDir())
	hosttest.Inventory(t, env, root, hosttest.LegacyPlace, hosttest.LegacyPackages...)
	run(t, "sh", "-c", `echo more >>"$1/usr/local/bin/app"; rm "$1/usr/bin/tool"`, "sh", root)
	out, err := again(t, env, root, images.Options{Tool: "1.0"})
	var inc *pipeline.Incomplete
	if !errors.As(err, &inc) {
		t.Fatalf("error = %v, want Incomplete", err)
	}
	var paths []string
	for _, why := range inc.Because {
		path, _, _ := strings.Cut(why, " changed since the scan")
		paths = append(paths, path)
	}
	slices.Sort(paths)
	if diff := cmp.Diff([]string{"/usr/bin/tool", "/usr/local/bin/app", "/usr/local/bin/app-link"}, paths); diff != "" {
		t.Errorf("paths that changed:\n%s", diff)
	}
	to := unpack(t, env, image(t, out, "legacy-app"))
	if found := run(t, "sh", "-c", `cd "$1"; ls usr/bin usr/local/bin`, "sh", to); found != "usr/bin:\nbase\npatched\n\nusr/local/bin:\n" {
		t.Errorf("the image has %q", found)
	}
	second, err := again(t, env, root, images.Options{Tool: "1.0"})
	if diff := cmp.Diff(out, second); diff != "" || !errors.As(err, &inc) {
		t.Errorf("the second run: %v\n%s", err, diff)
	}
}

// gzip layers are sound in the eyes of gzip and go-containerregistry, whose
// validation does not know zstd.
func TestGzip(t *testing.T) {
	env, out := mustLift(t, hosttest.Legacy(t), images.Options{Compression: layer.Gzip})
	for _, l := range out.Images[0].Layers {
		blob := env.Workspace.Path(workspace.Images, "blobs", "sha256", strings.TrimPrefix(l.Digest, "sha256:"))
		run(t, "sh", "-c", `gzip -t <"$1"`, "sh", blob)
	}
	l, err := layout.ImageIndexFromPath(env.Workspace.Path(workspace.Images))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(l); err != nil {
		t.Error(err)
	}
}
