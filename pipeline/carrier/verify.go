package carrier

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/statelift/statelift/pipeline/oci"
)

// verified compares size and digest of what it reads: io.EOF comes only when
// both were right.
type verified struct {
	ctx  context.Context
	in   io.ReadCloser
	from string
	sum  hash.Hash // nil compares the size only
	want oci.Digest
	left int64
}

func verify(ctx context.Context, in io.ReadCloser, from string, d oci.Digest, size int64) io.ReadCloser {
	return &verified{ctx: ctx, in: in, from: from, sum: sha256.New(), want: d, left: size}
}

func (v *verified) Read(p []byte) (int, error) {
	if err := v.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := v.in.Read(p)
	if v.sum != nil {
		v.sum.Write(p[:n])
	}
	v.left -= int64(n)
	switch {
	case v.left < 0:
		return 0, v.damaged("it is longer than it should be")
	case err == nil:
		return n, nil
	case err != io.EOF:
		return n, err
	case v.left > 0:
		return 0, v.damaged(fmt.Sprintf("%d bytes at its end are missing", v.left))
	}
	if v.sum == nil {
		return n, io.EOF
	}
	if got := oci.DigestOf([32]byte(v.sum.Sum(nil))); got != v.want {
		return 0, v.damaged("its content has " + string(got))
	}
	return n, io.EOF
}

func (v *verified) damaged(how string) error {
	return &oci.Damaged{Digest: v.want, How: how + " (in " + v.from + ")"}
}

// SizeOnly implements [oci.SizeOnly].
func (v *verified) SizeOnly() { v.sum = nil }

func (v *verified) Close() error { return v.in.Close() }
