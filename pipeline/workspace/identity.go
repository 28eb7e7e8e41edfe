package workspace

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/atomicfile"
)

// Identity is the random name of this workspace, made once and kept in run/: a
// value for Kubernetes labels, by which objects are told from those of others.
// The caller holds the lock.
func (w Workspace) Identity() (string, error) {
	name := w.Path(Run, "identity")
	data, err := os.ReadFile(name)
	switch {
	case err == nil:
		id := strings.TrimSpace(string(data))
		if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(id) {
			return "", fmt.Errorf("%s is damaged: it holds no identity of 16 hexadecimal digits; without the right one, what this workspace made in a cluster is not known as its own", name)
		}
		return id, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("workspace: %w", err)
	}
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		return "", fmt.Errorf("identity: %w", err)
	}
	id := hex.EncodeToString(random)
	return id, atomicfile.Write(name, []byte(id+"\n"), 0o600)
}
