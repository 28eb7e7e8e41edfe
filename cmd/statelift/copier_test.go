package main

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/pipeline/decisions"
)

// TestCopierArchitecture: the plan is told what the program is for that a
// cluster's nodes have to run.
func TestCopierArchitecture(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_AARCH64), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	var data bytes.Buffer
	if err := binary.Write(&data, binary.LittleEndian, header); err != nil {
		t.Fatal(err)
	}
	arm, text := filepath.Join(dir, "statelift-arm64"), filepath.Join(dir, "text")
	for name, content := range map[string][]byte{arm: data.Bytes(), text: []byte("statelift")} {
		if err := os.WriteFile(name, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for copier, want := range map[string]string{"": elfOf(t), arm: "arm64"} {
		d, err := request{Copier: copier}.deps(decisions.Decisions{}, false)
		if err != nil || d.CopierArch != want || d.Copier != copier {
			t.Errorf("--copier %q: %q, %v, want %q", copier, d.CopierArch, err, want)
		}
	}
	for copier, says := range map[string]string{text: "no ELF program", filepath.Join(dir, "none"): "no such file", "/bin/ls": "CGO_ENABLED=0"} {
		err := checkFar(request{Copier: copier})
		if err == nil || !strings.Contains(err.Error(), says) || exitCode(t.Context(), err) != exitUsage {
			t.Errorf("--copier %s: %v", copier, err)
		}
	}
}

// elfOf is what this very program is for.
func elfOf(t *testing.T) string {
	t.Helper()
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
}
