package transfer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/statelift/statelift/fixtures/child"
	"github.com/statelift/statelift/fixtures/outside"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/transfer"
)

// TestMain lets the program be what runs in the host, as in a Job's Pod: it gets
// order and password in /mnt/share and leaves the result there.
func TestMain(m *testing.M) {
	if os.Getenv("TRANSFER_IN_HOST") == "" {
		os.Exit(m.Run())
	}
	if err := inHost(); err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		var blocked *pipeline.Blocked
		if errors.As(err, &blocked) {
			os.Exit(4)
		}
		os.Exit(1)
	}
}

func inHost() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	data, err := os.ReadFile("/mnt/share/order.json")
	if err != nil {
		return err
	}
	password, err := os.ReadFile("/mnt/share/password")
	if err != nil {
		return err
	}
	var order handoff.Transfer
	if err := json.Unmarshal(data, &order); err != nil {
		return err
	}
	o := transfer.Options{Password: string(password), CA: "/mnt/share/ca.pem", Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	if os.Getenv("TRANSFER_IN_HOST") == "look" {
		at, err := transfer.Look(ctx, order, o)
		return say(at, err)
	}
	receipt, err := transfer.Run(ctx, order, o)
	return say(receipt, err)
}

func say(v any, err error) error {
	data, jsonErr := json.Marshal(v)
	if err := errors.Join(err, jsonErr); err != nil {
		return err
	}
	_, err = fmt.Printf("receipt: %s\n", data)
	return err
}

// job runs a transfer in the host, as the user of the database, on the state that
// prepare makes of its files.
type job struct {
	host, user, prepare string
	order               handoff.Transfer
	server              *outside.Server
	log                 string
}

func (j *job) run(t *testing.T) (receipt handoff.TransferReceipt, err error) {
	t.Helper()
	err = j.program(t, "move", &receipt)
	return receipt, err
}

// look asks how what was moved stands.
func (j *job) look(t *testing.T) (at handoff.TransferStanding) {
	t.Helper()
	if err := j.program(t, "look", &at); err != nil {
		t.Fatalf("%v\n%s", err, j.log)
	}
	return at
}

func str(n int64) string { return fmt.Sprint(n) }

// program runs it in the host, and reads what it says in the end.
func (j *job) program(t *testing.T, what string, into any) error {
	t.Helper()
	share := t.TempDir()
	data, err := json.Marshal(j.order)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"order.json": string(data), "password": j.server.Password}
	if j.server.CA != "" {
		ca, err := os.ReadFile(j.server.CA)
		if err != nil {
			t.Fatal(err)
		}
		files["ca.pem"] = string(ca)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(share, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := outside.Script(j.host, t.TempDir(), share, j.prepare+`
		export TRANSFER_IN_HOST=`+what+`
		exec setpriv --reuid `+j.user+` --regid `+j.user+` --init-groups /mnt/program`)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	seen := watchArguments(t, j.server.Password)
	err = child.Run(cmd)
	for _, line := range seen() {
		t.Errorf("the password is in the arguments of a process: %q", line)
	}
	j.log = said.String()
	if strings.Contains(j.log, j.server.Password) || strings.Contains(out.String(), j.server.Password) {
		t.Error("the password is in the log")
	}
	for line := range strings.Lines(out.String()) {
		if text, ok := strings.CutPrefix(line, "receipt: "); ok {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		}
	}
	return err
}

// want runs a transfer that must succeed and prove itself.
func (j *job) want(t *testing.T) handoff.TransferReceipt {
	t.Helper()
	receipt, err := j.run(t)
	if err != nil || !receipt.Proved {
		t.Fatalf("%v\n%v\n%s", err, receipt.Differences, j.log)
	}
	return receipt
}

// watchArguments looks for a text in the arguments of all processes, until the
// function that it returns is called, which tells where it was.
func watchArguments(t *testing.T, text string) func() []string {
	ctx, stop := context.WithCancel(t.Context())
	found := make(chan []string, 1)
	go func() {
		var out []string
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			names, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is good
			for _, name := range names {
				data, err := os.ReadFile(name)
				if line := string(data); err == nil && strings.Contains(line, text) && !slices.Contains(out, line) {
					out = append(out, line)
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
		found <- out
	}()
	return func() []string {
		stop()
		return <-found
	}
}

func rowsOf(r handoff.TransferReceipt, database, table string) int64 {
	for _, d := range r.Databases {
		for _, tb := range d.Tables {
			if d.Name == database && tb.Name == table {
				return tb.Rows
			}
		}
	}
	return -1
}

// refused wants a transfer that a person has to decide about.
func (j *job) refused(t *testing.T, says string) {
	t.Helper()
	_, err := j.run(t)
	if err == nil || !strings.Contains(j.log, says) || !strings.Contains(j.log, "Choose:") {
		t.Errorf("it is not refused with %q: %v\n%s", says, err, j.log)
	}
}

// keepsDefinitions has others make something that is no row: it is seen, and not
// overwritten by a later state of the source.
func (j *job) keepsDefinitions(t *testing.T, database, others, undo string) {
	t.Helper()
	j.server.SQL(t, database, others)
	if at := j.look(t); !at.Databases[0].Written {
		t.Errorf("what others defined is not seen: %+v", at)
	}
	before := j.order.Source
	j.order.Source = "sha256:later"
	j.refused(t, "somebody has written to it since")
	j.order.Source = before
	j.server.SQL(t, database, undo) // fails when it was overwritten
	if at := j.look(t); at.Databases[0].Written {
		t.Errorf("what others defined is gone, and still seen: %+v", at)
	}
}
