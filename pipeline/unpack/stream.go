package unpack

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// errBomb is a stream that grows out of all proportion.
var errBomb = errors.New("a decompression bomb: it unpacks to more than any real data would")

// counter counts what is read, and ends with the context.
type counter struct {
	ctx context.Context
	r   io.Reader
	n   int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// freely is what a stream may unpack to whatever its ratio.
const freely = 1 << 30

// gauge reads the unpacked stream and compares it with the packed one.
type gauge struct {
	packed *counter
	r      io.Reader
	ratio  int64
	n      int64
	// last holds the last block that was read, as far as it is known to be one:
	// tar reads its headers block by block.
	last [blockSize]byte
}

func (g *gauge) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	g.n += int64(n)
	if n >= blockSize {
		copy(g.last[:], p[n-blockSize:n])
	} else if n > 0 {
		copy(g.last[:], g.last[n:])
		copy(g.last[blockSize-n:], p[:n])
	}
	if err == nil && g.n > freely && g.n/g.ratio > g.packed.n {
		return n, fmt.Errorf("%d bytes from %d: %w", g.n, g.packed.n, errBomb)
	}
	return n, err
}

// drain reads what follows the end of the archive, which may be padding only:
// anything else would be lost in silence. It also makes the decompressor check
// its own sums.
func (g *gauge) drain() error {
	buf := make([]byte, 64<<10)
	for total := int64(0); ; {
		n, err := g.Read(buf)
		if !allZero(buf[:n]) {
			return errors.New("data after the end of the archive")
		}
		if total += int64(n); total > 1<<30 {
			return errors.New("more than 1 GiB of padding after the end of the archive")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
