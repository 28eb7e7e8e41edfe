package datastore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/statelift/statelift/pipeline/rootfs"
)

// The redo log of MariaDB: storage/innobase/include/log0log.h and log0types.h in
// its source, releases 10.5 to 12. Numbers are big-endian.
const (
	redoBlock      = 512
	format105      = 0x50485953 // MariaDB 10.5 to 10.7
	format108      = 0x50687973 // MariaDB 10.8 and newer
	formatCrypt    = 1 << 31
	start108       = 12288 // of the records, in format108
	start105       = 2048
	checkpoint108  = 16 // bytes of a mini-transaction that is a FILE_CHECKPOINT, in format108
	checkpoint105  = 12
	fileCheckpoint = 0xfa // type and length of that record
	maxMini        = 4 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// redo is what a redo log says.
type redo struct {
	creator string
	known   bool   // its format is
	why     string // it is not, or is broken
	lsn     uint64 // of the newest checkpoint
	clean   bool   // nothing comes behind the checkpoint
}

func judgeInnoDB(root *rootfs.Root, v *Verdict) error {
	log := v.Dir.Join("ib_logfile0")
	f, err := root.Open(log)
	if errors.Is(err, fs.ErrNotExist) {
		return v.noRedo(root)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r, err := readRedo(f, info.Size())
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", log, err)
	case !r.known:
		v.note(Unknown, log, "%s", r.why)
	case r.clean:
		v.note(Clean, log, "nothing comes behind its last checkpoint, %d (%s)", r.lsn, r.creator)
	default:
		v.note(Unclean, log, "changes come behind its last checkpoint, %d (%s): the server did not shut down", r.lsn, r.creator)
	}
	return nil
}

// noRedo is a directory without the redo log that MariaDB and older MySQL have.
func (v *Verdict) noRedo(root *rootfs.Root) error {
	dir := v.Dir.Join("#innodb_redo")
	switch found, err := exists(root, dir); {
	case err != nil:
		return err
	case found:
		v.note(Unknown, dir, "the redo log of MySQL 8.0.30 or newer, which is not judged")
		return nil
	}
	data := v.Dir.Join("ibdata1")
	found, err := exists(root, data)
	if found {
		v.note(Unknown, data, "its redo log is not beside it")
	}
	return err
}

// readRedo reads a redo log of that size.
func readRedo(r io.ReaderAt, size int64) (redo, error) {
	header := make([]byte, redoBlock)
	if size < start105+redoBlock {
		return redo{why: fmt.Sprintf("%d bytes are no redo log", size)}, nil
	}
	if _, err := r.ReadAt(header, 0); err != nil {
		return redo{}, err
	}
	format := binary.BigEndian.Uint32(header)
	out := redo{creator: printable(header[16:48])}
	switch {
	case format == format105 || format == format108:
	case format&^formatCrypt == format105 || format&^formatCrypt == format108:
		out.why = "an encrypted redo log, which is not judged"
		return out, nil
	default:
		out.why = fmt.Sprintf("a redo log of format %#x (%s), which is not judged", format, out.creator)
		return out, nil
	}
	if crc32.Checksum(header[:508], castagnoli) != binary.BigEndian.Uint32(header[508:]) {
		out.why = "a redo log whose header does not fit its checksum"
		return out, nil
	}
	if format == format108 {
		return out, out.read108(r, size, binary.BigEndian.Uint64(header[8:]))
	}
	return out, out.read105(r, size, binary.BigEndian.Uint64(header[8:]))
}

// printable is a text up to its first NUL.
func printable(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, b))
}

// read108 finds the newest of two checkpoints, and whether a mini-transaction
// comes behind the FILE_CHECKPOINT which belongs to it.
func (o *redo) read108(r io.ReaderAt, size int64, first uint64) error {
	var end uint64
	found := false
	for _, at := range []int64{4096, 8192} {
		b := make([]byte, 64)
		if _, err := r.ReadAt(b, at); err != nil {
			return notShort(err, &o.why)
		}
		lsn, upTo := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		if crc32.Checksum(b[:60], castagnoli) == binary.BigEndian.Uint32(b[60:]) && lsn >= first && upTo >= lsn && (!found || lsn > o.lsn) {
			o.lsn, end, found = lsn, upTo, true
		}
	}
	if !found || size <= start108 {
		o.why = "a redo log without a checkpoint that fits its checksum"
		return nil
	}
	o.known = true
	if end != o.lsn {
		return nil
	}
	ring := &ring{r: r, start: start108, size: uint64(size - start108), at: o.lsn - first}
	n, record, err := ring.mini()
	if err != nil || n != checkpoint108 || !isCheckpoint(record, o.lsn) {
		return err
	}
	ring.at += checkpoint108
	n, _, err = ring.mini()
	o.clean = n == 0
	return err
}

// isCheckpoint reports whether the record is a FILE_CHECKPOINT of that checkpoint.
func isCheckpoint(record []byte, lsn uint64) bool {
	return len(record) >= 11 && record[0] == fileCheckpoint && record[1] == 0 && record[2] == 0 && binary.BigEndian.Uint64(record[3:]) == lsn
}

func notShort(err error, why *string) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		*why = "a redo log that is shorter than its header says"
		return nil
	}
	return err
}

// ring is the circular part of a log. at counts from the first record that was
// ever written.
type ring struct {
	r     io.ReaderAt
	start int64
	size  uint64
	at    uint64
}

// read reads from at, and goes on at the start.
func (g *ring) read(b []byte) (int, error) {
	n := 0
	for pos := g.at; n < len(b) && uint64(n) < g.size; {
		off := (pos + uint64(n)) % g.size
		part := b[n:min(len(b), n+int(min(g.size-off, uint64(len(b)))))]
		k, err := g.r.ReadAt(part, g.start+int64(off))
		n += k
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		if k < len(part) {
			break
		}
	}
	return n, nil
}

// sequence is the bit that ends each mini-transaction; it changes with each round
// of the ring.
func (g *ring) sequence(at uint64) byte { return 1 - byte(at/g.size)&1 }

// mini is the length of the mini-transaction at the place, and its records; 0 where
// there is none: records, the sequence bit, CRC-32C of the records.
func (g *ring) mini() (int, []byte, error) {
	for want := 4 << 10; ; want *= 8 {
		b := make([]byte, min(want, maxMini))
		n, err := g.read(b)
		if err != nil {
			return 0, nil, err
		}
		b = b[:n]
		end, more := records(b)
		switch {
		case more && n == min(want, maxMini) && want < maxMini:
			continue
		case more || end == 0 || end+5 > n && (n < min(want, maxMini) || want >= maxMini):
			return 0, nil, nil
		case end+5 > n:
			continue
		}
		bit, sum := b[end], binary.BigEndian.Uint32(b[end+1:])
		if bit != g.sequence(g.at+uint64(end)) || sum != crc32.Checksum(b[:end], castagnoli) {
			return 0, nil, nil
		}
		return end + 5, b[:end], nil
	}
}

// records walks over the records at the start of b to the byte behind the last
// one (log0recv.cc, recv_sys_t::parse). more says that b ends before that.
func records(b []byte) (end int, more bool) {
	for i := 0; ; {
		if i >= len(b) {
			return 0, true
		}
		if b[i] <= 1 {
			return i, false
		}
		n := int(b[i] & 15)
		i++
		if n == 0 {
			if i >= len(b) {
				return 0, true
			}
			length, extra, ok := varint(b[i:])
			if !ok {
				return 0, len(b)-i < 5
			}
			n = extra + 15 - length
			i += length
		}
		if n < 0 || n > maxMini {
			return 0, false
		}
		i += n
	}
}

// varint decodes mtr0log.h's mlog_decode_varint: the first bits say how many bytes
// it has, and each length begins where the one before ends.
func varint(b []byte) (length, value int, ok bool) {
	const (
		min2 = 1 << 7
		min3 = min2 + 1<<14
		min4 = min3 + 1<<21
		min5 = min4 + 1<<28
	)
	at := func(i int) int { return int(b[i]) }
	switch f := at(0); {
	case f < 0x80:
		return 1, f, true
	case f < 0xc0 && len(b) >= 2:
		return 2, min2 + (f&0x3f<<8 | at(1)), true
	case f >= 0xc0 && f < 0xe0 && len(b) >= 3:
		return 3, min3 + (f&0x1f<<16 | at(1)<<8 | at(2)), true
	case f >= 0xe0 && f < 0xf0 && len(b) >= 4:
		return 4, min4 + (f&0x0f<<24 | at(1)<<16 | at(2)<<8 | at(3)), true
	case f == 0xf0 && len(b) >= 5:
		return 5, min5 + (at(1)<<24 | at(2)<<16 | at(3)<<8 | at(4)), true
	}
	return 0, 0, false
}
