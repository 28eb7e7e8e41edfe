package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReach: a cluster that cannot be asked is told before anything is read of
// the host, with the names of the context and of the kubeconfig.
func TestReach(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := "https://" + closed.Addr().String()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "kubeconfig")
	const text = `apiVersion: v1
kind: Config
clusters: [{name: there, cluster: {server: SERVER}}]
users: [{name: there, user: {token: s3cret-7oken}}]
contexts: [{name: prod, context: {cluster: there, user: there}}]
`
	if err := os.WriteFile(config, []byte(strings.Replace(text, "SERVER", server, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	host := tiny(t)
	for _, tt := range []struct {
		name, context string
		args          []string
		code          int
		says          []string
	}{
		{"run", "prod", []string{"run", host, "--registry", "registry.example/lift"}, exitFailure, []string{"context prod", "nothing listens at " + server, config, "nothing was begun"}},
		{"plan", "prod", []string{"plan", host}, exitFailure, []string{"context prod", "nothing listens at " + server, config, "nothing was begun"}},
		{"no such context", "test", []string{"plan", host}, exitInput, []string{`no context "test"`, config, "there are: prod"}},
		{"until a stage that asks nobody", "prod", []string{"run", host, "--until", "scan"}, exitOK, nil},
	} {
		ws := filepath.Join(t.TempDir(), "ws")
		out := attempt(t, []string{"KUBECONFIG=" + config}, append(tt.args, "-w", ws, "--context", tt.context)...)
		out.want(t, tt.code)
		for _, text := range tt.says {
			if !strings.Contains(out.stderr, text) {
				t.Errorf("%s: %q is not said:\n%s", tt.name, text, out.stderr)
			}
		}
		if began := strings.Contains(out.stderr, "scan begins"); began != (tt.code == exitOK) || strings.Contains(out.stderr, "s3cret") {
			t.Errorf("%s: begun %v:\n%s", tt.name, began, out.stderr)
		}
	}
}
