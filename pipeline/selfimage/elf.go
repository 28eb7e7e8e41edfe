package selfimage

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
)

// ErrDynamic is wrapped for a program that needs a loader and libraries, which
// an image with nothing else does not have.
var ErrDynamic = errors.New("it is linked dynamically: build it with CGO_ENABLED=0 (make build does)")

// Architecture is what a program is for, as GOARCH. The error is ErrDynamic for
// one of which no image can be made.
func Architecture(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	arch, err := architecture(f)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return arch, nil
}

// architecture is what the program is for. It must be a static ELF program of
// Linux: one without an interpreter (elf(5), PT_INTERP).
func architecture(f *os.File) (string, error) {
	program, err := elf.NewFile(f)
	if err != nil {
		return "", fmt.Errorf("no ELF program: %w", err)
	}
	for _, p := range program.Progs {
		if p.Type == elf.PT_INTERP {
			return "", ErrDynamic
		}
	}
	if program.Type != elf.ET_EXEC && program.Type != elf.ET_DYN {
		return "", fmt.Errorf("an ELF file of type %v is no program", program.Type)
	}
	names := map[elf.Machine]string{
		elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64", elf.EM_ARM: "arm", elf.EM_386: "386",
		elf.EM_RISCV: "riscv64", elf.EM_S390: "s390x", elf.EM_PPC64: "ppc64le", elf.EM_LOONGARCH: "loong64",
	}
	if arch, ok := names[program.Machine]; ok {
		return arch, nil
	}
	return "", fmt.Errorf("a program for %v", program.Machine)
}
