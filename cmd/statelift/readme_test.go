package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReadme keeps the README true where it shows what no host is needed for.
func TestReadme(t *testing.T) {
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(data)
	command := func(args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), args, streams{out: &out, err: &errs}); code != exitOK {
			t.Fatalf("statelift %v: exit code %d: %s", args, code, errs.String())
		}
		return out.String()
	}

	t.Run("stages", func(t *testing.T) {
		_, block, _ := strings.Cut(readme, "$ statelift stages\n")
		block, _, _ = strings.Cut(block, "```")
		if diff := cmp.Diff(command("stages"), block); diff != "" {
			t.Errorf("what the README shows of statelift stages (-printed +README):\n%s", diff)
		}
	})

	t.Run("exit codes", func(t *testing.T) {
		codes := func(pattern, text string) (out []string) {
			for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
				out = append(out, m[1])
			}
			return out
		}
		_, help, _ := strings.Cut(command("--help"), "Exit codes:")
		help, _, _ = strings.Cut(help, "Usage:")
		_, table, _ := strings.Cut(readme, "### Exit codes")
		table, _, _ = strings.Cut(table, "\n## ")
		want := codes(`(?m)^ +(\d+) +`, help)
		if len(want) == 0 {
			t.Fatal("the help lists no exit codes")
		}
		if diff := cmp.Diff(want, codes(`(?m)^\| (\d+) \|`, table)); diff != "" {
			t.Errorf("exit codes (-help +README):\n%s", diff)
		}
	})

	t.Run("commands", func(t *testing.T) {
		help := command("--help")
		for i, part := range strings.Split(readme, "```") {
			if i%2 == 0 {
				continue // prose
			}
			for _, m := range regexp.MustCompile(`(?m)^(?:\$ )?statelift ([a-z]+)`).FindAllStringSubmatch(part, -1) {
				if !strings.Contains(help, "\n  "+m[1]+" ") {
					t.Errorf("the README calls statelift %s, which the help does not know", m[1])
				}
			}
		}
	})

	t.Run("targets", func(t *testing.T) {
		makefile, err := os.ReadFile("../../Makefile")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z0-9-]+)").FindAllStringSubmatch(readme, -1) {
			if !regexp.MustCompile(`(?m)^` + m[1] + `( [a-z-]+)*:`).Match(makefile) {
				t.Errorf("the README calls make %s, which the Makefile does not know", m[1])
			}
		}
	})
}
