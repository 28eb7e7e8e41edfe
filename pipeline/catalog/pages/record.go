package pages

import (
	"encoding/binary"
	"errors"
	"math"
)

// ErrMalformed is the error for bytes that are no table of SQLite.
var ErrMalformed = errors.New("malformed database")

// Row is a row that is put together column by column, in the record format
// (section 2.1). The zero Row is ready.
type Row struct{ types, body []byte }

// Reset makes the row empty again.
func (r *Row) Reset() { r.types, r.body = r.types[:0], r.body[:0] }

// payload appends the row without its number.
func (r *Row) payload(b []byte) []byte {
	size := len(r.types) + 1
	for varintLen(uint64(size)) > size-len(r.types) {
		size++
	}
	b = appendVarint(b, uint64(size))
	return append(append(b, r.types...), r.body...)
}

// Null adds a column without a value, and so the number of the row where a
// column is its alias.
func (r *Row) Null() { r.types = append(r.types, 0) }

// Int adds an integer.
func (r *Row) Int(v int64) {
	switch {
	case v == 0 || v == 1:
		r.types = append(r.types, byte(8+v))
	case v >= math.MinInt8 && v <= math.MaxInt8:
		r.types = append(r.types, 1)
		r.body = append(r.body, byte(v))
	case v >= math.MinInt16 && v <= math.MaxInt16:
		r.types = append(r.types, 2)
		r.body = binary.BigEndian.AppendUint16(r.body, uint16(v))
	case v >= -1<<23 && v < 1<<23:
		r.types = append(r.types, 3)
		r.body = append(r.body, byte(v>>16), byte(v>>8), byte(v))
	case v >= math.MinInt32 && v <= math.MaxInt32:
		r.types = append(r.types, 4)
		r.body = binary.BigEndian.AppendUint32(r.body, uint32(v))
	case v >= -1<<47 && v < 1<<47:
		r.types = append(r.types, 5)
		r.body = append(r.body, byte(v>>40), byte(v>>32))
		r.body = binary.BigEndian.AppendUint32(r.body, uint32(v))
	default:
		r.types = append(r.types, 6)
		r.body = binary.BigEndian.AppendUint64(r.body, uint64(v))
	}
}

// Text adds a string, which is UTF-8.
func (r *Row) Text(s string) {
	r.types = appendVarint(r.types, 13+2*uint64(len(s)))
	r.body = append(r.body, s...)
}

// Blob adds bytes.
func (r *Row) Blob(s string) {
	r.types = appendVarint(r.types, 12+2*uint64(len(s)))
	r.body = append(r.body, s...)
}

// Record reads the columns of a row in their order. After the last one all are
// NULL. What it returns is valid until the cursor moves.
type Record struct {
	types, body []byte
	err         error
}

func newRecord(payload []byte) Record {
	size, n := varint(payload)
	if n == 0 || size < uint64(n) || size > uint64(len(payload)) {
		return Record{err: ErrMalformed}
	}
	return Record{types: payload[n:size], body: payload[size:]}
}

// Err is the first fault of all columns that were read.
func (r *Record) Err() error { return r.err }

// next is the serial type of the next column, and its bytes.
func (r *Record) next() (typ uint64, value []byte) {
	if len(r.types) == 0 {
		return 0, nil
	}
	typ, n := uint64(r.types[0]), 1
	if typ >= 0x80 {
		if typ, n = varint(r.types); n == 0 {
			return r.fail()
		}
	}
	r.types = r.types[n:]
	size := uint64(0)
	switch {
	case typ >= 12:
		size = (typ - 12) / 2
	case typ == 10 || typ == 11:
		return r.fail()
	default:
		size = uint64(sizes[typ])
	}
	if size > uint64(len(r.body)) {
		return r.fail()
	}
	value, r.body = r.body[:size], r.body[size:]
	return typ, value
}

// sizes of the serial types of numbers and NULL.
var sizes = [10]uint8{0, 1, 2, 3, 4, 6, 8, 8, 0, 0}

func (r *Record) fail() (uint64, []byte) {
	r.types, r.body, r.err = nil, nil, ErrMalformed
	return 0, nil
}

// Skip passes over columns.
func (r *Record) Skip(columns int) {
	for range columns {
		r.next()
	}
}

// Int is an integer; 0 for NULL.
func (r *Record) Int() int64 {
	typ, b := r.next()
	switch typ {
	case 0, 8:
		return 0
	case 9:
		return 1
	case 7:
		r.fail()
		return 0
	}
	if typ >= 12 {
		r.fail()
		return 0
	}
	v := int64(int8(b[0]))
	for _, c := range b[1:] {
		v = v<<8 | int64(c)
	}
	return v
}

// Bytes are those of a TEXT or BLOB; nil for NULL.
func (r *Record) Bytes() []byte {
	typ, b := r.next()
	if typ < 12 {
		if typ != 0 {
			r.fail()
		}
		return nil
	}
	return b
}

// varint reads a big-endian variable-length integer (section 1.6); n is 0 when
// b ends within it.
func varint(b []byte) (v uint64, n int) {
	for i, c := range b {
		if i == 8 {
			return v<<8 | uint64(c), 9
		}
		v = v<<7 | uint64(c&0x7f)
		if c < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}

func varintLen(v uint64) int {
	n := 1
	for ; v >= 0x80 && n < 9; v >>= 7 {
		n++
	}
	return n
}

func appendVarint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	if v >= 1<<56 {
		for shift := 57; shift >= 8; shift -= 7 {
			b = append(b, byte(v>>shift)|0x80)
		}
		return append(b, byte(v))
	}
	for shift := 7 * (varintLen(v) - 1); shift > 0; shift -= 7 {
		b = append(b, byte(v>>shift)|0x80)
	}
	return append(b, byte(v)&0x7f)
}
