package workspace

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestIdentity(t *testing.T) {
	w, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.Identity()
	if err != nil || !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(first) {
		t.Fatalf("identity %q, %v", first, err)
	}
	if again, err := w.Identity(); err != nil || again != first {
		t.Errorf("then it is %q, %v", again, err)
	}
	other, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if id, err := other.Identity(); err != nil || id == first {
		t.Errorf("that of another workspace is %q, %v", id, err)
	}
	if err := os.WriteFile(w.Path(Run, "identity"), []byte("\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := w.Identity(); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Errorf("of a damaged file: %q, %v", id, err)
	}
}
