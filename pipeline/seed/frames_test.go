package seed

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/statelift/statelift/fixtures/trees"
)

// zstd(1) reads any sequence of compressed and raw frames, and what must be raw
// takes no more than a few bytes.
func TestFramesAreReadByZstd(t *testing.T) {
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for round := range 30 {
		var out, want bytes.Buffer
		f := &frames{w: &out, enc: enc}
		for range random.IntN(6) {
			f.raw = random.IntN(2) == 0
			n := []int{0, 1, 1000, rawBlock - 1, rawBlock, rawBlock + 1, 3 * rawBlock, 500_000}[random.IntN(8)]
			data := trees.Noise(n, random.Uint64())
			if !f.raw {
				data = bytes.Repeat([]byte("abcdefgh"), n/8)
			}
			want.Write(data)
			if _, err := f.Write(data); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("zstd", "-dc")
		cmd.Stdin = bytes.NewReader(out.Bytes())
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("round %d: %d bytes instead of %d: %v", round, len(got), want.Len(), err)
		}
	}
	var out bytes.Buffer
	f := &frames{w: &out, enc: enc, raw: true}
	data := trees.Noise(1<<20, 7)
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	if over := out.Len() - len(data); over > 64 {
		t.Error(fmt.Sprint(over, " bytes more than the content"))
	}
}

func TestCompresses(t *testing.T) {
	enc, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{zstd: enc}
	if w.compresses(trees.Noise(100_000, 3)) {
		t.Error("noise compresses")
	}
	if !w.compresses(bytes.Repeat([]byte("a line of text\n"), 10_000)) {
		t.Error("text does not compress")
	}
}
