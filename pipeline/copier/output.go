package copier

import (
	"bytes"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
)

// output writes content to a place in a file.
type output struct {
	fd     int
	path   hostpath.Path
	at     int64
	sparse bool // blocks of zeros are left out
}

// copy writes size bytes of content.
func (o *output) copy(content io.Reader, size int64, buf []byte, progress func(int64)) error {
	for size > 0 {
		chunk := buf[:min(int64(len(buf)), size)]
		if _, err := io.ReadFull(content, chunk); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return pathError("copy", o.path, err)
		}
		if err := o.write(chunk); err != nil {
			return pathError("write", o.path, err)
		}
		size -= int64(len(chunk))
		progress(int64(len(chunk)))
	}
	return nil
}

// write writes b, of a file with holes only the blocks that are not all zero.
func (o *output) write(b []byte) error {
	if !o.sparse {
		return o.put(b)
	}
	for len(b) > 0 {
		n := o.run(b, false)
		if err := o.put(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		n = o.run(b, true)
		o.at += int64(n)
		b = b[n:]
	}
	return nil
}

// run is the length of the blocks at the start of b that are zero, or not.
// Blocks lie at multiples of their size in the file.
func (o *output) run(b []byte, zero bool) int {
	n := 0
	for n < len(b) {
		k := min(seed.Block-int((o.at+int64(n))%seed.Block), len(b)-n)
		if allZero(b[n:n+k]) != zero {
			break
		}
		n += k
	}
	return n
}

func (o *output) put(b []byte) error {
	for len(b) > 0 {
		n, err := unix.Pwrite(o.fd, b, o.at)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("nothing was written: %w", io.ErrShortWrite)
		}
		o.at += int64(n)
		b = b[n:]
	}
	return nil
}

// begin lets the disk begin what the flush at the end will wait for
// (sync_file_range(2)). Whether it does makes no difference but in time.
func (o *output) begin(from int64) {
	_ = unix.SyncFileRange(o.fd, from, o.at-from, unix.SYNC_FILE_RANGE_WRITE)
}

func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}
