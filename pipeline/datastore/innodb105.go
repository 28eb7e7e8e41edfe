package datastore

import (
	"encoding/binary"
	"hash/crc32"
	"io"
)

// Blocks of 512 bytes, as MariaDB had them up to 10.7: a header of 12 bytes (number
// with a flush bit, length, first group, checkpoint), data, CRC-32C.
const (
	blockHeader = 12
	blockData   = redoBlock - blockHeader - 4
)

// read105 finds the newest of two checkpoints, and whether the log ends behind the
// FILE_CHECKPOINT which belongs to it.
func (o *redo) read105(r io.ReaderAt, size int64, first uint64) error {
	var number uint64
	found := false
	for _, at := range []int64{redoBlock, 3 * redoBlock} {
		b := make([]byte, redoBlock)
		if _, err := r.ReadAt(b, at); err != nil {
			return notShort(err, &o.why)
		}
		n, lsn := binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])
		if blockSum(b) && lsn >= first && (!found || n > number) {
			number, o.lsn, found = n, lsn, true
		}
	}
	if !found {
		o.why = "a redo log without a checkpoint that fits its checksum"
		return nil
	}
	// The end of a block cannot be an LSN: it lies in the data.
	if in := o.lsn % redoBlock; in < blockHeader || in >= redoBlock-4 {
		o.why = "a redo log whose checkpoint lies outside of its records"
		return nil
	}
	o.known = true
	g := &ring{r: r, start: start105, size: uint64(size-start105) / redoBlock * redoBlock, at: o.lsn - first}
	g.at -= g.at % redoBlock
	return o.behind105(g)
}

// behind105 reads the checkpoint's block and the one behind it: the record may lie
// in both.
func (o *redo) behind105(g *ring) error {
	var data []byte
	at := int(o.lsn%redoBlock) - blockHeader // in data
	for i := range uint64(3) {
		b := make([]byte, redoBlock)
		n, err := (&ring{r: g.r, start: g.start, size: g.size, at: g.at + i*redoBlock}).read(b)
		if err != nil {
			return err
		}
		part, more := blockOf(b[:n], o.lsn/redoBlock+i)
		data = append(data, part...)
		if !more {
			break
		}
	}
	o.clean = len(data) == at+checkpoint105 && isCheckpoint(data[at:], o.lsn)
	return nil
}

// blockOf is the data of the block with that number; more says that it is full, so
// that another may follow.
func blockOf(b []byte, lsnBlock uint64) (data []byte, more bool) {
	if len(b) < redoBlock || !blockSum(b) || uint64(binary.BigEndian.Uint32(b)&^(1<<31)) != (lsnBlock&0x3fffffff)+1 {
		return nil, false
	}
	switch n := int(binary.BigEndian.Uint16(b[4:])); {
	case n == redoBlock:
		return b[blockHeader : redoBlock-4], true
	case n > blockHeader && n < redoBlock-4:
		return b[blockHeader:n], false
	}
	return nil, false
}

func blockSum(b []byte) bool {
	return crc32.Checksum(b[:redoBlock-4], castagnoli) == binary.BigEndian.Uint32(b[redoBlock-4:])
}
