package registry_test

import (
	"context"
	"encoding/json"
	"errors"
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
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/statelift/statelift/pipeline/layer/registry"
)

// images writes two images that share a layer to a layout.
func images(t *testing.T) (dir string, list []registry.Image, blobs int64) {
	t.Helper()
	dir = t.TempDir()
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := random.Layer(300_000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	count := func(l v1.Layer) {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		blobs += n
	}
	count(shared)
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for _, name := range []string{"one", "two"} {
		own, err := random.Layer(100_000, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		count(own)
		img, err := mutate.AppendLayers(base, shared, own)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.AppendImage(img); err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, registry.Image{Name: name, Digest: digest.String()})
	}
	return dir, list, blobs
}

// far is a registry that records what it is asked, behind a handler that may do
// as it likes first.
type far struct {
	host string
	mu   sync.Mutex
	seen []string
}

func serve(t *testing.T, before func(w http.ResponseWriter, r *http.Request) (handled bool)) *far {
	t.Helper()
	f := &far{}
	real := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, r.Method+" "+r.URL.Path)
		f.mu.Unlock()
		if before != nil && before(w, r) {
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	f.host = strings.TrimPrefix(srv.URL, "http://")
	return f
}

func (f *far) count(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, s := range f.seen {
		if strings.HasPrefix(s, method+" ") {
			n++
		}
	}
	return n
}

func open(t *testing.T, base string) *registry.Registry {
	t.Helper()
	r, err := registry.Open(base, registry.Options{Stall: 300 * time.Millisecond, Backoff: time.Millisecond, Attempts: 4})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPush(t *testing.T) {
	dir, list, blobs := images(t)
	f := serve(t, nil)
	r := open(t, f.host+"/team")
	if err := r.MayPush(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	if has, err := r.Has(t.Context(), list[0]); has || err != nil {
		t.Errorf("before the push: has = %v, %v", has, err)
	}
	var sent atomic.Int64
	if err := r.Push(t.Context(), dir, list, func(n int64) { sent.Add(n) }); err != nil {
		t.Fatal(err)
	}
	if sent.Load() != blobs {
		t.Errorf("told of %d bytes, the layers have %d", sent.Load(), blobs)
	}
	for _, i := range list {
		if has, err := r.Has(t.Context(), i); !has || err != nil {
			t.Errorf("%s: has = %v, %v", i.Name, has, err)
		}
		for _, l := range layersOf(t, r, i) {
			rc, err := r.Blob(t.Context(), i.Name, l.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(rc)
			rc.Close()
			want, werr := os.ReadFile(filepath.Join(dir, "blobs", "sha256", l.Digest.Hex))
			if err != nil || werr != nil || !cmp.Equal(got, want) {
				t.Errorf("blob %s differs (%v, %v)", l.Digest, err, werr)
			}
		}
	}
	// Once more sends nothing.
	before := f.count("PATCH")
	sent.Store(0)
	if err := r.Push(t.Context(), dir, list, func(n int64) { sent.Add(n) }); err != nil {
		t.Fatal(err)
	}
	if after := f.count("PATCH"); after != before {
		t.Errorf("the second push sent %d blobs", after-before)
	}
	if sent.Load() != blobs {
		t.Errorf("the second push told of %d bytes, the layers have %d", sent.Load(), blobs)
	}
}

// A push that was cut off in the middle goes on with what is missing.
func TestPushResumes(t *testing.T) {
	dir, list, _ := images(t)
	var left atomic.Int64
	left.Store(2)
	f := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && left.Add(-1) < 0 {
			w.WriteHeader(http.StatusInsufficientStorage)
			return true
		}
		return false
	})
	r, err := registry.Open(f.host, registry.Options{Parallel: 1, Backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Push(t.Context(), dir, list, func(int64) {}); err == nil {
		t.Fatal("a registry without room took everything")
	} else if !strings.HasPrefix(err.Error(), "registry "+f.host+": ") {
		t.Errorf("error = %v", err)
	}
	left.Store(100)
	before := f.count("PATCH")
	if err := r.Push(t.Context(), dir, list, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	// Three layers and two configs; two of them had arrived.
	if n := f.count("PATCH") - before; n != 3 {
		t.Errorf("the second push sent %d blobs, want the 3 that were missing", n)
	}
}

// Faults of the network and of the registry that pass are got over.
func TestPushRetries(t *testing.T) {
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request){
		"503": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"429": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"reset": func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		},
		"stall": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Second):
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, list, _ := images(t)
			var times sync.Map
			f := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodGet || r.Method == http.MethodHead {
					return false
				}
				if _, again := times.LoadOrStore(r.Method, true); again {
					return false
				}
				fault(w, r)
				return true
			})
			r := open(t, f.host)
			if err := r.MayPush(t.Context(), "one"); err != nil {
				t.Error(err)
			}
			times.Clear()
			if err := r.Push(t.Context(), dir, list, func(int64) {}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	dir, list, _ := images(t)
	f := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/v2/" {
			return false
		}
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	r := open(t, f.host)
	for _, err := range []error{r.MayPush(t.Context(), "one"), r.Push(t.Context(), dir, list, func(int64) {})} {
		if err == nil || !strings.Contains(err.Error(), "refuses access (401): log in") {
			t.Errorf("error = %v", err)
		}
	}
	for _, bad := range []string{"", "team", "team/x", "https://registry.example", "registry.example/UPPER", "registry.example:x"} {
		if _, err := registry.Open(bad, registry.Options{}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := closed.Addr().String()
	closed.Close()
	if err := open(t, host).MayPush(t.Context(), "one"); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t, serve(t, nil).host).Push(ctx, dir, list, func(int64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
}

// Plain http, and with it credentials, leaves this machine for no address.
func TestPlainHTTPStaysHere(t *testing.T) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	port := l.Addr().(*net.TCPAddr).Port
	tried := 0
	for _, a := range addresses {
		ip := a.(*net.IPNet).IP
		if ip.To4() == nil || ip.IsLoopback() {
			continue
		}
		tried++
		if err := open(t, fmt.Sprintf("%s:%d", ip, port)).MayPush(t.Context(), "one"); err == nil {
			t.Errorf("%s took plain http", ip)
		}
	}
	if err := open(t, fmt.Sprintf("127.0.0.1:%d", port)).MayPush(t.Context(), "one"); err != nil {
		t.Error(err)
	}
	t.Logf("%d other addresses tried", tried)
}

// Debian's docker-registry takes the images, and skopeo reads them there.
func TestRealRegistry(t *testing.T) {
	dir, list, _ := images(t)
	host := dockerRegistry(t)
	r, err := registry.Open(host+"/team/legacy", registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.MayPush(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Push(t.Context(), dir, list, func(int64) {}); err != nil {
			t.Fatal(err)
		}
	}
	for _, i := range list {
		out, err := exec.Command("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", "docker://"+r.Ref(i.Name, i.Digest)).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != i.Digest {
			t.Errorf("skopeo: %v: %s", err, out)
		}
	}
}

func dockerRegistry(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", t.TempDir(), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 200 {
		if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
			resp.Body.Close()
			return host
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("docker-registry does not answer")
	return ""
}

// layersOf reads an image's manifest from the registry.
func layersOf(t *testing.T, r *registry.Registry, i registry.Image) []v1.Descriptor {
	t.Helper()
	raw, err := r.Manifest(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m.Layers
}
