package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/store/storetest"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// childSpec makes this program put all of [load] into the store that it names,
// and end: what the tests below kill.
const childSpec = "STATELIFT_TEST_STORE"

func TestMain(m *testing.M) {
	if spec := os.Getenv(childSpec); spec != "" {
		if err := putAll(spec); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// load is what is put, in this order.
func load() []store.Object {
	var all []store.Object
	for i, size := range []int{0, 10, 70_000, 3 * mib, 1, 300_000, 13 * mib, 99} {
		name := fmt.Sprintf("load/%02d/x", i)
		all = append(all, storetest.ObjectOf(name, storetest.Content(name, size)))
	}
	return all
}

func putAll(spec string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, spec, store.Options{PartSize: 5 * mib, Parallel: 2})
	if err != nil {
		return err
	}
	for _, o := range load() {
		content := storetest.Content(o.Name, int(o.Size))
		if _, err := s.Put(ctx, o.Name, bytes.NewReader(content), o); err != nil {
			return err
		}
	}
	return s.Close()
}

// killLoop runs the child and kills it at random moments until it ends by
// itself, then checks that s holds exactly the load; after each kill every
// object that can be seen has to be whole. It returns how many were killed.
func killLoop(t *testing.T, s store.Store, spec string, env []string, longest time.Duration) (killed int) {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	all := load()
	for ; ; killed++ {
		// Later children get more time, or a slow machine would never end.
		life := time.Duration(rnd.Int64N(int64(longest))) + time.Duration(killed)*longest/10
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(append(os.Environ(), childSpec+"="+spec), env...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		must(t, cmd.Start())
		timer := time.AfterFunc(life, func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			break
		}
		if cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child: %v\n%s", err, stderr.String())
		}
		for _, o := range all {
			if err := store.Verify(t.Context(), s, o); err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Errorf("after %d kills: %v", killed+1, err)
			}
		}
	}
	for _, o := range all {
		if err := store.Verify(t.Context(), s, o); err != nil {
			t.Error(err)
		}
	}
	return killed
}

// tree is every file below dir with its content's digest by sha256sum.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(p, dir)
		if d.IsDir() {
			files[rel] = "directory"
			return nil
		}
		files[rel] = sumOnDisk(t, p)
		return nil
	})
	must(t, err)
	return files
}

// A directory that was filled by killed processes is byte for byte the one that
// was filled in peace.
func TestDirKilled(t *testing.T) {
	t.Parallel()
	calm := t.TempDir()
	must(t, putAll(calm))
	dir := t.TempDir()
	s := openDir(t, dir)
	killed := killLoop(t, s, dir, nil, 400*time.Millisecond)
	t.Logf("%d kills", killed)
	if diff := cmp.Diff(tree(t, calm), tree(t, dir)); diff != "" {
		t.Errorf("after %d kills (-calm +killed):\n%s", killed, diff)
	}
}

func TestS3Killed(t *testing.T) {
	t.Parallel()
	e := newBed(t, s3server.Start(t))
	s := e.open(t, store.Options{})
	env := []string{"AWS_ACCESS_KEY_ID=" + e.server.Access, "AWS_SECRET_ACCESS_KEY=" + e.server.Secret}
	killed := killLoop(t, s, e.server.Spec("", e.prefix), env, 600*time.Millisecond)
	t.Logf("%d kills", killed)
	for _, o := range load() {
		if got := sumOnDisk(t, e.file(o.Name)); got != o.SHA256 {
			t.Errorf("%s: sha256sum says %s, want %s", o.Name, got, o.SHA256)
		}
		noUploads(t, e, o.Name)
	}
}
