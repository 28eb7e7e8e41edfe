// Package bedtest lets tests use the real cluster of fixtures/cluster. kubectl
// is their oracle.
package bedtest

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/handoff"
)

// Bed is what bed.json says, see bed.Info in fixtures/cluster.
type Bed struct {
	Kubeconfig   string   `json:"kubeconfig"`
	Context      string   `json:"context"`
	Kubectl      string   `json:"kubectl"`
	Kubernetes   string   `json:"kubernetes"`
	Node         string   `json:"node"`
	Registry     string   `json:"registry"`
	HostIP       string   `json:"hostIP"`
	ProbeImage   string   `json:"probeImage"`
	StorageClass string   `json:"storageClass"`
	Provisioners []string `json:"provisioners"`
	// RegistryHosts is where containerd learns how to speak to a registry.
	RegistryHosts string `json:"registryHosts"`
	// Volumes has one folder per PersistentVolume of the default class.
	Volumes string `json:"volumes"`

	parts map[string]json.RawMessage
}

// Open finds the cluster by STATELIFT_BED and makes its kubeconfig the one that
// the test uses. Without a cluster the test fails: none is skipped.
func Open(t *testing.T) Bed {
	t.Helper()
	b := Read(t)
	t.Setenv("KUBECONFIG", b.Kubeconfig)
	return b
}

// Read is Open for tests that give the kubeconfig to each program they call. They
// can be parallel, which those that set the environment cannot (testing.T.Setenv).
func Read(t *testing.T) Bed {
	t.Helper()
	name := os.Getenv("STATELIFT_BED")
	if name == "" {
		t.Fatal(`no test cluster: STATELIFT_BED is not set (make cluster; eval "$(cd fixtures/cluster && go run ./cmd/bed env)")`)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("test cluster: %v", err)
	}
	var b Bed
	if err := json.Unmarshal(data, &b); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if err := json.Unmarshal(data, &b.parts); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

// Part reads a member of bed.json that only few tests need into v.
func (b Bed) Part(t *testing.T, name string, v any) {
	t.Helper()
	if err := json.Unmarshal(b.parts[name], v); err != nil {
		t.Fatalf("test cluster: %q in bed.json: %v", name, err)
	}
}

// Run runs kubectl as the cluster's administrator and returns what it prints.
func (b Bed) Run(t *testing.T, args ...string) string {
	t.Helper()
	out, err := b.Try("", args...)
	if err != nil {
		t.Fatalf("kubectl %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// Apply makes objects from YAML in the namespace.
func (b Bed) Apply(t *testing.T, namespace, yaml string) {
	t.Helper()
	if _, err := b.Try(yaml, "apply", "-n", namespace, "-f", "-"); err != nil {
		t.Fatalf("kubectl apply: %v\n%s", err, yaml)
	}
}

// Try runs kubectl with stdin; the error holds what it wrote to stderr.
func (b Bed) Try(stdin string, args ...string) (string, error) {
	cmd := exec.Command(b.Kubectl, append([]string{"--kubeconfig", b.Kubeconfig}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), &exitError{err, strings.TrimSpace(stderr.String())}
	}
	return stdout.String(), nil
}

type exitError struct {
	err    error
	stderr string
}

func (e *exitError) Error() string { return e.err.Error() + ": " + e.stderr }

func (e *exitError) Unwrap() error { return e.err }

// Warnings runs kubectl and returns what the API server warned of.
func (b Bed) Warnings(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(b.Kubectl, append([]string{"--kubeconfig", b.Kubeconfig}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stderr.String()
}

// Name is a random name that begins with prefix.
func Name(prefix string) string {
	random := make([]byte, 4)
	rand.Read(random) // never fails (crypto/rand)
	return prefix + "-" + hex.EncodeToString(random)
}

// Namespace makes a namespace with those labels (KEY=VALUE), and removes it
// after the test.
func (b Bed) Namespace(t *testing.T, labels ...string) string {
	t.Helper()
	name := Name("test")
	b.Run(t, "create", "namespace", name)
	t.Cleanup(func() { b.Run(t, "delete", "namespace", name, "--wait=false") })
	if len(labels) > 0 {
		b.Run(t, append([]string{"label", "namespace", name}, labels...)...)
	}
	return name
}

// Own is a target without what other tests may change in the same cluster at the
// same time: what belongs to no namespace.
func Own(t handoff.Target) handoff.Target {
	t.StorageClasses, t.CSIDrivers, t.Nodes = nil, nil, nil
	t.Existing = slices.DeleteFunc(slices.Clone(t.Existing), func(o handoff.Object) bool { return o.Kind == "PersistentVolume" })
	return t
}

// As makes the kubeconfig of [Bed.Account] the one that the test uses.
func (b Bed) As(t *testing.T, namespace, account string) {
	t.Helper()
	t.Setenv("KUBECONFIG", b.Account(t, namespace, account))
}

// Account makes a service account of the namespace, which has no rights but those
// that the test gives it, and writes a kubeconfig for it, whose context has the
// same name as the administrator's.
func (b Bed) Account(t *testing.T, namespace, account string) (kubeconfig string) {
	t.Helper()
	b.Run(t, "create", "serviceaccount", "-n", namespace, account)
	token := strings.TrimSpace(b.Run(t, "create", "token", "-n", namespace, account))
	file := filepath.Join(t.TempDir(), "kubeconfig")
	data, err := os.ReadFile(b.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"config", "set-credentials", account, "--token", token},
		{"config", "set-context", b.Context, "--user", account},
	} {
		if out, err := exec.Command(b.Kubectl, append([]string{"--kubeconfig", file}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("kubectl: %v: %s", err, out)
		}
	}
	return file
}
