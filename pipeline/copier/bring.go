package copier

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/seed"
)

// fetch brings the contents that are nowhere in the volume into the stage.
func (m *mender) fetch(ctx context.Context) error {
	if !m.open() {
		return nil
	}
	oldest := map[[32]byte]bool{}
	for sum, n := range m.needs {
		if steps := m.wanted.Content.Steps(sum); !n.staged && len(steps) > 0 {
			oldest[steps[len(steps)-1].From] = true
		}
	}
	wanted := func(sum [32]byte) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if n := m.needs[sum]; n != nil {
			return !n.staged
		}
		if !oldest[sum] {
			return false
		}
		_, n, _ := m.asked(sum)
		return n != nil
	}
	small := func(sum [32]byte, size int64, sparse bool, content io.Reader) error {
		return m.receive(sum, size, func(out *output, buf []byte) error {
			out.sparse = sparse
			return out.copy(content, size, buf, m.options.Progress)
		})
	}
	large := func(sum [32]byte, size int64, sparse bool, parts []seed.Part) error {
		return m.receive(sum, size, func(out *output, buf []byte) error {
			out.sparse = sparse
			for _, p := range parts {
				if err := m.part(ctx, out, p, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := m.wanted.Content.Fetch(ctx, m.open, wanted, small, large); err != nil {
		return err
	}
	for sum, n := range m.needs {
		if !n.staged {
			return fmt.Errorf("the content with the sum %x is nowhere: %w", sum, seed.ErrFormat)
		}
	}
	return nil
}

// receive writes a content that arrived to where it is needed.
func (m *mender) receive(sum [32]byte, size int64, fill func(*output, []byte) error) error {
	m.mu.Lock()
	target, n, steps := m.asked(sum)
	if n != nil {
		n.staged, n.steps = true, steps
	}
	m.mu.Unlock()
	if n == nil {
		return nil // it came twice
	}
	name := stageAs(target, steps)
	fd, err := m.create(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	out := output{fd: fd, path: hostpath.Path("/" + stageName + "/" + name)}
	if err := fill(&out, make([]byte, 256<<10)); err != nil {
		return err
	}
	return pathError("truncate", out.path, unix.Ftruncate(fd, size))
}

// part writes one part of a large file behind what was written.
func (m *mender) part(ctx context.Context, out *output, p seed.Part, buf []byte) error {
	if p.Digest == "" {
		if out.sparse {
			out.at += p.Raw
			return nil
		}
		return out.copy(zeros{}, p.Raw, buf, m.options.Progress)
	}
	in, err := m.wanted.Content.Open(ctx, p)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := out.copy(in, p.Raw, buf, m.options.Progress); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in) // to the end, where the digest is compared
	return err
}

// patch takes the steps from what is staged to what is needed.
func (m *mender) patch(ctx context.Context) error {
	for sum, n := range m.needs {
		if len(n.steps) == 0 {
			continue
		}
		name := stageAs(sum, n.steps)
		p := hostpath.Path("/" + stageName + "/" + name)
		fd, err := openat(int(m.stage.Fd()), name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return pathError("open", p, err)
		}
		for k := len(n.steps) - 1; k >= 0 && err == nil; k-- {
			err = m.step(ctx, fd, p, &n.steps[k])
		}
		if err = errors.Join(err, unix.Close(fd)); err != nil {
			return err
		}
		if err := unix.Renameat(int(m.stage.Fd()), name, int(m.stage.Fd()), staged(sum)); err != nil {
			return pathError("rename", p, err)
		}
		n.steps = nil
	}
	return nil
}

func (m *mender) step(ctx context.Context, fd int, p hostpath.Path, s *Step) error {
	if err := unix.Ftruncate(fd, s.Size); err != nil {
		return pathError("truncate", p, err)
	}
	for i := range s.Blobs {
		if err := m.runs(ctx, fd, p, &s.Blobs[i]); err != nil {
			return err
		}
	}
	return nil
}

// runs writes the content of one blob to its places, and reads them back.
func (m *mender) runs(ctx context.Context, fd int, p hostpath.Path, b *StepBlob) error {
	wrote := sha256.New()
	if b.Part.Digest == "" {
		for _, place := range b.Places {
			if err := m.clear(ctx, fd, p, place, wrote); err != nil {
				return err
			}
		}
	} else {
		in, err := m.wanted.Content.Open(ctx, b.Part)
		if err != nil {
			return pathError("patch", p, err)
		}
		defer in.Close()
		both := io.TeeReader(in, wrote)
		for _, place := range b.Places {
			out := output{fd: fd, path: p, at: place.At}
			if err := out.copy(both, place.Raw, m.buf, m.options.Progress); err != nil {
				return err
			}
			out.begin(place.At)
		}
		if n, err := io.Copy(io.Discard, in); err != nil || n > 0 {
			return pathError("patch", p, errors.Join(err, fmt.Errorf("%d bytes too many", n)))
		}
	}
	back := sha256.New()
	for _, place := range b.Places {
		if err := readBack(ctx, fd, place, m.buf, back); err != nil {
			return pathError("read", p, fmt.Errorf("back: %w", err))
		}
	}
	if m.options.Proved != nil {
		m.options.Proved(b.Part.Raw)
	}
	if [32]byte(wrote.Sum(nil)) != [32]byte(back.Sum(nil)) {
		return pathError("read", p, errors.New("back: not what was written"))
	}
	return nil
}

// clear makes a range zeros: a hole where that is possible.
func (m *mender) clear(ctx context.Context, fd int, p hostpath.Path, r Range, wrote hash.Hash) error {
	const punch = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	if err := unix.Fallocate(fd, punch, r.At, r.Raw); err != nil {
		out := output{fd: fd, path: p, at: r.At}
		if err := out.copy(zeros{}, r.Raw, m.buf, func(int64) {}); err != nil {
			return err
		}
	}
	clear(m.buf)
	for left := r.Raw; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		k := min(left, int64(len(m.buf)))
		wrote.Write(m.buf[:k])
		left -= k
	}
	return nil
}

func readBack(ctx context.Context, fd int, r Range, buf []byte, sum hash.Hash) error {
	for at, left := r.At, r.Raw; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Pread(fd, buf[:min(left, int64(len(buf)))], at)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		sum.Write(buf[:n])
		at += int64(n)
		left -= int64(n)
	}
	return nil
}
