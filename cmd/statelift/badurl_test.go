package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestURLs reads an archive from servers that have bad days.
func TestURLs(t *testing.T) {
	t.Parallel()
	archive := pack(t, dir("srv/"), file("srv/x", strings.Repeat("content ", 100_000)))
	var cuts atomic.Int32
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/gone.tar":
			http.NotFound(w, r)
			return
		case r.URL.Path == "/closed.tar":
			w.WriteHeader(http.StatusForbidden)
			return
		case r.URL.Path == "/cut.tar" && r.Method == http.MethodGet && cuts.Add(1) == 1:
			w.Header().Set("ETag", `"one"`)
			w.Header().Set("Accept-Ranges", "bytes")
			w.Header().Set("Content-Length", fmt.Sprint(len(archive)))
			w.Write(archive[:len(archive)/2])
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, r.URL.Path, time.Unix(1e9, 0), bytes.NewReader(archive))
	}))
	far.Config.ErrorLog = nil
	t.Cleanup(far.Close)
	ws := filepath.Join(t.TempDir(), "ws")
	run := func(path string, more ...string) ended {
		url := strings.Replace(far.URL, "http://", "http://ann:Vc7-hidden@", 1) + path
		out := attempt(t, nil, append([]string{"run", url, "-w", ws, "--until", "scan"}, more...)...)
		logged, err := os.ReadFile(filepath.Join(ws, "run", "log"))
		if err != nil || strings.Contains(out.stdout+out.stderr+string(logged), "hidden") {
			t.Errorf("the password was printed (%v):\n%s", err, out.stderr)
		}
		return out
	}
	run("/gone.tar").want(t, exitInput, "/gone.tar", "404")
	run("/closed.tar").want(t, exitInput, "/closed.tar", "403")
	run("/host.tar", "--checksum", "sha256:"+strings.Repeat("0", 64)).want(t, exitInput, "/host.tar", "checksum")
	if left, _ := filepath.Glob(filepath.Join(ws, "*unpacked*")); len(left) > 0 {
		t.Errorf("%v is left of an archive that is another one", left)
	}
	run("/cut.tar").want(t, exitOK)
	if n := cuts.Load(); n < 2 {
		t.Errorf("%d requests", n)
	}
	run("/host.tar").want(t, exitOK)
}
