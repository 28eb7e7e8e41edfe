package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline"
)

// server serves one archive, and misbehaves as told.
type server struct {
	*httptest.Server
	data     []byte
	etag     string
	modified time.Time
	log      []string
	// serve handles a GET instead, when it returns true.
	serve func(n int, w http.ResponseWriter, r *http.Request) bool
	gets  int
	mu    sync.Mutex
}

func serve(t testing.TB, data []byte) *server {
	s := &server{data: data, etag: `"one"`, modified: time.Unix(1e9, 0)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.log = append(s.log, strings.TrimSpace(r.Method+" "+r.Header.Get("Range")))
		if r.Method == http.MethodGet {
			s.gets++
			if s.serve != nil && s.serve(s.gets, w, r) {
				return
			}
		}
		if s.etag != "" {
			w.Header().Set("ETag", s.etag)
		}
		http.ServeContent(w, r, "", s.modified, bytes.NewReader(s.data))
	}))
	t.Cleanup(s.Close)
	return s
}

// cut sends the first n bytes of a whole answer and breaks the connection.
func (s *server) cut(w http.ResponseWriter, n int) {
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("ETag", s.etag)
	w.Header().Set("Content-Length", fmt.Sprint(len(s.data)))
	w.Write(s.data[:n])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func archiveOf(t testing.TB) []byte {
	dir := host(t)
	sh.Run(t, dir, "head -c 300000 /dev/urandom > usr/noise")
	out := t.TempDir() + "/a.tgz"
	sh.Run(t, dir, "tar czf "+out+" .")
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// patience is the pause before the first repetition.
const patience = 20 * time.Millisecond

// fetch downloads with little patience.
func fetch(ctx context.Context, env *pipeline.Env, spec, checksum string) error {
	s := New(Options{Spec: spec, Checksum: checksum})
	p, err := s.locate()
	if err != nil {
		return err
	}
	d, err := s.newDownload(env, p)
	if err != nil {
		return err
	}
	d.pause, d.guard.silence = patience, 300*time.Millisecond
	return d.run(ctx)
}

func downloaded(t testing.TB, env *pipeline.Env) []byte {
	t.Helper()
	data, err := os.ReadFile(env.Workspace.Path("run", "download", "archive"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDownload(t *testing.T) {
	ctx := context.Background()
	data := archiveOf(t)
	srv := serve(t, data)
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(data))
	env := newEnv(t)
	spec := strings.Replace(srv.URL, "//", "//user:hunter2@", 1) + "/path/a.tgz?token=hunter3&checksum=" + sum
	got, err := New(Options{Spec: spec}).Run(ctx, env)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v %+v", got, got.Archive); strings.Contains(text, "hunter") || got.Kind != "archive" || got.Archive.Format != "tar+gzip" {
		t.Errorf("got %s", text)
	}
	if owner := sh.Run(t, got.Root, "stat -c %u:%g usr/bin/x"); owner != "7:8\n" {
		t.Errorf("owner %s", owner)
	}
	// Again: from what is here, even when the server is gone.
	srv.Close()
	again, err := New(Options{Spec: spec}).Run(ctx, env)
	if err != nil || again.Archive.SHA256 != got.Archive.SHA256 {
		t.Errorf("the second time: %v", err)
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.gets != 1 {
		t.Errorf("downloaded %d times", srv.gets)
	}
}

func TestDownloadGoesOn(t *testing.T) {
	ctx := context.Background()
	data := archiveOf(t)
	srv := serve(t, data)
	srv.serve = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			srv.cut(w, len(data)/2)
		}
		return false
	}
	env := newEnv(t)
	if err := fetch(ctx, env, srv.URL+"/a", ""); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(downloaded(t, env), data) {
		t.Error("the content differs")
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	last := srv.log[len(srv.log)-1]
	if last != fmt.Sprintf("GET bytes=%d-", len(data)/2) {
		t.Errorf("the last request was %s of %v", last, srv.log)
	}
}

// A stopped run left half of the file; meanwhile the file changed.
func TestDownloadOfAnotherVersionBeginsAgain(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*server){
		"other tag":            func(s *server) { s.etag = `"two"` },
		"weak tag, other date": func(s *server) { s.etag = `W/"one"`; s.modified = time.Unix(2e9, 0) },
		"tag changes after HEAD": func(s *server) {
			s.serve = func(n int, w http.ResponseWriter, r *http.Request) bool { s.etag = `"two"`; return false }
		},
		"no ranges": func(s *server) {
			s.serve = func(n int, w http.ResponseWriter, r *http.Request) bool { w.Write(s.data); return true }
		},
	} {
		t.Run(name, func(t *testing.T) {
			old, data := archiveOf(t), archiveOf(t)
			data = data[:len(data)-7]
			old = append(old, data...)[:len(data)] // of the same length
			srv := serve(t, old)
			env := newEnv(t)
			stop, cancel := context.WithCancel(ctx)
			srv.serve = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n == 1 {
					srv.cut(w, len(old)/2)
				}
				cancel()
				<-r.Context().Done()
				return true
			}
			if err := fetch(stop, env, srv.URL+"/a", ""); err == nil {
				t.Fatal("it was not stopped")
			}
			if len(downloaded(t, env)) == 0 {
				t.Fatal("nothing was left")
			}
			srv.mu.Lock()
			srv.serve, srv.data = nil, data
			change(srv)
			srv.mu.Unlock()
			if err := fetch(ctx, env, srv.URL+"/a", ""); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(downloaded(t, env), data) {
				t.Errorf("the content is a mixture; requests: %v", srv.log)
			}
		})
	}
}

func TestDownloadFails(t *testing.T) {
	data := archiveOf(t)
	for name, tt := range map[string]struct {
		serve    func(s *server, n int, w http.ResponseWriter) bool
		checksum string
		want     string
		input    bool
		gets     int
	}{
		"not found": {func(s *server, n int, w http.ResponseWriter) bool {
			http.Error(w, "no", http.StatusNotFound)
			return true
		}, "", "bad response code: 404", true, 1},
		"forbidden": {func(s *server, n int, w http.ResponseWriter) bool {
			http.Error(w, "no", http.StatusForbidden)
			return true
		}, "", "bad response code: 403", true, 1},
		"broken": {func(s *server, n int, w http.ResponseWriter) bool {
			http.Error(w, "no", http.StatusInternalServerError)
			return true
		}, "", "given up after 5 attempts: bad response code: 500", false, 5},
		"resets": {func(s *server, n int, w http.ResponseWriter) bool { panic(http.ErrAbortHandler) }, "", "given up after 5 attempts", false, 0},
		"stalls": {func(s *server, n int, w http.ResponseWriter) bool {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			time.Sleep(500 * time.Millisecond)
			return true
		}, "", "given up after 5 attempts: the server stopped sending", false, 5},
		"wrong sum": {nil, "sha256:" + strings.Repeat("00", 32), "its checksum is", true, 1},
		"too large": {func(s *server, n int, w http.ResponseWriter) bool {
			w.Header().Set("Content-Length", fmt.Sprint(int64(1)<<60))
			w.WriteHeader(200)
			return true
		}, "", "larger than there is room for", false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			srv := serve(t, data)
			srv.serve = func(n int, w http.ResponseWriter, r *http.Request) bool {
				return tt.serve != nil && tt.serve(srv, n, w)
			}
			spec := strings.Replace(srv.URL, "//", "//user:hunter2@", 1) + "/a?token=hunter3"
			err := fetch(context.Background(), newEnv(t), spec, tt.checksum)
			if err == nil || !strings.Contains(err.Error(), tt.want) || errors.As(err, new(*pipeline.InputError)) != tt.input {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if full := errors.Is(err, unix.ENOSPC); full != (name == "too large") {
				t.Errorf("a full disk: %v, in %v", full, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("a credential is in %v", err)
			}
			srv.mu.Lock()
			defer srv.mu.Unlock()
			if tt.gets != 0 && srv.gets != tt.gets {
				t.Errorf("asked %d times, want %d", srv.gets, tt.gets)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		srv := serve(t, nil)
		spec := strings.Replace(srv.URL, "//", "//user:hunter2@", 1) + "/a?token=hunter3"
		srv.Close()
		err := fetch(context.Background(), newEnv(t), spec, "")
		if err == nil || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
	})
}
