package store_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
)

// stopAt is a source that fails from at on.
type stopAt struct {
	io.ReaderAt
	at  int64
	err error
}

func (s stopAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= s.at {
		return 0, s.err
	}
	return s.ReaderAt.ReadAt(p, off)
}

// counting counts what is read.
type counting struct {
	io.ReaderAt
	n int64
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

// temporaryOf is where a Dir lets the content of name grow.
func temporaryOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:16])
}
