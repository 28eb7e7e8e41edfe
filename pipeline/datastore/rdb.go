package datastore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"strconv"
)

// The snapshot format of Redis: rdb.h, rdb.c and crc64.c in its source. A snapshot
// is "REDIS", four digits of the version, opcodes, 0xff and, since version 5, CRC-64
// of all before it, little-endian, or zeros when rdbchecksum is off.
const (
	rdbMagic  = "REDIS"
	rdbEnd    = 0xff
	rdbSummed = 5
)

// jones is the polynomial of crc64.c in the form that hash/crc64 wants.
var jones = crc64.MakeTable(0x95ac9329ac4bc9b5)

// rdbSum goes on with a sum: hash/crc64 inverts before and after, crc64.c does not.
func rdbSum(sum uint64, b []byte) uint64 { return ^crc64.Update(^sum, jones, b) }

// rdbVersion reads the first nine bytes.
func rdbVersion(head []byte) (int, bool) {
	if len(head) < 9 || string(head[:5]) != rdbMagic {
		return 0, false
	}
	n, err := strconv.Atoi(string(head[5:9]))
	return n, err == nil && n > 0
}

// readRDB judges a snapshot of that size.
func readRDB(ctx context.Context, r io.Reader, size int64) (State, string, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	head, err := in.Peek(9)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", "", err
	}
	version, ok := rdbVersion(head)
	if !ok {
		return Unknown, "no snapshot of Redis", nil
	}
	tail := int64(1)
	if version >= rdbSummed {
		tail += 8
	}
	if size < 9+tail {
		return Unclean, "a snapshot that was cut off", nil
	}
	sum, err := sumUpTo(ctx, in, size-tail)
	if err != nil {
		return cutOff(err)
	}
	end := make([]byte, tail)
	if _, err := io.ReadFull(in, end); err != nil {
		return cutOff(err)
	}
	if end[0] != rdbEnd {
		return Unclean, "a snapshot that was cut off", nil
	}
	if version < rdbSummed {
		return Clean, fmt.Sprintf("a whole snapshot of version %d, which has no checksum", version), nil
	}
	switch want := binary.LittleEndian.Uint64(end[1:]); want {
	case 0:
		return Clean, "a whole snapshot without a checksum (rdbchecksum no)", nil
	case rdbSum(sum, end[:1]):
		return Clean, "a whole snapshot that fits its checksum", nil
	}
	return Unclean, "a snapshot that does not fit its checksum", nil
}

func cutOff(err error) (State, string, error) {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return Unclean, "a snapshot that was cut off", nil
	}
	return "", "", err
}

// sumUpTo sums n bytes.
func sumUpTo(ctx context.Context, r io.Reader, n int64) (sum uint64, err error) {
	b := make([]byte, 128<<10)
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		k, err := io.ReadFull(r, b[:min(n, int64(len(b)))])
		sum = rdbSum(sum, b[:k])
		n -= int64(k)
		if err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// skipRDB reads past a snapshot at the start of an append-only file. Where it ends
// is where the sum of all before fits; a snapshot without one cannot be passed.
func skipRDB(ctx context.Context, in *bufio.Reader) (passed bool, err error) {
	var sum uint64
	for n := 0; ; n++ {
		if n&(1<<20-1) == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		b, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		sum = jones[byte(sum)^b] ^ sum>>8
		if b != rdbEnd {
			continue
		}
		end, err := in.Peek(8)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		if len(end) == 8 && binary.LittleEndian.Uint64(end) == sum {
			_, err := in.Discard(8)
			return true, err
		}
	}
}
