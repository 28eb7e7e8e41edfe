// Package s3server runs a real S3 server (versitygw, on a folder) for tests.
package s3server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/child"
)

// Server is a running S3 server on a loopback port. It has one bucket.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT
	Access   string
	Secret   string
	Bucket   string
	Folder   string // of the bucket on this machine: an object is a file of its own name

	t     testing.TB
	root  string
	cmd   *exec.Cmd
	ended <-chan error
	log   *buffer
}

// Start runs a server until the test ends. The program comes from the folder
// STATELIFT_TOOLS, else fixtures/setup is asked for it.
func Start(t testing.TB) *Server {
	t.Helper()
	root := t.TempDir()
	s := &Server{
		Access: "AKIASTATELIFTTEST", Secret: "statelift-test-only", Bucket: "legacy",
		t: t, root: root, Folder: filepath.Join(root, "legacy"),
	}
	if err := os.Mkdir(s.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	s.Endpoint = "http://" + freeAddress(t)
	s.Restart()
	t.Cleanup(s.Stop)
	return s
}

// Spec is the store of a test below prefix, at endpoint or, when that is empty,
// at the server itself.
func (s *Server) Spec(endpoint, prefix string) string {
	if endpoint == "" {
		endpoint = s.Endpoint
	}
	return fmt.Sprintf("s3://%s/%s?endpoint=%s&region=us-east-1", s.Bucket, prefix, endpoint)
}

// Environment is where a client finds the credentials; it knows nothing else.
func (s *Server) Environment(name string) string {
	switch name {
	case "AWS_ACCESS_KEY_ID":
		return s.Access
	case "AWS_SECRET_ACCESS_KEY":
		return s.Secret
	}
	return ""
}

// Restart starts the server on the folder and port that it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.log = &buffer{}
	s.cmd = exec.Command(filepath.Join(tools(s.t), "versitygw"),
		"--port", strings.TrimPrefix(s.Endpoint, "http://"), "--quiet", "posix", s.root)
	// By the environment: an argument would be seen by everyone on the machine.
	s.cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.Access, "ROOT_SECRET_KEY="+s.Secret)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	var err error
	if s.ended, err = child.Start(s.cmd); err != nil {
		s.t.Fatalf("start the S3 server: %v", err)
	}
	if err := s.ready(); err != nil {
		s.t.Fatalf("S3 server: %v\n%s", err, s.log)
	}
}

// Stop kills the server, as a power failure would. It may be started again.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	<-s.ended
	s.cmd = nil
}

func (s *Server) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Endpoint+"/", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("does not answer")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tools is the folder of the programs that fixtures/setup built.
func tools(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("STATELIFT_TOOLS"); dir != "" {
		return dir
	}
	_, file, _, _ := runtime.Caller(0)
	cmd := exec.Command(filepath.Join(filepath.Dir(file), "../../../../fixtures/setup"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("fixtures/setup: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// buffer is what the server said, for when it fails.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
