package rollback_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/changes"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/rollback"
)

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

// rehearsal is a workspace with the volumes data, which was copied and proved,
// and empty, which started so; both were written to since.
func rehearsal(t *testing.T) *rollback.Lister {
	t.Helper()
	ws, err := workspace.Open(filepath.Join(t.TempDir(), "ws"))
	if err != nil {
		t.Fatal(err)
	}
	sh.Run(t, ws.Dir, "mkdir -p receipts volumes/data/sub volumes/empty; echo a >volumes/data/a; echo b >volumes/data/sub/b")
	root, err := os.Open(ws.Path(workspace.Volumes, "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var text bytes.Buffer
	lines := tree.NewWriter(&text)
	if err := tree.Read(t.Context(), root, tree.ReadOptions{}, lines.Add); err != nil {
		t.Fatal(err)
	}
	totals, err := lines.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ws.Path(workspace.Receipts, "data.listing"), text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := receipts.Write(ws.Path(workspace.Receipts), handoff.Receipt{Volume: "data", Proved: true, CopyTree: totals.Digest, Listing: "data.listing"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		pipeline.Write(ws, handoff.CopiesKey, handoff.Copies{Receipts: []handoff.ReceiptFile{file}}),
		pipeline.Write(ws, handoff.SeedsKey, handoff.Seeds{}),
	); err != nil {
		t.Fatal(err)
	}
	sh.Run(t, ws.Dir, "echo more >>volumes/data/a; rm volumes/data/sub/b; seq 300 | (cd volumes/empty; while read n; do echo $n >$n; done)")
	plan := handoff.Plan{Volumes: []handoff.Volume{{Name: "data", Seed: true}, {Name: "empty"}}}
	return &rollback.Lister{Workspace: ws, Plan: plan, Reader: rollback.Here{Workspace: ws}, Progress: silent{}}
}

func TestList(t *testing.T) {
	l := rehearsal(t)
	archive := filepath.Join(t.TempDir(), "back")
	got, err := l.List(t.Context(), archive)
	if err != nil {
		t.Fatal(err)
	}
	want := []handoff.VolumeChanges{
		{Volume: "data", Altered: 1, Dressed: 1, Removed: 1, Bytes: 7, File: "changes/data.jsonl", First: []handoff.Change{
			{Path: "/a", What: "altered", Type: "f", Size: 7}, {Path: "/sub", What: "dressed", Type: "d"}, {Path: "/sub/b", What: "removed", Type: "f", Size: 2},
		}},
		{Volume: "empty", Added: 300, Bytes: 9*2 + 90*3 + 201*4, File: "changes/empty.jsonl"},
	}
	for i := range got {
		if got[i].Volume == "empty" {
			if len(got[i].First) != 100 {
				t.Errorf("%d of 300 are shown", len(got[i].First))
			}
			got[i].First = nil
		}
		for _, f := range []struct{ name, sum string }{{l.Workspace.Path(got[i].File), got[i].SHA256}, {got[i].Archive, got[i].ArchiveSHA256}} {
			if sum := strings.Fields(sh.Run(t, ".", "sha256sum "+f.name))[0]; sum != f.sum {
				t.Errorf("%s: sha256sum says %s, not %s", f.name, sum, f.sum)
			}
		}
		got[i].SHA256, got[i].Archive, got[i].ArchiveSHA256 = "", "", ""
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
	if out := sh.Run(t, archive, "tar -tf data.tar; tar -xOf data.tar a; tar -tf empty.tar | wc -l"); out != "a\nsub/\na\nmore\n300\n" {
		t.Errorf("the archives: %q", out)
	}
	if out := sh.Run(t, l.Workspace.Dir, "grep -c '\"what\":\"added\"' changes/empty.jsonl"); out != "300\n" {
		t.Errorf("the list has %s", out)
	}
}

// faulty loses something on its way, so often.
type faulty struct {
	rollback.Reader
	cut   func(list, archive *bytes.Buffer)
	times int
	reads int
}

func (f *faulty) Read(ctx context.Context, of rollback.Volume, list, archive io.Writer) error {
	f.reads++
	if f.reads > f.times {
		return f.Reader.Read(ctx, of, list, archive)
	}
	var l, a bytes.Buffer
	if err := f.Reader.Read(ctx, of, &l, &a); err != nil {
		return err
	}
	f.cut(&l, &a)
	if _, err := l.WriteTo(list); err != nil {
		return fmt.Errorf("%w: %w", err, changes.ErrCut)
	}
	_, err := a.WriteTo(archive)
	return err
}

// What does not arrive whole is read again, and never called whole.
func TestCutOnItsWay(t *testing.T) {
	for name, cut := range map[string]func(list, archive *bytes.Buffer){
		"the end of the list":     func(l, _ *bytes.Buffer) { l.Truncate(l.Len() / 2) },
		"the end of the archive":  func(_, a *bytes.Buffer) { a.Truncate(a.Len() / 2) },
		"a byte of the archive":   func(_, a *bytes.Buffer) { a.Bytes()[600] ^= 1 },
		"everything of both":      func(l, a *bytes.Buffer) { l.Reset(); a.Reset() },
		"a line in the list":      func(l, _ *bytes.Buffer) { l.ReadString('\n') }, //nolint:errcheck // there is one
		"the sums, and no change": func(l, _ *bytes.Buffer) { b := l.Bytes(); l.Truncate(bytes.LastIndexByte(b[:len(b)-1], '\n') + 1) },
	} {
		t.Run(name, func(t *testing.T) {
			l := rehearsal(t)
			l.Plan.Volumes = l.Plan.Volumes[:1]
			here := l.Reader
			l.Reader = &faulty{Reader: here, cut: cut, times: 2}
			archive := t.TempDir()
			got, err := l.List(t.Context(), archive)
			if err != nil || got[0].Altered != 1 || got[0].Archive == "" {
				t.Errorf("at the third time: %+v, %v", got, err)
			}
			l.Reader = &faulty{Reader: here, cut: cut, times: 3}
			other := t.TempDir()
			if _, err := l.List(t.Context(), other); !errors.Is(err, changes.ErrCut) {
				t.Errorf("three times: %v", err)
			}
			if left := sh.Run(t, other, "ls -A"); left != "" {
				t.Errorf("what did not arrive whole is kept: %s", left)
			}
		})
	}
}

// A receipt that somebody changed, or that is not good, is nothing to compare
// with.
func TestNoProof(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, l *rollback.Lister){
		"the receipt was changed": func(t *testing.T, l *rollback.Lister) {
			sh.Run(t, l.Workspace.Dir, "echo >>receipts/data.json")
		},
		"the listing was changed": func(t *testing.T, l *rollback.Lister) {
			sh.Run(t, l.Workspace.Dir, "sed -i 's/\t7\t/\t8\t/; s/\t2\t/\t3\t/' receipts/data.listing")
		},
		"the copy was not proved": func(t *testing.T, l *rollback.Lister) {
			data, err := os.ReadFile(l.Workspace.Path(workspace.Receipts, "data.json"))
			var r handoff.Receipt
			if err := errors.Join(err, json.Unmarshal(data, &r)); err != nil {
				t.Fatal(err)
			}
			r.Proved = false
			file, err := receipts.Write(l.Workspace.Path(workspace.Receipts), r)
			if err := errors.Join(err, pipeline.Write(l.Workspace, handoff.CopiesKey, handoff.Copies{Receipts: []handoff.ReceiptFile{file}})); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := rehearsal(t)
			spoil(t, l)
			if _, err := l.List(t.Context(), ""); err == nil {
				t.Error("it is compared with")
			}
		})
	}
}
