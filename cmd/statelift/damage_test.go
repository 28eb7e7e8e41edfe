package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/handoff"
)

// TestDamage changes one thing of each kind that a lift makes: verify finds it
// and names it, and says so by its exit code; and it finds nothing else. With
// what was there before, all is proved again.
func TestDamage(t *testing.T) {
	t.Parallel()
	host, ws := tiny(t), filepath.Join(t.TempDir(), "ws")
	attempt(t, nil, "run", host, "-w", ws).want(t, exitOK, "everything is proved")
	shorter := func(data []byte) []byte { return data[:len(data)-1] }
	layer, seed := largestBlob(t, filepath.Join(ws, "images")), largestBlob(t, filepath.Join(ws, "seeds"))
	config := output(t, ws, `jq -r .manifests[0].digest images/index.json | cut -d: -f2 | xargs -I{} jq -r .config.digest images/blobs/sha256/{} | cut -d: -f2`)
	for _, c := range []struct {
		name, file string
		how        func([]byte) []byte
		want       []string // in the lines of what is not proved
	}{
		{"byte of a seed", "seeds/blobs/sha256/" + seed, flip, []string{"seed", "var-lib-tinyd", seed}},
		{"byte of a layer", "images/blobs/sha256/" + layer, flip, []string{"image", "tiny-tinyd", "sha256:" + layer}},
		{"layer cut short", "images/blobs/sha256/" + layer, shorter, []string{"image", "tiny-tinyd", "sha256:" + layer}},
		{"byte of an image's config", "images/blobs/sha256/" + config, flip, []string{"image", config}},
		{"list of images", "images/index.json", func(b []byte) []byte { return []byte(strings.Replace(string(b), "sha256:", "sha256:0", 1)) }, []string{"image", "index"}},
		{"byte of a small file", "volumes/opt-app-data/app.db", flip, []string{"volume", "opt-app-data", "/app.db: content"}},
		{"byte of a large file", "volumes/var-lib-tinyd/files/large-noise", flip, []string{"volume", "var-lib-tinyd", "/files/large-noise: content"}},
		{"file cut short", "volumes/home-ann/notes.txt", shorter, []string{"volume", "home-ann", "/notes.txt: size"}},
		{"receipt", "receipts/home-ann.json", flip, []string{"volume", "home-ann", "receipt home-ann.json"}},
		{"listing of a receipt", "receipts/home-ann.listing", flip, []string{"volume", "home-ann", "listing home-ann.listing"}},
		{"byte of an object", "store/objects/var/backups/tiny-2018.sql.gz", flip, []string{"object", "objects/var/backups/tiny-2018.sql.gz"}},
		{"object cut short", "store/objects/var/backups/tiny-2018.sql.gz", shorter, []string{"object", "objects/var/backups/tiny-2018.sql.gz"}},
		{"index of the store", "store/index.jsonl", flip, []string{"object", "index"}},
		{"manifest", "manifests/kustomization.yaml", flip, []string{"manifest", "kustomization.yaml"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			damage(t, filepath.Join(ws, c.file), c.how)
			attempt(t, nil, "verify", "--json", "-w", ws).wantNotProved(t, c.want...)
		})
	}
	// What is no content is part of a copy, too.
	volume, kept := filepath.Join(ws, "volumes", "var-lib-tinyd"), filepath.Join(t.TempDir(), "kept")
	output(t, ws, "cp -a volumes/var-lib-tinyd "+kept)
	var wrong []string
	for _, c := range []struct{ do, want string }{
		{"chmod 604 files/many/01", "/files/many/01: mode"},
		{"chown 77 files/many/02", "/files/many/02: owner"},
		{"chgrp -h 77 links/dangling", "/links/dangling: owner"},
		{"touch files/many/03", "/files/many/03: mtime"},
		{"setfattr -n user.more -v x attrs/user", "/attrs/user: xattrs"},
		{"setfacl -m u:77:r files/many/04", "/files/many/04: xattrs"},
		{"ln -sfn elsewhere links/absolute", "/links/absolute: target"},
		{"rm special/null; touch special/null", "/special/null: type"},
		{"mkdir links/more", "/links/more: extra"},
		{"rm files/many/05", "/files/many/05: missing"},
		{"cp -p files/empty x; mv x files/empty", "/links/hard-empty: link"},
	} {
		output(t, volume, c.do)
		wrong = append(wrong, c.want)
	}
	attempt(t, nil, "verify", "--json", "-w", ws).wantNotProved(t, append(wrong, "volume var-lib-tinyd")...)
	output(t, volume, "rsync -aHAXS --numeric-ids --delete "+kept+"/ ./")
	attempt(t, nil, "verify", "-w", ws).want(t, exitOK, "everything is proved")
}

// output is what a shell script prints in a directory.
func output(t *testing.T, dir, script string) string {
	t.Helper()
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return strings.TrimSpace(string(out))
}

// wantNotProved wants verify --json to have found something, with all of the
// names in what it says of it.
func (e ended) wantNotProved(t *testing.T, names ...string) {
	t.Helper()
	e.want(t, exitNotProved, "not everything is proved")
	var v handoff.Verdicts
	if err := json.Unmarshal([]byte(e.stdout), &v); err != nil {
		t.Fatal(err)
	}
	var failed strings.Builder
	for _, c := range v.Checks {
		if !c.OK {
			fmt.Fprintf(&failed, "%s %s: %s\n", c.What, c.Name, c.Detail)
		}
	}
	for _, name := range names {
		if !strings.Contains(failed.String(), name) {
			t.Errorf("%s is not named as not proved:\n%s", name, failed.String())
		}
	}
}

// damage rewrites a file in place, or removes it when nothing is left of it, and
// puts all of it back when the test ends, unless it was made again meanwhile.
func damage(t *testing.T, name string, f func([]byte) []byte) {
	t.Helper()
	before, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	after := f(bytes.Clone(before))
	if after == nil {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		return
	}
	rewrite := func(data []byte) {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write(data)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, fi.ModTime(), fi.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	rewrite(after)
	t.Cleanup(func() { rewrite(before) })
}

func flip(data []byte) []byte {
	data[len(data)/2] ^= 1
	return data
}

// largestBlob is the hexadecimal digest of the largest blob in a layout.
func largestBlob(t *testing.T, layout string) (hex string) {
	t.Helper()
	blobs, err := os.ReadDir(filepath.Join(layout, "blobs", "sha256"))
	if err != nil || len(blobs) == 0 {
		t.Fatalf("blobs: %v, %v", blobs, err)
	}
	var most int64
	for _, b := range blobs {
		if fi, err := b.Info(); err == nil && fi.Size() > most {
			most, hex = fi.Size(), b.Name()
		}
	}
	return hex
}
