package unpack

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Format says how an archive is packed.
type Format string

// The formats that can be read.
const (
	Tar  Format = "tar"
	Gzip Format = "tar+gzip"
	Zstd Format = "tar+zstd"
	Xz   Format = "tar+xz"
)

// ErrFormat is wrapped for what is no archive that can be read.
var ErrFormat = errors.New("not a tar archive, plain or packed by gzip, zstd or xz")

// maxWindow bounds the memory that a packed archive may ask for: what
// zstd --long=27 and xz -9 need, and as much again.
const maxWindow = 256 << 20

// recognise tells the format by the first bytes, never by a name. A zstd file
// may begin with a skippable frame (RFC 8878, section 3.1.2).
func recognise(head []byte) (Format, error) {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("\x1f\x8b"):
		return Gzip, nil
	case has("\x28\xb5\x2f\xfd"), len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")):
		return Zstd, nil
	case has("\xfd7zXZ\x00"):
		return Xz, nil
	case has("BZh"):
		return "", fmt.Errorf("packed by bzip2: %w", ErrFormat)
	case has("\x04\x22\x4d\x18"):
		return "", fmt.Errorf("packed by lz4: %w", ErrFormat)
	case has("PK\x03\x04"):
		return "", fmt.Errorf("a zip file: %w", ErrFormat)
	case has("7z\xbc\xaf\x27\x1c"):
		return "", fmt.Errorf("a 7-Zip file: %w", ErrFormat)
	case has("070701"), has("070702"), has("070707"), has("\xc7\x71"):
		return "", fmt.Errorf("a cpio archive: %w", ErrFormat)
	case has("QFI\xfb"):
		return "", fmt.Errorf("a qcow2 disk image: %w", ErrFormat)
	case has("hsqs"):
		return "", fmt.Errorf("a squashfs image: %w", ErrFormat)
	case has("!<arch>\n"):
		return "", fmt.Errorf("an ar archive: %w", ErrFormat)
	case len(head) == 0:
		return "", fmt.Errorf("empty: %w", ErrFormat)
	case isTar(head):
		return Tar, nil
	}
	return "", ErrFormat
}

// isTar checks the sum of a header block, which even the oldest tar has.
func isTar(head []byte) bool {
	if len(head) < blockSize {
		return false
	}
	head = head[:blockSize]
	if allZero(head) {
		return true // an empty archive
	}
	var unsigned, signed int64
	for i, c := range head {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	var want int64
	for _, c := range bytes.Trim(head[148:156], " \x00") {
		if c < '0' || c > '7' {
			return false
		}
		want = want<<3 | int64(c-'0')
	}
	return want == unsigned || want == signed
}

const blockSize = 512

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// Open reads the format of an archive and gives its content unpacked from
// compression. The caller closes it, which does not close r.
func Open(r io.Reader) (io.ReadCloser, Format, error) {
	br := bufio.NewReaderSize(r, 256<<10)
	head, err := br.Peek(blockSize)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	format, err := recognise(head)
	if err != nil {
		return nil, "", err
	}
	switch format {
	case Gzip:
		z, err := gzip.NewReader(br)
		return z, format, err
	case Zstd:
		z, err := zstd.NewReader(br, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(0))
		if err != nil {
			return nil, "", err
		}
		return z.IOReadCloser(), format, nil
	case Xz:
		if err := checkXz(head); err != nil {
			return nil, "", err
		}
		z, err := xz.NewReader(br)
		return io.NopCloser(z), format, err
	}
	return io.NopCloser(br), format, nil
}

// checkXz reads the size of the dictionary from the header of the first block
// (the .xz file format, sections 3.1 and 5.3.1), since the decoder takes that
// much memory without asking.
func checkXz(head []byte) error {
	const streamHeader = 12
	if len(head) < streamHeader+12 {
		return io.ErrUnexpectedEOF
	}
	block := head[streamHeader:]
	if block[0] == 0 {
		return nil // no block
	}
	at := 2
	for _, bit := range []byte{0x40, 0x80} { // optional sizes, variable in length
		if block[1]&bit == 0 {
			continue
		}
		for at < len(block) && block[at]&0x80 != 0 {
			at++
		}
		at++
	}
	const lzma2 = 0x21
	if block[1]&3 != 0 || at+2 >= len(block) || block[at] != lzma2 || block[at+1] != 1 {
		return fmt.Errorf("xz with other filters than LZMA2: %w", ErrFormat)
	}
	size, err := lzma.DecodeDictCap(block[at+2])
	if err != nil {
		return err
	}
	if size > maxWindow {
		return fmt.Errorf("xz needs %d MiB of memory, more than %d are not given: %w", size>>20, maxWindow>>20, ErrFormat)
	}
	return nil
}
