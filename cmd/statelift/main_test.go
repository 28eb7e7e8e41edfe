package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/statelift/statelift/fixtures/tinyhost"
)

// TestMain lets the test binary be statelift itself: scripts and kill tests run
// it as a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"statelift": main,
		"tinyhost": func() {
			if err := errors.Join(os.MkdirAll(os.Args[1], 0o755), tinyhost.Build(os.Args[1])); err != nil {
				os.Stderr.WriteString(err.Error() + "\n")
				os.Exit(1)
			}
		},
	})
}

// shipped is statelift as users get it, where `make test` built it: what runs a
// whole host many times over does not run under the race detector. Elsewhere it
// is the test binary.
func shipped() string {
	if name := os.Getenv("STATELIFT_BINARY"); name != "" {
		return name
	}
	return "statelift"
}

// TestScripts are the specification of the command line, one script a promise.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "same": same},
	})
}

// exits CODE COMMAND... runs a command and wants this exit code; what it printed
// is for stdout and stderr.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v exits with %d, want %d", args[1:], got, want)
	}
}

// same WANT GOT wants two workspaces with the same products.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same WANT GOT")
	}
	if d := differences(ts.MkAbs(args[0]), ts.MkAbs(args[1])); d != "" {
		ts.Fatalf("%s", d)
	}
}
