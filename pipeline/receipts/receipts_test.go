package receipts_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
)

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func TestReceipts(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"data.listing", "old.json", "old.listing", ".tmp-old.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := handoff.Receipt{Volume: "data", Seed: "sha256:1", Proved: true, Listing: receipts.Listing("data"), Mark: 7}
	file, err := receipts.Write(dir, want)
	if err != nil {
		t.Fatal(err)
	}
	if err := receipts.Prune(dir, []handoff.ReceiptFile{file}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"data.json", "data.listing"}, names(t, dir)); diff != "" {
		t.Errorf("files that stay (-want +got):\n%s", diff)
	}

	data, err := os.ReadFile(filepath.Join(dir, "data.json"))
	if err != nil {
		t.Fatal(err)
	}
	wantFile := handoff.ReceiptFile{Volume: "data", File: "data.json", SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Proved: true, Mark: 7}
	if diff := cmp.Diff(wantFile, file); diff != "" {
		t.Errorf("the file as it is named (-want +got):\n%s", diff)
	}
	want.Mark = 0 // equal runs have equal files
	var got handoff.Receipt
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the receipt (-want +got):\n%s", diff)
	}
	info, err := os.Stat(filepath.Join(dir, "data.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: a receipt names files of the host and is the owner's alone", info.Mode(), err)
	}
}
