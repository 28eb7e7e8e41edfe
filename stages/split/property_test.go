package split_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/tree"
)

// Whatever the host and whatever the user decides, every entry gets exactly one
// class, explain finds the same winner, and the balance is even: world.check says
// so. What is below a volume is in it, or left for a reason.
func TestEveryEntryHasOneClass(t *testing.T) {
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("30"); err != nil { // each writes a database
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		var dirs, files []string
		name := rapid.SampledFrom([]string{"a", "data", "bin", "cache", "logs", "conf", "x.db", "y.php", "z.tar.gz", "n\xff", "core.12", "lost+found", "w.conf", "log.1.gz"})
		tops := []string{"/etc", "/srv", "/opt", "/home", "/root", "/var/lib", "/var/log", "/var/cache", "/var/backups", "/usr/local", "/unknown", "/var/www", "/run", "/tmp", "/var/mail"}
		for range rapid.IntRange(1, 25).Draw(rt, "entries") {
			p := rapid.SampledFrom(tops).Draw(rt, "top")
			for range rapid.IntRange(1, 3).Draw(rt, "depth") {
				p += "/" + name.Draw(rt, "name")
			}
			if taken(w, p) {
				continue
			}
			state := rapid.SampledFrom([]catalog.State{"", "", catalog.Same, catalog.Changed, catalog.ConffileSame, catalog.ConffileChanged}).Draw(rt, "state")
			opts := []option{owner(uint32(rapid.SampledFrom([]int{0, 33, 1000}).Draw(rt, "uid")))}
			if state != "" {
				opts = append(opts, pkg("p", state))
			}
			switch rapid.SampledFrom([]string{"f", "f", "f", "d", "l", "s", "p", "bad", "fs"}).Draw(rt, "type") {
			case "d":
				w.dir(p, opts...)
				dirs = append(dirs, p)
			case "l":
				w.link(p, "/nowhere", opts...)
			case "s":
				w.add(p, catalog.Entry{}, append(opts, typ(tree.Socket)))
			case "p":
				w.add(p, catalog.Entry{}, append(opts, typ(tree.FIFO)))
			case "bad":
				w.file(p, "x", append(opts, problem("I/O error"))...)
			case "fs":
				w.dir(p, mounted(rapid.SampledFrom([]string{"nfs", "proc", "ext4", "tmpfs"}).Draw(rt, "fs")))
			default:
				w.file(p, rapid.SampledFrom([]string{"x", "password = Zx81Qq20Lm\n", "#!/bin/sh\n"}).Draw(rt, "content"), opts...)
				files = append(files, p)
			}
		}
		w.unit("a.service", "p", "ExecStart=/usr/bin/a", "StateDirectory=a", "CacheDirectory=data", "LogsDirectory=a")
		w.yaml = randomDecisions(rt, dirs, files)
		r := w.split()
		for p, e := range r.placed {
			for _, v := range r.split.Volumes {
				if p.Within(v.Path) && e.Class != claim.Volume && e.Class != claim.Object && e.Class != claim.Drop && r.claims[e.Claim].Authority < claim.ByUser {
					rt.Errorf("%s is %s in the volume %s: %s", p, e.Class, v.Path, r.claims[e.Claim].Reason)
				}
			}
			if (e.Class == claim.Config || e.Class == claim.Secret) && e.Type != tree.Regular {
				rt.Errorf("%s is %s and no file", p, e.Class)
			}
			if e.Class == claim.Volume && e.Type != tree.Directory && !inVolume(r, e) {
				rt.Errorf("%s is in no directory of a volume", p)
			}
		}
	})
}

// taken is true where something is already, or nothing can be below what is.
func taken(w *world, p string) bool {
	if _, ok := w.entries[hostpath.Path(p)]; ok {
		return true
	}
	for d := hostpath.Path(p).Dir(); d != hostpath.Root; d = d.Dir() {
		if e, ok := w.entries[d]; ok && (e.Type != tree.Directory || e.FS != "") {
			return true
		}
	}
	return false
}

func inVolume(r result, e catalog.Placed) bool {
	for _, v := range r.split.Volumes {
		if e.Path.Within(v.Path) {
			return true
		}
	}
	return false
}

// randomDecisions decides about directories that are there; no two alike.
func randomDecisions(rt *rapid.T, dirs, files []string) string {
	var b strings.Builder
	done := map[string]bool{}
	for _, d := range append(append([]string(nil), dirs...), files...) {
		if done[d] || rapid.IntRange(0, 3).Draw(rt, "decide") > 0 {
			continue
		}
		done[d] = true
		classes := []string{"config", "secret", "object", "ephemeral", "drop"}
		if len(done) <= len(dirs) && slices.Contains(dirs, d) {
			classes = append(classes, "volume")
		}
		fmt.Fprintf(&b, "- {path: %q, class: %s, reach: %s}\n", strings.ReplaceAll(d, "\xff", `\xff`), rapid.SampledFrom(classes).Draw(rt, "class"), "tree")
	}
	if b.Len() == 0 {
		return ""
	}
	return "paths:\n" + b.String()
}

// The same host gives the same claims and classes, also after a split that was
// stopped half-way; until a new one is whole the old classes stay.
func TestAgain(t *testing.T) {
	w := newWorld(t)
	w.user("www-data", 33, "/var/www")
	w.unit("b.service", "", "ExecStart=/usr/local/bin/b --data /srv/b", "EnvironmentFile=/etc/b.env")
	w.unit("a.service", "", "ExecStart=/opt/a/bin/a", "StateDirectory=a")
	w.file("/etc/b.env", "A_DIR=/var/lib/one\nB_DIR=/var/lib/two\nC_DIR=/var/lib/three\nTOKEN=Zx81Qq20LmRt77\n")
	for _, p := range []string{"/var/lib/one/x", "/var/lib/two/x", "/var/lib/three/x", "/srv/b/x", "/opt/a/bin/a", "/opt/a/data/x", "/data/x", "/var/lib/a/x"} {
		w.file(p, "x", mode(0o755))
	}
	w.fact(facts.KindScript, "s", facts.Script{Name: "s", StartLevels: []string{"2"}})
	first := w.split()
	again, err := w.try(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(first.split)
	b, _ := json.Marshal(again)
	if diff := cmp.Diff(string(a), string(b)); diff != "" {
		t.Error(diff)
	}

	// Stopped at any point, the old classes are there.
	w.yaml = "paths:\n- {path: /data, class: object}\n"
	for n := range 60 {
		ctx := &stopAfter{Context: context.Background(), n: n}
		if _, err := w.try(ctx); err == nil {
			break
		}
		if got := w.read(first.split).placed["/data/x"].Class; got != claim.Volume {
			t.Fatalf("after a stop at step %d /data/x is %q", n, got)
		}
	}
	w.yaml = ""
	w.check(first)
	last, err := w.try(context.Background())
	if err != nil || last.Digest != first.split.Digest {
		t.Errorf("after stops: digest %s, want %s (%v)", last.Digest, first.split.Digest, err)
	}
}

// stopAfter is cancelled when it was asked n times.
type stopAfter struct {
	context.Context
	n int
}

func (s *stopAfter) Err() error {
	if s.n--; s.n < 0 {
		return context.Canceled
	}
	return nil
}
