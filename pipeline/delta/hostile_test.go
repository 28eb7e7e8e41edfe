package delta_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline/copier"
	"github.com/statelift/statelift/pipeline/delta"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
)

func hostPath(p string) hostpath.Path { return hostpath.Path(p) }

// craft stores a delta that says anything. The tree digest is right, so that
// nothing but the check in question can refuse it.
func craft(t testing.TB, l *lift, changes, listing string) (*delta.Delta, error) {
	t.Helper()
	c := seedtest.Craft{T: t, Layout: l.layout}
	sum := sha256.Sum256([]byte(listing))
	config := c.JSON(delta.MediaConfig, delta.Config{
		Version: delta.Version, Volume: "data", Seed: l.seed.Manifest.Digest, Number: 1,
		From: l.seed.Config.Tree, To: hex.EncodeToString(sum[:]), Changes: c.Pack([]byte(changes)),
	})
	p := c.Pack([]byte(changes))
	m := c.JSON(oci.MediaManifest, oci.Manifest{
		SchemaVersion: 2, MediaType: oci.MediaManifest, ArtifactType: delta.ArtifactType, Config: config,
		Layers: []oci.Descriptor{{MediaType: delta.MediaChanges, Digest: p.Digest, Size: p.Size}},
	})
	return delta.Open(t.Context(), l.layout, c.JSON(oci.MediaIndex, oci.Index{SchemaVersion: 2, MediaType: oci.MediaIndex, Manifests: []oci.Descriptor{m}}))
}

func hostileLift(t testing.TB) (l *lift, lines []string) {
	t.Helper()
	source := t.TempDir()
	sh.Run(t, source, `echo a > a; mkdir d; chmod 755 d . ; ln -s /etc s`)
	l = begin(t, source, seed.Limits{})
	r, err := l.seed.Listing(t.Context())
	l.ok(err)
	defer r.Close()
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := r.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			break
		}
	}
	return l, strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// A delta that leads out of the volume, or asks for what cannot be, is refused
// before anything is written.
func TestHostileDeltas(t *testing.T) {
	zero := strings.Repeat("0", 64)
	line := func(path string) string { return "f\t0644\t0\t0\t4\t0\t-\t-\t-\t" + zero + "\t" + path + "\n" }
	for name, changes := range map[string]string{
		"up":                      "+\t" + line("/../x"),
		"up in the middle":        "+\t" + line("/d/../../x"),
		"relative":                "+\t" + line("x"),
		"through a symlink":       "+\t" + line("/s/passwd"),
		"below a file":            "+\t" + line("/a/b"),
		"without a parent":        "+\t" + line("/none/b"),
		"twice":                   "+\t" + line("/b") + "+\t" + line("/b"),
		"out of order":            "+\t" + line("/c") + "+\t" + line("/b"),
		"the root removed":        "-\t/\n",
		"up removed":              "-\t/../x\n",
		"what is not there":       "-\t/none\n",
		"the marker's name":       "+\t" + line("/.statelift-copy.d"),
		"cut off":                 "+\t" + strings.TrimSuffix(line("/b"), "\n"),
		"unknown kind":            "?\t/b\n",
		"a patch of nothing":      "~\t{}\n",
		"a patch beyond the file": "+\t" + line("/b") + `~	{"base":"` + zero + `","size":1,"blobs":[{"raw":5,"runs":[{"at":0,"raw":5}]}]}` + "\n",
		"a patch before it":       "+\t" + line("/b") + `~	{"base":"` + zero + `","size":1,"blobs":[{"raw":1,"runs":[{"at":-1,"raw":1}]}]}` + "\n",
		"runs that overflow":      "+\t" + line("/b") + `~	{"base":"` + zero + `","size":1,"blobs":[{"raw":9223372036854775807,"runs":[{"at":9223372036854775807,"raw":9223372036854775807}]}]}` + "\n",
		"content that is nowhere": "+\t" + line("/b"),
	} {
		t.Run(name, func(t *testing.T) {
			l, lines := hostileLift(t)
			target := t.TempDir()
			l.apply(target)
			before := sh.Run(t, target, `find . -printf '%p %y %s %T@\n' | sort`)
			listing := strings.Join(lines, "\n")
			if added, ok := strings.CutPrefix(changes, "+\t"); ok && name != "twice" && name != "out of order" {
				record, _, _ := strings.Cut(added, "\n")
				listing += "\n" + record
			}
			d, err := craft(t, l, changes, listing+"\n")
			if err != nil {
				return
			}
			o := l.applyOptions(target, delta.ProofOf(l.receipt))
			o.Deltas = []*delta.Delta{d}
			r, err := delta.Apply(t.Context(), o)
			if err == nil {
				t.Fatalf("it was applied: %+v", r)
			}
			after := sh.Run(t, target, `find . ! -path './.statelift*' -printf '%p %y %s %T@\n' | sort`)
			if name == "content that is nowhere" { // found out late: the stage was made
				return
			}
			if after != before {
				t.Errorf("%v, and it wrote:\n%s\n%s", err, before, after)
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(target), "x")); err == nil {
				t.Error("it wrote outside of the volume")
			}
		})
	}
}

// A directory of something else is not emptied.
func TestAForeignDirectoryIsLeftAlone(t *testing.T) {
	l, _ := hostileLift(t)
	sh.Run(t, l.source, `echo b > b`)
	l.round()
	target := t.TempDir()
	sh.Run(t, target, `mkdir home; echo precious > home/x`)
	if _, err := delta.Apply(t.Context(), l.applyOptions(target, delta.Proof{})); err == nil || !strings.Contains(err.Error(), copier.ErrOccupied.Error()) {
		t.Errorf("err = %v", err)
	}
	if got := sh.Run(t, target, `cat home/x`); got != "precious\n" {
		t.Errorf("home/x = %q", got)
	}
}

// Whatever a list of changes says, reading it ends with an error or a listing.
func FuzzChanges(f *testing.F) {
	zero := strings.Repeat("0", 64)
	f.Add("-\t/a\n")
	f.Add("+\tf\t0644\t0\t0\t4\t0\t-\t-\t-\t" + zero + "\t/b\n")
	f.Add("+\tf\t0644\t0\t0\t4\t0\t-\t-\t-\t" + zero + "\t/b\n~\t" + fmt.Sprintf(`{"base":%q,"size":1,"blobs":[{"raw":1,"runs":[{"at":0,"raw":1}]}]}`, zero) + "\n")
	l, _ := hostileLift(f)
	f.Fuzz(func(t *testing.T, changes string) {
		d, err := craft(t, l, changes, "")
		if err != nil {
			return
		}
		_ = delta.Check(t.Context(), l.seed, []*delta.Delta{d})
	})
}
