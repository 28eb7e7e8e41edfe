package source

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/sh"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

type memory map[string]string

func (m memory) Lookup(_ context.Context, item string) (string, bool, error) {
	mark, ok := m[item]
	return mark, ok, nil
}
func (m memory) Commit(_ context.Context, item, mark string) error { m[item] = mark; return nil }

type silent struct{}

func (silent) Begin(string, string, int64) {}
func (silent) Add(int64)                   {}
func (silent) End()                        {}

func newEnv(t testing.TB) *pipeline.Env {
	return &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: workspace.Workspace{Dir: t.TempDir()}, Ledger: memory{}, Progress: silent{}}
}

// host makes the smallest root file system that is one.
func host(t testing.TB) string {
	dir := t.TempDir()
	sh.Run(t, dir, "mkdir -p etc usr/bin; echo ID=x > etc/os-release; echo root:x:0:0::/: > etc/passwd; echo hi > usr/bin/x; chown 7:8 usr/bin/x")
	return dir
}

func TestDirectories(t *testing.T) {
	ctx := context.Background()
	dir := host(t)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]handoff.Source{
		"/":       {Spec: "/", Kind: "root", Root: "/"},
		"/usr/..": {Spec: "/usr/..", Kind: "root", Root: "/"},
		dir:       {Spec: dir, Kind: "directory", Root: dir},
		dir + "/": {Spec: dir + "/", Kind: "directory", Root: dir},
		link:      {Spec: link, Kind: "directory", Root: dir},
	} {
		got, err := New(Options{Spec: spec}).Run(ctx, newEnv(t))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", spec, err, diff)
		}
		if changed, err := Changed(ctx, got); changed || err != nil {
			t.Errorf("%s: changed %v, %v", spec, changed, err)
		}
	}
	src := handoff.Source{Kind: "directory", Root: dir}
	if err := os.RemoveAll(filepath.Join(dir, "etc")); err != nil {
		t.Fatal(err)
	}
	if changed, err := Changed(ctx, src); !changed || err != nil {
		t.Errorf("without /etc: changed %v, %v", changed, err)
	}
}

// TestUnusable has every bad source that a user may name, and what is said.
func TestUnusable(t *testing.T) {
	dir := t.TempDir()
	sh.Run(t, dir, `
mkdir -p empty half/etc; mkfifo fifo; echo hello > text; : > nothing
mkdir -p norel/etc norel/usr
mkdir x; echo y > x/y; tar cf noroot.tar x; tar cf hostile.tar -P /etc/hostname
tar c x | gzip | head -c 60 > cut.tar.gz`)
	for spec, want := range map[string]string{
		"":                               "none was given",
		dir + "/none":                    "no such file or directory",
		dir + "/empty":                   "not a root file system: it has no /etc, and no /usr, /bin or /var, and no /etc/os-release or /etc/passwd",
		dir + "/half":                    "it has no /usr, /bin or /var, and no",
		dir + "/norel":                   "it has no /etc/os-release or /etc/passwd",
		dir + "/fifo":                    "neither a directory nor an archive (a FIFO)",
		"/dev/null":                      "neither a directory nor an archive (a device)",
		dir + "/text":                    "not a tar archive",
		dir + "/nothing":                 "empty: not a tar archive",
		dir + "/noroot.tar":              "not a root file system",
		dir + "/hostile.tar":             "entry /etc/hostname: its name is absolute",
		dir + "/cut.tar.gz":              "truncated",
		"git::https://x.example/y":       "git:: is not supported",
		"s3::https://x.example/y":        "s3:: is not supported",
		"ftp://x.example/y.tar":          "ftp is not supported",
		"https://x.example/":             "does not name a file",
		"https://x.example/a//b.tar":     "does not name a file",
		"https:///x.tar":                 "does not name a file",
		"file://other.example/x.tar":     "a file URL with a host",
		dir + "/text?checksum=zz":        "a checksum is TYPE:HEX",
		dir + "/text?checksum=sha256:00": "a checksum is TYPE:HEX",
		"http://x.example/a.tar?checksum=file:http://y": "a checksum is TYPE:HEX",
		"https://u:hunter2@x.example/%zz":               "not a URL",
	} {
		env := newEnv(t)
		_, err := New(Options{Spec: spec}).Run(context.Background(), env)
		var input *pipeline.InputError
		if !errors.As(err, &input) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an InputError with %q", spec, err, want)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error has the password: %v", spec, err)
		}
		if list, _ := filepath.Glob(env.Workspace.Dir + "/{.,}*"); len(list) > 0 {
			t.Errorf("%s: left %v", spec, list)
		}
	}
}

func TestArchive(t *testing.T) {
	ctx := context.Background()
	dir, out := host(t), t.TempDir()
	sh.Run(t, dir, "tar cf "+out+"/dot.tar .; tar czf "+out+"/plain.tgz etc usr; cd ..; tar c --transform 's,^"+filepath.Base(dir)+",top,' "+filepath.Base(dir)+" | zstd -q > "+out+"/top.any")
	for file, want := range map[string]struct{ format, top string }{
		"dot.tar": {"tar", ""}, "plain.tgz": {"tar+gzip", ""}, "top.any": {"tar+zstd", "/top"},
	} {
		t.Run(file, func(t *testing.T) {
			env := newEnv(t)
			sum := strings.Fields(sh.Run(t, out, "sha256sum "+file))[0]
			spec := "file://" + out + "/" + file + "?checksum=sha256:" + sum
			got, err := New(Options{Spec: spec}).Run(ctx, env)
			if err != nil {
				t.Fatal(err)
			}
			if got.Kind != "archive" || got.Root != env.Workspace.Path("source")+want.top || got.Archive.Format != want.format ||
				got.Archive.SHA256 != sum || got.Archive.Path != filepath.Join(out, file) || got.Archive.Entries < 5 {
				t.Errorf("got %+v, %+v", got, got.Archive)
			}
			if owner := sh.Run(t, got.Root, "stat -c %u:%g usr/bin/x"); owner != "7:8\n" {
				t.Errorf("owner %s", owner)
			}
			before := sh.Run(t, got.Root, "stat -c %z usr/bin/x")
			again, err := New(Options{Spec: spec}).Run(ctx, env)
			if diff := cmp.Diff(got, again); err != nil || diff != "" {
				t.Errorf("the second time: %v\n%s", err, diff)
			}
			if after := sh.Run(t, got.Root, "stat -c %z usr/bin/x"); after != before {
				t.Error("it was unpacked a second time")
			}
			if changed, err := Changed(ctx, got); changed || err != nil {
				t.Errorf("changed %v, %v", changed, err)
			}
			sh.Run(t, out, "touch -d 2011-01-01 "+file)
			if changed, err := Changed(ctx, got); !changed || err != nil {
				t.Errorf("after a touch: changed %v, %v", changed, err)
			}
			if _, err := New(Options{Spec: spec}).Run(ctx, env); err != nil {
				t.Error(err)
			}
			if after := sh.Run(t, got.Root, "stat -c %z usr/bin/x"); after == before {
				t.Error("a changed archive was not unpacked again")
			}
			wrong := strings.Replace(sum, sum[:4], "0000", 1)
			_, err = New(Options{Spec: filepath.Join(out, file), Checksum: wrong}).Run(ctx, newEnv(t))
			if !errors.As(err, new(*pipeline.InputError)) || !strings.Contains(err.Error(), "its checksum is "+sum+", and should be "+wrong) {
				t.Errorf("with a wrong checksum: %v", err)
			}
		})
	}
}

// TestStopped kills the unpacking half way, in every way that leaves a trace.
func TestStopped(t *testing.T) {
	dir, out := host(t), t.TempDir()
	sh.Run(t, dir, "tar --format=pax -cf "+out+"/a.tar .")
	env := newEnv(t)
	sh.Run(t, env.Workspace.Dir, "mkdir -p .source.new/half source/old; echo x > .source.new/half/f")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := New(Options{Spec: out + "/a.tar"}).Run(ctx, env); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	got, err := New(Options{Spec: out + "/a.tar"}).Run(context.Background(), env)
	if err != nil {
		t.Fatal(err)
	}
	want := sh.Run(t, dir, "find . -printf '%P %m %U %G %T@\n' | sort")
	if diff := cmp.Diff(want, sh.Run(t, got.Root, "find . -printf '%P %m %U %G %T@\n' | sort")); diff != "" {
		t.Errorf("(-source +unpacked):\n%s", diff)
	}
	if list := sh.Run(t, env.Workspace.Dir, "ls -A"); list != "source\n" {
		t.Errorf("left: %s", list)
	}
}

// TestNotRoot runs the archive case in a process of nobody.
func TestNotRoot(t *testing.T) {
	if os.Getenv("SOURCE_AS_NOBODY") != "" {
		_, err := New(Options{Spec: os.Getenv("SOURCE_AS_NOBODY")}).Run(context.Background(), newEnv(t))
		if !errors.As(err, new(*pipeline.InputError)) || !strings.Contains(err.Error(), "by root only") {
			t.Errorf("got %v", err)
		}
		return
	}
	dir := t.TempDir()
	sh.Run(t, host(t), "tar cf "+dir+"/a.tar .; cp /proc/$PPID/exe "+dir+"/test; chmod -R a+rX "+dir+"; chmod a+x "+filepath.Dir(dir))
	cmd := exec.Command(dir+"/test", "-test.run=^TestNotRoot$")
	cmd.Env = append(os.Environ(), "SOURCE_AS_NOBODY="+dir+"/a.tar", "TMPDIR=/tmp")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestRedact(t *testing.T) {
	for spec, want := range map[string]string{
		"/srv/a b":                     "/srv/a b",
		"bad\xffname":                  `bad\xffname`,
		"https://h.example/x.tar":      "https://h.example/x.tar",
		"https://u:p@h.example/x":      "https://[redacted]@h.example/x",
		"https://token@h.example/x":    "https://[redacted]@h.example/x",
		"https://h/x?sig=s&checksum=y": "https://h/x?sig=[redacted]&checksum=y",
		"https://u:p%zz@h/x":           "https://[redacted]",
	} {
		if got := Redact(spec); got != want {
			t.Errorf("%s: got %s, want %s", spec, got, want)
		}
	}
}
