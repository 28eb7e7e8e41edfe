package collect

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// MaxConfig bounds a configuration file that a collector reads whole.
const MaxConfig = 4 << 20

// Read reads a configuration file, through links inside the root. When it
// cannot, it emits the problem and ok is false; the error is emit's.
func Read(r *rootfs.Root, collector string, p hostpath.Path, emit Emit) (data []byte, ok bool, err error) {
	data, err = r.ReadFile(p, MaxConfig)
	if err != nil {
		return nil, false, emit(Problem(collector, facts.Source{Path: p}, err.Error()))
	}
	return data, true, nil
}

// Lines yields the lines of a text with their numbers from 1, without the
// newline and a carriage return before it.
func Lines(data []byte) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for n := 1; len(data) > 0; n++ {
			line, rest, _ := bytes.Cut(data, []byte("\n"))
			data = rest
			if !yield(n, string(bytes.TrimSuffix(line, []byte("\r")))) {
				return
			}
		}
	}
}

// ErrNothing is a line that says nothing, such as a comment.
var ErrNothing = errors.New("the line says nothing")

// Each emits what parse makes of every line of the file p, or the problem that
// it found with one; of a line for which it returns [ErrNothing] it emits nothing.
func Each(ctx context.Context, collector string, p hostpath.Path, data []byte, parse func(line string, src facts.Source) (Found, error), emit Emit) error {
	for n, line := range Lines(data) {
		if err := ctx.Err(); err != nil {
			return err
		}
		src := facts.Source{Path: p, Line: n}
		found, err := parse(line, src)
		switch {
		case errors.Is(err, ErrNothing):
			continue
		case err != nil:
			found = Problem(collector, src, err.Error())
		}
		if err := emit(found); err != nil {
			return err
		}
	}
	return nil
}
