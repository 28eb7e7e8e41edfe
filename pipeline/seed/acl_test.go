package seed

import (
	"encoding/binary"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// getfacl says the same of the same attribute.
func TestACLTextIsWhatGetfaclSays(t *testing.T) {
	dir := t.TempDir()
	for _, spec := range []string{"u:1000:rwx,g:4242:r-x", "u:1:---", "d:u:0:rw,d:g:5:x", "m::r,u:99:w"} {
		name := filepath.Join(dir, "d")
		if out, err := exec.Command("sh", "-c", `rm -rf "$1"; mkdir "$1"; setfacl -m "$2" "$1"`, "sh", name, spec).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, kind := range []string{"access", "default"} {
			buf := make([]byte, 1024)
			n, err := unix.Lgetxattr(name, "system.posix_acl_"+kind, buf)
			if err == unix.ENODATA {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			got, ok := aclText(buf[:n])
			flag := "-acnE"
			if kind == "default" {
				flag = "-dcnE"
			}
			out, err := exec.Command("getfacl", flag, name).Output()
			if err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", ",")
			if !ok || got != want {
				t.Errorf("%s %s: %q, getfacl says %q", spec, kind, got, want)
			}
		}
	}
}

func FuzzACLText(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255})
	f.Add(binary.LittleEndian.AppendUint32(nil, 2))
	f.Fuzz(func(t *testing.T, value []byte) {
		if text, ok := aclText(value); ok && strings.Count(text, ":") != 2*((len(value)-4)/8) {
			t.Errorf("%x: %q", value, text)
		}
	})
}
