package quiesce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// Machine tells one host from another. What is "" is not known.
type Machine struct {
	ID   string // machine-id(5)
	Name string // hostname(5)
}

// The first line of each is what counts.
const (
	idFile   = hostpath.Path("/etc/machine-id")
	nameFile = hostpath.Path("/etc/hostname")
)

// maxIdentity is more than either file has.
const maxIdentity = 4 << 10

// MachineOf reads which host a root file system is of.
func MachineOf(root *rootfs.Root) (m Machine, err error) {
	for path, value := range map[hostpath.Path]*string{idFile: &m.ID, nameFile: &m.Name} {
		data, err := root.ReadFile(path, maxIdentity)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Machine{}, fmt.Errorf("which host the source is: %w", err)
		}
		*value = firstLine(data)
	}
	return m, nil
}

func firstLine(data []byte) string {
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return string(bytes.TrimSpace(line))
}

// other reports whether the two are different hosts for sure. Where either has no
// machine-id, as hosts before systemd, their names decide.
func (m Machine) other(n Machine) bool {
	if m.ID != "" && n.ID != "" {
		return m.ID != n.ID
	}
	return m.Name != "" && n.Name != "" && m.Name != n.Name
}

func (m Machine) String() string {
	return fmt.Sprintf("%q (machine-id %q)", m.Name, m.ID)
}

// OnMachine is a runner that runs nothing on a host other than m: one that was
// named by mistake has services, and fences, of the same names. It asks before its
// first command, and again until it was answered.
func OnMachine(r Runner, m Machine) Runner { return &onMachine{Runner: r, machine: m} }

type onMachine struct {
	Runner
	machine Machine
	mu      sync.Mutex
	asked   bool
}

const machineScript = `for file in ` + string(idFile) + ` ` + string(nameFile) + `; do
	line=
	[ -r "$file" ] && read -r line <"$file"
	printf 'machine %s\n' "$line"
done`

// Run runs one command.
func (o *onMachine) Run(ctx context.Context, argv []string) ([]byte, error) {
	if err := o.ask(ctx); err != nil {
		return nil, err
	}
	return o.Runner.Run(ctx, argv)
}

func (o *onMachine) ask(ctx context.Context) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked {
		return nil
	}
	ctx, end := bound(ctx, answerTime)
	defer end()
	out, err := o.Runner.Run(ctx, []string{"sh", "-c", machineScript, "which-machine"})
	if err != nil {
		return err
	}
	id, name, ok := strings.Cut(string(out), "\n")
	id, isID := strings.CutPrefix(id, "machine ")
	name, isName := strings.CutPrefix(firstLine([]byte(name)), "machine")
	if !ok || !isID || !isName {
		return fmt.Errorf("what the source said of which host it is cannot be read: %.200q", out)
	}
	if n := (Machine{ID: strings.TrimSpace(id), Name: strings.TrimSpace(name)}); o.machine.other(n) {
		return fmt.Errorf("the commands are run on %s, and the source is %s: --on-source must lead to the host that the source is of", n, o.machine)
	}
	o.asked = true
	return nil
}
