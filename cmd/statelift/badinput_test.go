package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/tinyhost"
)

// tiny builds a tiny host.
func tiny(t *testing.T) string {
	t.Helper()
	host := filepath.Join(t.TempDir(), "host")
	if err := errors.Join(os.Mkdir(host, 0o755), tinyhost.Build(host)); err != nil {
		t.Fatal(err)
	}
	return host
}

// ended is what a run of the program left: its exit code and what it printed.
type ended struct {
	code           int
	stdout, stderr string
}

// attempt runs the program with more in its environment.
func attempt(t *testing.T, environment []string, args ...string) ended {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "statelift", args...)
	cmd.Env = append(os.Environ(), environment...)
	return end(t, cmd)
}

// isolated runs a shell script in a mount namespace of its own: what it mounts
// is gone when it ends, however it ends.
func isolated(t *testing.T, script string, args ...string) ended {
	t.Helper()
	return end(t, exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "sh", "-ec", script, "sh"}, args...)...))
}

func end(t *testing.T, cmd *exec.Cmd) ended {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ended{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

// want checks the exit code, and that the last message has all of these.
func (e ended) want(t *testing.T, code int, texts ...string) {
	t.Helper()
	if e.code != code {
		t.Fatalf("exit code %d, want %d\n%s\n%s", e.code, code, e.stdout, e.stderr)
	}
	_, message, _ := strings.Cut("\n"+e.stderr, "\nstatelift: ")
	if code == exitOK {
		message = e.stdout
	}
	for _, text := range texts {
		if !strings.Contains(message, text) {
			t.Errorf("%q is not in the message:\n%s", text, message)
		}
	}
}

// TestChangesWhileItRuns lifts a host whose services are at work: a log grows,
// a program is replaced and a database is written all the time.
func TestChangesWhileItRuns(t *testing.T) {
	t.Parallel()
	host, ws := tiny(t), filepath.Join(t.TempDir(), "ws")
	quiet := busy(t, host)
	// Each is said to have changed: since the scan, or in the middle of it.
	out := attempt(t, nil, "run", host, "-w", ws)
	out.want(t, exitIncomplete)
	for _, name := range []string{"/usr/lib/tinylib.so", "/var/lib/tinyd/files/text", "/opt/app/data/app.db", "/etc/tiny.conf"} {
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(name) + `:? changed (since the scan|while it was scanned)`).MatchString(out.stderr) {
			t.Errorf("%s is not said to have changed:\n%s", name, out.stderr)
		}
	}
	quiet()
	for _, name := range []string{"var-lib-tinyd/files/text", "opt-app-data/app.db"} {
		if _, err := os.Lstat(filepath.Join(ws, "volumes", name)); err == nil {
			t.Errorf("%s changed while it was read, and is in the volume", name)
		}
	}
	attempt(t, nil, "run", "-w", ws).want(t, exitOK, "everything is proved")
	undisturbed := filepath.Join(t.TempDir(), "ws")
	attempt(t, nil, "run", host, "-w", undisturbed).want(t, exitOK)
	compare(t, undisturbed, ws)
}

// busy changes files of the host until it is told to stop.
func busy(t *testing.T, host string) (stop func()) {
	t.Helper()
	done, ended := make(chan struct{}), make(chan error, 1)
	change := func(n int) error {
		log, err := os.OpenFile(filepath.Join(host, "var/lib/tinyd/files/text"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		fmt.Fprintf(log, "line %d\n", n)
		log.Close()
		database, err := os.OpenFile(filepath.Join(host, "opt/app/data/app.db"), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		fmt.Fprintf(database, "%d", n) // in place: its size stays
		database.Close()
		for _, name := range []string{"usr/lib/tinylib.so", "etc/tiny.conf"} {
			temp := filepath.Join(host, "tmp", "new")
			err := errors.Join(os.WriteFile(temp, fmt.Appendf(nil, "version = %d\n", n), 0o644), os.Rename(temp, filepath.Join(host, name)))
			if err != nil {
				return err
			}
		}
		return nil
	}
	go func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				ended <- nil
				return
			case <-time.After(time.Millisecond):
			}
			if err := change(n); err != nil {
				ended <- err
				return
			}
		}
	}()
	return func() {
		close(done)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
}
