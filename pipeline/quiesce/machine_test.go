package quiesce

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/rootfs"
)

// TestMachineOf: a root without either file is of a host that nothing is known of.
func TestMachineOf(t *testing.T) {
	dir := t.TempDir()
	root, err := rootfs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if m, err := MachineOf(root); err != nil || m != (Machine{}) {
		t.Errorf("of an empty root: %v, %v", m, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"machine-id": "a1\n", "hostname": "shop\nmore\n"} {
		if err := os.WriteFile(filepath.Join(dir, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := MachineOf(root); err != nil || m != (Machine{ID: "a1", Name: "shop"}) {
		t.Errorf("%v, %v", m, err)
	}
}

// machine is a host that counts the commands which change it.
type machine struct {
	Machine
	ran int
}

func (m *machine) Run(_ context.Context, argv []string) ([]byte, error) {
	if argv[len(argv)-1] == "which-machine" {
		return fmt.Appendf(nil, "machine %s\nmachine %s\n", m.ID, m.Name), nil
	}
	m.ran++
	return nil, nil
}

// TestOnMachine: no command is run on a host that is not the source. A rollback
// would find nothing to undo there, and call that done.
func TestOnMachine(t *testing.T) {
	for _, tt := range []struct {
		source, there Machine
		runs          bool
	}{
		{Machine{"a1", "shop"}, Machine{"a1", "shop"}, true},
		{Machine{"a1", "shop"}, Machine{"a1", "renamed"}, true},
		{Machine{"a1", "shop"}, Machine{"b2", "shop"}, false},
		{Machine{"", "old"}, Machine{"b2", "workstation"}, false},
		{Machine{"", "old"}, Machine{"", "old"}, true},
		{Machine{}, Machine{"b2", "any"}, true},
	} {
		there := &machine{Machine: tt.there}
		r := OnMachine(there, tt.source)
		for range 2 {
			_, err := r.Run(t.Context(), []string{"systemctl", "stop", "nginx"})
			if (err == nil) != tt.runs || err != nil && !strings.Contains(err.Error(), "--on-source") {
				t.Errorf("source %s, commands on %s: %v", tt.source, tt.there, err)
			}
		}
		if want := map[bool]int{true: 2}[tt.runs]; there.ran != want {
			t.Errorf("source %s, commands on %s: %d were run, want %d", tt.source, tt.there, there.ran, want)
		}
	}
}

// TestMachineScript asks this machine, as sh(1) understands it.
func TestMachineScript(t *testing.T) {
	root, err := rootfs.Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	here, err := MachineOf(root)
	if err != nil || here == (Machine{}) {
		t.Fatalf("this machine: %v, %v", here, err)
	}
	r, err := OnSource("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OnMachine(r, here).Run(t.Context(), []string{"true"}); err != nil {
		t.Error(err)
	}
	other := Machine{ID: "00000000000000000000000000000000", Name: "another-host"}
	if _, err := OnMachine(r, other).Run(t.Context(), []string{"true"}); err == nil {
		t.Error("this machine passes for another")
	}
}
