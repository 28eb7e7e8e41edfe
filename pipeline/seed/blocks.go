package seed

import (
	"context"
	"crypto/sha256"
	"hash"
)

// DigestBlock is the granularity in which changes of large files are found
// later.
const DigestBlock = 1 << 20

// Blocks computes the SHA-256 of each block of DigestBlock bytes of what is
// written to it. The zero Blocks is ready.
type Blocks struct {
	sums []byte
	hash hash.Hash
	n    int // bytes in hash
}

// Write adds p; it never fails.
func (b *Blocks) Write(p []byte) (int, error) {
	all := len(p)
	if b.hash == nil {
		b.hash = sha256.New()
	}
	for len(p) > 0 {
		k := min(DigestBlock-b.n, len(p))
		b.hash.Write(p[:k])
		p = p[k:]
		if b.n += k; b.n == DigestBlock {
			b.end()
		}
	}
	return all, nil
}

func (b *Blocks) end() {
	if b.n > 0 {
		b.sums = b.hash.Sum(b.sums)
		b.hash.Reset()
		b.n = 0
	}
}

// Digests are those of a file of so many bytes, the last one of what is left;
// nil when something else was written.
func (b *Blocks) Digests(size int64) []byte {
	b.end()
	if int64(len(b.sums)) != DigestsLen(size) {
		return nil
	}
	return b.sums
}

// DigestsLen is how many bytes the digests of a file of so many bytes take.
func DigestsLen(size int64) int64 { return (size + DigestBlock - 1) / DigestBlock * sha256.Size }

// last are the digests of the last raw bytes, which began with a block.
func (b *Blocks) last(raw int64) []byte {
	b.end()
	return b.sums[int64(len(b.sums))-DigestsLen(raw):]
}

// resume adds digests that were computed by a run before.
func (b *Blocks) resume(sums []byte, raw int64) bool {
	b.sums = append(b.sums, sums...)
	return int64(len(sums)) == DigestsLen(raw)
}

// recallBlocks collects the digests of a large file that was cut by a run
// before; nil when they were not remembered.
func (b *builder) recallBlocks(ctx context.Context, key string, mark *fileMark, size int64) ([]byte, error) {
	if b.taken == nil {
		return nil, nil
	}
	all := Blocks{sums: mark.Blocks}
	if len(mark.Parts) > 1 {
		for n, p := range mark.Parts {
			var part partMark
			ok, err := b.recall(ctx, partKey(key, n), &part)
			if err != nil || !ok || !all.resume(part.Blocks, p.Raw) {
				return nil, err
			}
		}
	}
	return all.Digests(size), nil
}
