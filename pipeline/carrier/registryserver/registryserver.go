// Package registryserver runs a real image registry (Debian's docker-registry,
// the reference implementation, on a folder) for tests.
package registryserver

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/child"
)

// Server is a running registry on a loopback port, without credentials.
type Server struct {
	Host   string // 127.0.0.1:PORT
	Folder string // where it keeps what it is sent
}

// Start runs a registry until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Host: l.Addr().String(), Folder: t.TempDir()}
	l.Close()
	config := filepath.Join(t.TempDir(), "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: %s}\n", s.Folder, s.Host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("docker-registry", "serve", config)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	ended, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + s.Host + "/v2/")
		if err == nil {
			resp.Body.Close()
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("docker-registry does not answer: %v\n%s", err, said.String())
		}
	}
}

// Blob is the file in which the registry keeps a blob or manifest.
func (s *Server) Blob(digest string) string {
	digits := strings.TrimPrefix(digest, "sha256:")
	return filepath.Join(s.Folder, "docker/registry/v2/blobs/sha256", digits[:2], digits, "data")
}

// Unlink has the registry forget that the repository has the blob.
func (s *Server) Unlink(t testing.TB, repository, digest string) {
	t.Helper()
	link := filepath.Join(s.Folder, "docker/registry/v2/repositories", repository, "_layers/sha256", strings.TrimPrefix(digest, "sha256:"))
	if _, err := os.Stat(link); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(link); err != nil {
		t.Fatal(err)
	}
}
