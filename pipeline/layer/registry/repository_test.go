package registry_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/store/storetest/faults"
)

func source(b []byte) registry.Source {
	sum := sha256.Sum256(b)
	return registry.Source{Digest: "sha256:" + hex.EncodeToString(sum[:]), Size: int64(len(b)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}}
}

func mustRepository(t *testing.T, r *registry.Registry) *registry.Repository {
	t.Helper()
	repo, err := r.Repository("seeds")
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// Plain http to another machine is what a user has to ask for, and is then
// spoken to that host only.
func TestPlainHTTPIsAskedFor(t *testing.T) {
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
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip := a.(*net.IPNet).IP
		if ip.To4() == nil || ip.IsLoopback() {
			continue
		}
		tried++
		host := fmt.Sprintf("%s:%d", ip, port)
		r := open(t, "http://"+host+"/team")
		if got := r.String(); got != "http://"+host+"/team" {
			t.Errorf("it calls itself %s", got)
		}
		if got := r.Ref("one", "sha256:x"); got != host+"/team/one@sha256:x" {
			t.Errorf("reference %s", got)
		}
		if err := r.MayPush(t.Context(), "one"); err != nil {
			t.Error(err)
		}
		s := source([]byte("some content"))
		if err := mustRepository(t, r).Upload(t.Context(), s, func(int64) {}); err != nil {
			t.Error(err)
		}
		if size, err := mustRepository(t, r).SizeOf(t.Context(), s.Digest); err != nil || size != s.Size {
			t.Errorf("size = %d, %v", size, err)
		}
		if _, err := mustRepository(t, open(t, host+"/team")).SizeOf(t.Context(), s.Digest); err == nil || !strings.Contains(err.Error(), "http://"+host) {
			t.Errorf("not asked for: %v", err)
		}
	}
	if tried == 0 {
		t.Error("this machine has no other address")
	}
	for _, bad := range []string{"http://", "http://http://registry.example", "http:///x", "http://user:secret@registry.example", "http://registry.example/UPPER"} {
		if _, err := registry.Open(bad, registry.Options{}); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Credentials come from DOCKER_AUTH_CONFIG, those of the longest name.
func TestCredentialsFromTheEnvironment(t *testing.T) {
	real := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "lift" || password != "pass:word" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		real.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	host := strings.TrimPrefix(srv.URL, "http://")
	auth := base64.StdEncoding.EncodeToString([]byte("lift:pass:word"))
	wrong := base64.StdEncoding.EncodeToString([]byte("lift:wrong"))
	for text, ok := range map[string]bool{
		fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, auth):                                          true,
		fmt.Sprintf(`{"auths":{"https://%s/v1/":{"auth":%q}}}`, host, auth):                            true,
		fmt.Sprintf(`{"auths":{%q:{"username":"lift","password":"pass:word"}},"credsStore":""}`, host): true,
		fmt.Sprintf(`{"auths":{%q:{"auth":%q},%q:{"auth":%q}}}`, host, wrong, host+"/team", auth):      true,
		fmt.Sprintf(`{"auths":{%q:{"auth":%q},%q:{"auth":%q}}}`, host, wrong, host+"/tea", auth):       false,
		fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, wrong):                                         false,
		`{"auths":{}}`: false,
	} {
		r, err := registry.Open(host+"/team", registry.Options{Backoff: time.Millisecond, Environment: func(name string) string {
			return map[string]string{"DOCKER_AUTH_CONFIG": text}[name]
		}})
		if err != nil {
			t.Fatal(err)
		}
		repo, s := mustRepository(t, r), source([]byte("content "+text))
		err = r.MayPush(t.Context(), "seeds")
		if err == nil {
			err = repo.Upload(t.Context(), s, func(int64) {})
		}
		if err == nil {
			_, err = repo.SizeOf(t.Context(), s.Digest)
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
		// What is handed on works as well as what was found.
		handed, err := r.Credentials(t.Context())
		if err != nil || (handed != "") != strings.Contains(text, host) && ok {
			t.Errorf("%s: hands on %q, %v", text, handed, err)
		}
		if ok {
			there, err := registry.Open(host+"/team", registry.Options{Environment: func(string) string { return handed }})
			if err != nil {
				t.Fatal(err)
			}
			if err := there.MayPush(t.Context(), "seeds"); err != nil {
				t.Errorf("%s: handed on: %v", text, err)
			}
		}
		if err != nil && strings.Contains(err.Error(), auth) {
			t.Errorf("the credentials are in the error: %v", err)
		}
	}
	for _, text := range []string{"x", `{"auths":{"h":{"auth":"%%%"}}}`, `[]`} {
		if _, err := registry.Open(host, registry.Options{Environment: func(string) string { return text }}); err == nil || strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A download that breaks again and again goes on where it was, from a registry
// that knows ranges and from one that does not; bytes that come twice count once.
func TestDownloadGoesOn(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	s := source(content)
	for name, ranges := range map[string]bool{"ranges": true, "no ranges": false} {
		requests := 0
		f := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return false
			}
			requests++
			var from int
			if got := r.Header.Get("Range"); got != "" {
				fmt.Sscanf(got, "bytes=%d-", &from)
			}
			if !ranges {
				from = 0
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
				w.WriteHeader(http.StatusPartialContent)
			}
			// Half of what is left, then the connection breaks.
			w.Write(content[from:][:min(len(content)-from, (len(content)-from)/2+50_000)])
			return true
		})
		repo := mustRepository(t, open(t, f.host))
		in, err := repo.Open(t.Context(), s.Digest)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(in)
		in.Close()
		if ranges && (err != nil || !bytes.Equal(got, content) || requests < 2) {
			t.Errorf("%s: %d bytes of %d in %d requests, %v", name, len(got), len(content), requests, err)
		}
		if !ranges && (err == nil || !bytes.HasPrefix(content, got) || requests > 6) {
			// It never gets further than the same place, so it is given up.
			t.Errorf("%s: %d bytes in %d requests, %v", name, len(got), requests, err)
		}
	}
}

// An image is read back although each answer ends early at first.
func TestAnswersThatEndEarly(t *testing.T) {
	dir, list, _ := images(t)
	host := dockerRegistry(t)
	if err := open(t, host).Push(t.Context(), dir, list, func(int64) {}); err != nil {
		t.Fatal(err)
	}
	proxy := faults.New(t, "http://"+host)
	asked := map[string]int{}
	proxy.Decide(func(r *http.Request) faults.Fault {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "sha256:") {
			if asked[r.URL.Path]++; asked[r.URL.Path] == 1 {
				return faults.Truncate
			}
		}
		return faults.None
	})
	r := open(t, strings.TrimPrefix(proxy.URL, "http://"))
	for _, i := range list {
		for _, l := range layersOf(t, r, i) {
			rc, err := r.Blob(t.Context(), i.Name, l.Digest.String())
			if err != nil {
				t.Fatal(err)
			}
			h := sha256.New()
			if _, err := io.Copy(h, rc); err != nil || hex.EncodeToString(h.Sum(nil)) != l.Digest.Hex {
				t.Errorf("blob %s: %v", l.Digest, err)
			}
			rc.Close()
		}
	}
}

// What a registry sends from another place than asked for is not taken.
func TestWrongRange(t *testing.T) {
	s := source([]byte("0123456789"))
	f := serve(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
			return false
		}
		w.Header().Set("Content-Length", "10")
		if r.Header.Get("Range") != "" {
			w.Header().Set("Content-Range", "bytes 0-9/10")
			w.WriteHeader(http.StatusPartialContent)
			w.Write([]byte("0123456789"))
			return true
		}
		w.Write([]byte("01234"))
		return true
	})
	in, err := mustRepository(t, open(t, f.host)).Open(t.Context(), s.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if got, err := io.ReadAll(in); err == nil || string(got) != "01234" || !strings.Contains(err.Error(), "what follows byte 5") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNothingOfTheKind(t *testing.T) {
	f := serve(t, nil)
	repo := mustRepository(t, open(t, f.host+"/team"))
	digest := source([]byte("never sent")).Digest
	for name, err := range map[string]error{
		"SizeOf":       second(repo.SizeOf(t.Context(), digest)),
		"ManifestSize": second(repo.ManifestSize(t.Context(), digest)),
		"Manifest":     second(repo.Manifest(t.Context(), digest)),
		"Open":         second(repo.Open(t.Context(), digest)),
	} {
		if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), digest) || !strings.Contains(err.Error(), f.host) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := repo.Open(ctx, digest); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }
