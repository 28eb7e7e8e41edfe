package datastore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"
)

// redo108 is a log as MariaDB 10.8 has it: checkpoint, FILE_CHECKPOINT, and what
// comes behind it.
func redo108(behind []byte) []byte {
	b := make([]byte, start108+4096)
	binary.BigEndian.PutUint32(b, format108)
	binary.BigEndian.PutUint64(b[8:], start108)
	copy(b[16:], "MariaDB 10.11.6")
	binary.BigEndian.PutUint32(b[508:], crc32.Checksum(b[:508], castagnoli))
	const lsn = start108 + 100
	binary.BigEndian.PutUint64(b[4096:], lsn)
	binary.BigEndian.PutUint64(b[4104:], lsn)
	binary.BigEndian.PutUint32(b[4096+60:], crc32.Checksum(b[4096:4096+60], castagnoli))
	at := start108 + 100
	copy(b[at:], mini(append([]byte{fileCheckpoint, 0, 0}, binary.BigEndian.AppendUint64(nil, lsn)...)))
	copy(b[at+checkpoint108:], behind)
	return b
}

// mini is a mini-transaction of these records in the first round of a log.
func mini(records []byte) []byte {
	return binary.BigEndian.AppendUint32(append(bytes.Clone(records), 1), crc32.Checksum(records, castagnoli))
}

func TestRedo(t *testing.T) {
	long := append([]byte{0x30, 5}, bytes.Repeat([]byte{7}, 19)...) // 5+15 bytes behind the type
	for _, c := range []struct {
		name         string
		log          []byte
		known, clean bool
	}{
		{"ends there", redo108(nil), true, true},
		{"another comes", redo108(mini([]byte{0x33, 1, 2, 3})), true, false},
		{"a long one comes", redo108(mini(long)), true, false},
		{"one of an earlier round", redo108([]byte{0x33, 1, 2, 3, 0, 9, 9, 9, 9}), true, true},
		{"torn", redo108(mini([]byte{0x33, 1, 2, 3})[:6]), true, true},
		{"empty", nil, false, false},
		{"zeros", make([]byte, 1<<14), false, false},
	} {
		r, err := readRedo(bytes.NewReader(c.log), int64(len(c.log)))
		if err != nil || r.known != c.known || r.clean != c.clean {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

// redo105 is a log as MariaDB 10.5 has it, whose data ends at that place of the
// checkpoint's block.
func redo105(record []byte, at int) []byte {
	b := make([]byte, start105+4*redoBlock)
	binary.BigEndian.PutUint32(b, format105)
	binary.BigEndian.PutUint64(b[8:], 2*redoBlock)
	sum := func(block []byte) {
		binary.BigEndian.PutUint32(block[508:], crc32.Checksum(block[:508], castagnoli))
	}
	sum(b[:redoBlock])
	lsn := uint64(2*redoBlock + at)
	c := b[redoBlock : 2*redoBlock]
	binary.BigEndian.PutUint64(c, 7)
	binary.BigEndian.PutUint64(c[8:], lsn)
	sum(c)
	full := append(append([]byte{fileCheckpoint, 0, 0}, binary.BigEndian.AppendUint64(nil, lsn)...), 0)
	full = append(full, record...)
	for i := uint32(0); ; i++ {
		block := b[start105+int(i)*redoBlock:][:redoBlock]
		binary.BigEndian.PutUint32(block, 3+i)
		n := copy(block[at:508], full)
		full = full[n:]
		length := at + n
		if length == 508 {
			length = redoBlock
		}
		binary.BigEndian.PutUint16(block[4:], uint16(length))
		sum(block)
		if at = blockHeader; len(full) == 0 {
			return b
		}
	}
}

func TestRedo105(t *testing.T) {
	for _, c := range []struct {
		name   string
		record []byte
		at     int
		clean  bool
	}{
		{"ends there", nil, 100, true},
		{"ends in the next block", nil, 500, true},
		{"another comes", []byte{0x33, 1, 2, 3, 0}, 100, false},
		{"another comes in the next block", []byte{0x33, 1, 2, 3, 0}, 496, false},
	} {
		log := redo105(c.record, c.at)
		r, err := readRedo(bytes.NewReader(log), int64(len(log)))
		if err != nil || !r.known || r.clean != c.clean {
			t.Errorf("%s: %+v, %v", c.name, r, err)
		}
	}
}

func FuzzRedo(f *testing.F) {
	f.Add(redo108(nil))
	f.Add(redo108(mini([]byte{0x33, 1, 2, 3})))
	f.Add(redo105(nil, 100))
	f.Fuzz(func(t *testing.T, log []byte) {
		for _, size := range []int64{int64(len(log)), 1 << 40} {
			r, err := readRedo(bytes.NewReader(log), size)
			if err == nil && !r.known && (r.why == "" || r.clean) {
				t.Errorf("%+v", r)
			}
		}
		// Past the sums, which no fuzzer finds.
		records(log)
		if len(log) > 0 {
			varint(log)
			g := &ring{r: bytes.NewReader(log), size: uint64(len(log)), at: 1}
			_, _, _ = g.mini()
		}
		blockOf(log, 3)
	})
}

func FuzzControl(f *testing.F) {
	f.Add(make([]byte, controlSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := parseControl(b)
		if c.why == "" && len(b) < controlSumTo {
			t.Errorf("%d bytes are %+v", len(b), c)
		}
	})
}

func FuzzRDB(f *testing.F) {
	f.Add([]byte("REDIS0011\xfa\x09redis-ver\x05255\xff\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("REDIS0003\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ctx := context.Background()
		state, fact, err := readRDB(ctx, bytes.NewReader(b), int64(len(b)))
		if err != nil || fact == "" || state == Live {
			t.Errorf("%s %q %v", state, fact, err)
		}
		if _, err := skipRDB(ctx, bufio.NewReader(bytes.NewReader(b))); err != nil {
			t.Error(err)
		}
	})
}

func FuzzAOF(f *testing.F) {
	f.Add([]byte("*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n"))
	f.Add([]byte("#TS:1\r\n*1\r\n$4\r\nPI"))
	f.Add([]byte("REDIS0011\xff\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		state, fact, err := readAOF(context.Background(), bytes.NewReader(b))
		if err != nil || fact == "" || state == Live {
			t.Errorf("%s %q %v", state, fact, err)
		}
	})
}
