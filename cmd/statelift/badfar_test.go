package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/statelift/statelift/pipeline/store/storetest/faults"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// bucket is a real S3 server with a proxy before it that can break.
type bucket struct {
	*s3server.Server
	proxy       *faults.Proxy
	environment []string
}

func newBucket(t *testing.T) bucket {
	t.Helper()
	s := s3server.Start(t)
	return bucket{s, faults.New(t, s.Endpoint), []string{
		"AWS_ACCESS_KEY_ID=" + s.Access, "AWS_SECRET_ACCESS_KEY=" + s.Secret, "AWS_SESSION_TOKEN=",
	}}
}

// silent wants none of the credentials in what was printed, nor in the log.
func (b bucket) silent(t *testing.T, e ended, ws string) {
	t.Helper()
	logged, err := os.ReadFile(filepath.Join(ws, "run", "log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{b.Secret, b.Access, "X-Amz-Signature", "AWS4-HMAC"} {
		for _, text := range []string{e.stdout, e.stderr, string(logged)} {
			if strings.Contains(text, secret) {
				t.Errorf("%s was printed:\n%s", secret, text)
			}
		}
	}
}

// TestFarAndWide lifts a host to a real bucket and a real registry: what arrives
// is what the host has, say sha256sum and skopeo; and what is damaged there is
// found and named.
func TestFarAndWide(t *testing.T) {
	t.Parallel()
	host, ws := tiny(t), filepath.Join(t.TempDir(), "ws")
	b, reg := newBucket(t), startRegistry(t)
	run := func(args ...string) ended { return attempt(t, b.environment, append(args, "-w", ws)...) }
	out := run("run", host, "--store", b.Spec("", "lift"), "--registry", reg.address+"/team/tiny")
	out.want(t, exitOK, "everything is proved", "s3://legacy/lift", reg.address+"/team/tiny/tiny-tinyd@sha256:")
	b.silent(t, out, ws)
	object := filepath.Join(b.Folder, "lift/objects/var/backups/tiny-2018.sql.gz")
	same := `cmp "$1/var/backups/tiny-2018.sql.gz" "$2" && cd "$3" &&
		jq -r '.manifests[] | "\(.annotations["org.opencontainers.image.ref.name"]) \(.digest)"' index.json | while read -r name digest; do
			test "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$4/team/tiny/$name@$digest")" = "$digest" || exit 1
			echo "$name"
		done`
	names, err := exec.Command("sh", "-ec", same, "sh", host, object, filepath.Join(ws, "images"), reg.address).CombinedOutput()
	if err != nil || !strings.Contains(string(names), "tiny-tinyd") {
		t.Fatalf("what arrived differs: %v: %s", err, names)
	}
	run("run").want(t, exitOK, "everything is proved")
	run("verify").want(t, exitOK, "everything is proved")

	t.Run("truncated object", func(t *testing.T) {
		damage(t, object, func(data []byte) []byte { return data[:len(data)-1] })
		out := run("verify", "--json")
		out.wantNotProved(t, "objects/var/backups/tiny-2018.sql.gz")
		b.silent(t, out, ws)
	})
	t.Run("other byte in an object", func(t *testing.T) {
		damage(t, object, flip)
		run("verify", "--json").wantNotProved(t, "objects/var/backups/tiny-2018.sql.gz")
	})
	t.Run("index of the store", func(t *testing.T) {
		damage(t, filepath.Join(b.Folder, "lift/index.jsonl"), flip)
		run("verify", "--json").wantNotProved(t, "index.jsonl")
	})
	t.Run("object gone", func(t *testing.T) {
		damage(t, object, func([]byte) []byte { return nil })
		run("verify", "--json").wantNotProved(t, "objects/var/backups/tiny-2018.sql.gz")
		run("run").want(t, exitOK, "everything is proved")
	})
	t.Run("layer in the registry", func(t *testing.T) {
		layer := largestBlob(t, filepath.Join(ws, "images"))
		damage(t, filepath.Join(reg.folder, "docker/registry/v2/blobs/sha256", layer[:2], layer, "data"), flip)
		run("verify", "--json").wantNotProved(t, reg.address+"/team/tiny/", "sha256:"+layer)
	})
	run("verify").want(t, exitOK, "everything is proved")
}

// TestBucketsThatRefuse are final at once: the message says what to look at.
func TestBucketsThatRefuse(t *testing.T) {
	t.Parallel()
	host, ws := tiny(t), filepath.Join(t.TempDir(), "ws")
	b := newBucket(t)
	closed := "http://" + unused(t)
	wrong := []string{b.environment[0], "AWS_SECRET_ACCESS_KEY=another-secret-entirely"}
	for name, c := range map[string]struct {
		environment []string
		spec        string
		want        string
	}{
		"credentials": {wrong, b.Spec("", "x"), "store s3://legacy/x"},
		"no bucket":   {b.environment, strings.Replace(b.Spec("", "x"), "legacy", "no-such-bucket", 1), "store s3://no-such-bucket/x"},
		"nobody":      {b.environment, b.Spec(closed, "x"), "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			out := attempt(t, c.environment, "run", host, "-w", ws, "--until", "objects", "--store", c.spec, "--attempts", "2")
			out.want(t, exitFailure, "objects: store s3://", c.want)
			b.silent(t, out, ws)
			if strings.Contains(out.stderr, "another-secret-entirely") {
				t.Error("the secret was printed")
			}
		})
	}
	// With what is right, the same workspace goes on.
	attempt(t, b.environment, "run", host, "-w", ws, "--until", "objects", "--store", b.Spec("", "x")).want(t, exitOK)
}

// TestBucketsThatBreak stall, reset and refuse in the middle: for good, which
// the run says and stops; and for a while, which it gets over.
func TestBucketsThatBreak(t *testing.T) {
	t.Parallel()
	host, ws := tiny(t), filepath.Join(t.TempDir(), "ws")
	b := newBucket(t)
	run := func(attempts string) ended {
		return attempt(t, b.environment, "run", host, "-w", ws, "--until", "objects",
			"--store", b.Spec(b.proxy.URL, "x"), "--stall", "1s", "--attempts", attempts)
	}
	puts := func(f faults.Fault, times int) func(*http.Request) faults.Fault {
		return func(r *http.Request) faults.Fault {
			if r.Method == http.MethodPut && times > 0 {
				times--
				return f
			}
			return faults.None
		}
	}
	for name, c := range map[string]struct {
		fault faults.Fault
		want  string
	}{
		"stalls":       {faults.Stall, "nothing happened for 1s"},
		"resets":       {faults.Reset, "connection reset by peer"},
		"is too slow":  {faults.SlowDown, "SlowDown"},
		"is away":      {faults.Unavailable, "502"},
		"cuts uploads": {faults.ResetBody, "connection reset by peer"},
	} {
		b.proxy.Decide(puts(c.fault, 1<<30))
		out := run("2")
		out.want(t, exitFailure, "store s3://legacy/x", "put objects/", "given up after 2 attempts", c.want)
		b.silent(t, out, ws)
		if t.Failed() {
			t.Fatalf("a bucket that %s", name)
		}
	}
	b.proxy.Decide(puts(faults.Stall, 1<<30))
	b.proxy.Requests()
	interrupt(t, b, "run", host, "-w", ws, "--store", b.Spec(b.proxy.URL, "x"))
	b.proxy.Decide(puts(faults.Stall, 1))
	run("4").want(t, exitOK)
	out, err := exec.Command("sha256sum", filepath.Join(host, "var/backups/tiny-2018.sql.gz"), filepath.Join(b.Folder, "x/objects/var/backups/tiny-2018.sql.gz")).Output()
	if f := strings.Fields(string(out)); err != nil || len(f) != 4 || f[0] != f[2] {
		t.Errorf("sha256sum: %v: %s", err, out)
	}
}

// interrupt sends SIGINT to a run that waits for a store, and wants it to end
// soon, with its own exit code.
func interrupt(t *testing.T, b bucket, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "statelift", args...)
	cmd.Env = append(os.Environ(), b.environment...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waiting := func() bool {
		for _, r := range b.proxy.Requests() {
			if r.Fault == faults.Stall {
				return true
			}
		}
		return false
	}
	for deadline := time.Now().Add(3 * time.Minute); !waiting(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no request came")
		}
	}
	asked := time.Now()
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != exitInterrupted || time.Since(asked) > 10*time.Second {
		t.Errorf("exit code %d after %s, want %d at once", code, time.Since(asked), exitInterrupted)
	}
}

// TestRegistriesThatBreak does the same to a registry.
func TestRegistriesThatBreak(t *testing.T) {
	t.Parallel()
	host, ws := tiny(t), filepath.Join(t.TempDir(), "ws")
	far := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(far.Close)
	proxy := faults.New(t, far.URL)
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(refuses.Close)
	run := func(url, attempts string) ended {
		return attempt(t, nil, "run", host, "-w", ws, "--until", "images",
			"--registry", strings.TrimPrefix(url, "http://")+"/team", "--stall", "1s", "--attempts", attempts)
	}
	for _, url := range []string{refuses.URL, "http://" + unused(t)} {
		run(url, "2").want(t, exitFailure, "images: ", "registry "+strings.TrimPrefix(url, "http://"))
	}
	run(refuses.URL, "2").want(t, exitFailure, "refuses access (403)")
	blobs := func(f faults.Fault, times int) func(*http.Request) faults.Fault {
		return func(r *http.Request) faults.Fault {
			if r.Method != http.MethodGet && r.Method != http.MethodHead && times > 0 {
				times--
				return f
			}
			return faults.None
		}
	}
	for _, c := range []struct {
		fault faults.Fault
		want  string
	}{
		{faults.Stall, "nothing moved for 1s"}, {faults.Reset, "connection reset by peer"}, {faults.Unavailable, "502"},
	} {
		proxy.Decide(blobs(c.fault, 1<<30))
		run(proxy.URL, "2").want(t, exitFailure, "images: registry "+strings.TrimPrefix(proxy.URL, "http://"), c.want)
	}
	proxy.Decide(blobs(faults.Reset, 2))
	run(proxy.URL, "4").want(t, exitOK)
	attempt(t, nil, "run", host, "-w", ws, "--registry", strings.TrimPrefix(proxy.URL, "http://")+"/team").want(t, exitOK,
		"everything is proved", "/team/tiny-tinyd@sha256:")
}

// unused is an address at which nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// realRegistry is Debian's docker-registry on a folder.
type realRegistry struct{ address, folder string }

func startRegistry(t *testing.T) realRegistry {
	t.Helper()
	r := realRegistry{unused(t), t.TempDir()}
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", r.folder, r.address)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if resp, err := http.Get("http://" + r.address + "/v2/"); err == nil {
			resp.Body.Close()
			return r
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("docker-registry does not answer")
	return r
}
