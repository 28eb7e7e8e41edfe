package fetch_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/fetch"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/store"
)

// media is a store with the objects of a directory, and the SHA-256 of its index.
func media(t *testing.T, edit func([]handoff.IndexEntry) []handoff.IndexEntry) (store.Store, string) {
	t.Helper()
	st, err := store.Open(t.Context(), t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	put := func(name, content string) string {
		sum := sha256.Sum256([]byte(content))
		text := hex.EncodeToString(sum[:])
		if _, err := st.Put(t.Context(), name, strings.NewReader(content), store.Object{Size: int64(len(content)), SHA256: text}); err != nil {
			t.Fatal(err)
		}
		return text
	}
	at := time.Unix(1_500_000_000, 123_000_000).UnixNano()
	file := func(path, content string, mode, uid uint32) handoff.IndexEntry {
		name := "objects" + strings.ReplaceAll(path, "\n", "x")
		return handoff.IndexEntry{Path: hostpath.Path(path), Type: "f", Object: name, Size: int64(len(content)), SHA256: put(name, content), Mode: mode, UID: uid, GID: uid + 1, Mtime: at}
	}
	list := []handoff.IndexEntry{
		file("/srv/other.txt", "not this one", 0o644, 0),
		{Path: "/srv/media", Type: "d", Mode: 0o2755, UID: 33, GID: 33, Mtime: at},
		file("/srv/media/a.jpg", "a picture", 0o640, 33),
		{Path: "/srv/media/closed", Type: "d", Mode: 0o500, UID: 33, GID: 33, Mtime: at},
		file("/srv/media/closed/empty", "", 0o600, 0),
		file("/srv/media/run", "#!/bin/sh\n", 0o4755, 7),
		{Path: "/srv/media/link", Type: "l", Target: "../../etc/passwd", UID: 33, GID: 33, Mtime: at},
		{Path: "/srv/media/nothing", Type: "d", Mode: 0o755, Mtime: at},
		{Path: "/srv/media/pipe", Type: "p", Mode: 0o620, UID: 33, GID: 4, Mtime: at},
		{Path: "/srv/media/socket", Type: "s", Mode: 0o1755, UID: 7, Mtime: at},
		file("/srv/media/line\nbreak", "odd", 0o644, 0),
	}
	if edit != nil {
		list = edit(list)
	}
	var index bytes.Buffer
	for _, e := range list {
		data, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		index.Write(append(data, '\n'))
	}
	return st, put("index.jsonl", index.String())
}

func find(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", `%P|%y|%m|%U:%G|%s|%T@|%l\0`).Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		cols := strings.Split(line, "|")
		if cols[1] == "d" {
			cols[4] = "" // of the file system
		}
		cols[5] = strings.TrimSuffix(cols[5], "0000000")
		lines = append(lines, strings.Join(cols, "|"))
	}
	return strings.Join(lines, "\n")
}

func TestRun(t *testing.T) {
	st, sum := media(t, nil)
	dir := t.TempDir()
	o := fetch.Options{Index: "index.jsonl", SHA256: sum, Below: "/srv/media", To: dir}
	for range 2 { // as after a restart of the container
		got, err := fetch.Run(t.Context(), st, o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fetch.Fetched{Index: sum, Path: "/srv/media", Dirs: 3, Files: 4, Links: 1, Nodes: 2, Bytes: 22}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		seen := find(t, dir)
		for _, want := range []string{
			"|d|2755|33:33||1500000000.123|", "a.jpg|f|640|33:34|9|1500000000.123|", "closed|d|500|33:33||1500000000.123|",
			"closed/empty|f|600|0:1|0|1500000000.123|", "run|f|4755|7:8|10|1500000000.123|", "link|l|777|33:33|16|1500000000.123|../../etc/passwd",
			"nothing|d|755|0:0||1500000000.123|", "line\nbreak|f|644|0:1|3|1500000000.123|",
			"pipe|p|620|33:4|0|1500000000.123|", "socket|s|1755|7:0|0|1500000000.123|",
		} {
			if !strings.Contains("\n"+seen+"\n", "\n"+want+"\n") {
				t.Errorf("%q is not there:\n%s", want, seen)
			}
		}
		if strings.Contains(seen, "other") {
			t.Errorf("it brought what is not asked for:\n%s", seen)
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "a.jpg")); err != nil || string(data) != "a picture" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestRefused: nothing is believed that is not what a digest says, and nothing is
// written outside.
func TestRefused(t *testing.T) {
	st, sum := media(t, nil)
	if _, err := fetch.Run(t.Context(), st, fetch.Options{Index: "index.jsonl", SHA256: strings.Repeat("0", 64), Below: "/srv/media", To: t.TempDir()}); !errors.Is(err, store.ErrMismatch) {
		t.Errorf("another index: %v", err)
	}
	if _, err := fetch.Run(t.Context(), st, fetch.Options{Index: "no.jsonl", SHA256: sum, Below: "/srv/media", To: t.TempDir()}); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("no index: %v", err)
	}
	st, sum = media(t, func(list []handoff.IndexEntry) []handoff.IndexEntry {
		list[2].SHA256 = list[4].SHA256
		return list
	})
	if _, err := fetch.Run(t.Context(), st, fetch.Options{Index: "index.jsonl", SHA256: sum, Below: "/srv/media", To: t.TempDir()}); !errors.Is(err, store.ErrMismatch) {
		t.Errorf("another file: %v", err)
	}
	outside := t.TempDir()
	st, sum = media(t, func(list []handoff.IndexEntry) []handoff.IndexEntry {
		list[6].Target = outside
		list[8].Path = "/srv/media/link/escaped"
		return list
	})
	if _, err := fetch.Run(t.Context(), st, fetch.Options{Index: "index.jsonl", SHA256: sum, Below: "/srv/media", To: t.TempDir()}); err == nil {
		t.Error("a path through a link is taken")
	}
	if left := find(t, outside); strings.Contains(left, "escaped") {
		t.Errorf("written outside: %s", left)
	}
}
