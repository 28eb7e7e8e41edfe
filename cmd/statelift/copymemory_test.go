package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/carrier"
	"github.com/statelift/statelift/pipeline/carrier/registryserver"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/seed"
	"github.com/statelift/statelift/pipeline/seed/seedtest"
	"github.com/statelift/statelift/pipeline/store/storetest/s3server"
)

// copyMemory is what a copy's Pod may take.
const copyMemory = 256 << 20

// The copier stays below its memory, with many files and with large ones, and
// with more workers than there are processors. (Ten times as many files and
// sixteen times as large ones were measured by hand: it takes the same.)
func TestCopyMemory(t *testing.T) {
	source, layout := t.TempDir(), t.TempDir()
	noise := rand.NewChaCha8(sha256.Sum256([]byte("memory")))
	buf := make([]byte, 1<<20)
	for i := range 20_000 {
		dir := filepath.Join(source, "small", fmt.Sprint(i/200))
		if i%200 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		noise.Read(buf[:64])
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), buf[:i%5000], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"large1", "large2"} {
		f, err := os.Create(filepath.Join(source, name))
		if err != nil {
			t.Fatal(err)
		}
		for range 128 {
			noise.Read(buf)
			if _, err := f.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
		f.Close()
	}
	b := seedtest.Build(t, source, layout, seed.Options{})
	reg, s3 := registryserver.Start(t), s3server.Start(t)
	t.Setenv("AWS_ACCESS_KEY_ID", s3.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s3.Secret)
	statelift := program(t)
	for _, place := range []string{carrier.InRegistry(reg.Host).String(), s3.Spec("", "lift")} {
		carry(t, place, seedtest.Open(t, layout).Blobs(), func(d oci.Digest) string {
			name, err := carrier.BlobFile(layout, d)
			if err != nil {
				t.Fatal(err)
			}
			return name
		})
		// Of a child of this process, getrusage(2) would tell the most of both:
		// what a process had before execve(2) counts as its own.
		peakFile := filepath.Join(t.TempDir(), "peak")
		cmd := exec.Command("/usr/bin/time", "-f", "%M", "-o", peakFile, statelift, "copy", "--workers", "8", "--seed", place+"@"+string(b.Manifest.Digest), "--to", t.TempDir())
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil || !receiptIn(t, string(out)).Proved {
			t.Fatalf("%s: %v\n%s%s", place, err, out, &stderr)
		}
		kib, err := os.ReadFile(peakFile)
		if err != nil {
			t.Fatal(err)
		}
		peak, err := strconv.ParseInt(strings.TrimSpace(string(kib)), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		peak <<= 10
		t.Logf("%s: %d MiB", place, peak>>20)
		if peak > copyMemory {
			t.Errorf("%s: peak memory of %d MiB", place, peak>>20)
		}
	}
}

// program is statelift as it is shipped: neither under the race detector nor
// linked dynamically.
func program(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("STATELIFT_BINARY"); name != "" {
		return name
	}
	name := filepath.Join(t.TempDir(), "statelift")
	cmd := exec.Command("go", "build", "-trimpath", "-o", name, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return name
}
