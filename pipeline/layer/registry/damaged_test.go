package registry_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/carrier/registryserver"
	"github.com/statelift/statelift/pipeline/layer/registry"
)

// TestDamagedThere: a real registry confirms a blob whose content it has lost,
// and keeps it so when it is sent again, also to another repository. That is not
// called success; done what the message says, it is.
func TestDamagedThere(t *testing.T) {
	server := registryserver.Start(t)
	open := func(prefix string) *registry.Repository {
		r, err := registry.Open(server.Host+prefix, registry.Options{Environment: func(string) string { return "" }})
		if err != nil {
			t.Fatal(err)
		}
		return mustRepository(t, r)
	}
	for name, spoil := range map[string]func([]byte) []byte{
		"flipped":   func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
		"truncated": func(b []byte) []byte { return b[:len(b)-1] },
	} {
		content := bytes.Repeat([]byte(name+" "), 5000)
		s := source(content)
		var told int64
		send := func(prefix string) error {
			told = 0
			return open(prefix).Upload(t.Context(), s, func(n int64) { told += n })
		}
		for range 2 { // also when it is there already
			if err := send("/a"); err != nil || told != s.Size {
				t.Fatalf("%s: %v, told of %d bytes", name, err, told)
			}
		}
		if err := os.WriteFile(server.Blob(s.Digest), spoil(bytes.Clone(content)), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, prefix := range []string{"/a", "/b"} {
			err := send(prefix)
			if prefix == "/b" && name == "flipped" {
				// Nobody sees that without reading all that was sent; who reads does.
				in, rerr := open(prefix).Open(t.Context(), s.Digest)
				if rerr != nil {
					t.Fatal(rerr)
				}
				kept, rerr := io.ReadAll(in)
				if err != nil || rerr != nil || bytes.Equal(kept, content) {
					t.Errorf("the registry mends by itself: %v, %v", err, rerr)
				}
				in.Close()
				continue
			}
			if err == nil {
				t.Errorf("%s, %s: called a success", name, prefix)
				continue
			}
			file := strings.TrimPrefix(s.Digest, "sha256:")
			for _, want := range []string{s.Digest, server.Host + prefix + "/seeds", "damaged there", "blobs/sha256/" + file[:2] + "/" + file, "another registry or a bucket"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s, %s: %q is not said: %v", name, prefix, want, err)
				}
			}
		}
		if err := os.Remove(server.Blob(s.Digest)); err != nil {
			t.Fatal(err)
		}
		if err := send("/a"); err != nil {
			t.Errorf("%s, deleted and sent again: %v", name, err)
		}
		if got, err := os.ReadFile(server.Blob(s.Digest)); err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: the registry has %d other bytes, %v", name, len(got), err)
		}
	}
}
