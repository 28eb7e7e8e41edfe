package copyjob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/statelift/statelift/pipeline/cluster/copyjob"
)

// TestEach: a fault is told while the others still run, and those come to their
// end; the last one is told by the error alone.
func TestEach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, nil))
		full := errors.New("it is full")
		release := make(chan struct{})
		var ended atomic.Int32
		got := make(chan error, 1)
		go func() {
			got <- copyjob.Each(log, 2, []string{"mail", "media", "spool"}, func(i int) error {
				if i == 0 {
					return full
				}
				<-release
				ended.Add(1)
				if i == 2 {
					return errors.New("it is gone")
				}
				return nil
			})
		}()
		synctest.Wait()
		if said := out.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "volume=mail others=2") || !strings.Contains(said, full.Error()) {
			t.Errorf("while the others run, said is %q", said)
		}
		close(release)
		err := <-got
		if !errors.Is(err, full) || err.Error() != "volume mail: it is full\nvolume spool: it is gone" || ended.Load() != 2 {
			t.Errorf("%d others ended, and got %v", ended.Load(), err)
		}
	})
}

// TestEachWithoutAnImage begins no more Jobs when no node gets their image.
func TestEachWithoutAnImage(t *testing.T) {
	began := 0
	err := copyjob.Each(slog.New(slog.DiscardHandler), 1, []string{"mail", "media", "spool"}, func(int) error {
		began++
		return fmt.Errorf("Pod a: %w", &copyjob.NoImage{Err: errors.New("no image")})
	})
	if began != 1 || err == nil || err.Error() != "volume mail: Pod a: no image" {
		t.Errorf("%d began, and got %v", began, err)
	}
}

// TestEachInterrupted says nothing of what the user did.
func TestEachInterrupted(t *testing.T) {
	var out bytes.Buffer
	err := copyjob.Each(slog.New(slog.NewTextHandler(&out, nil)), 1, []string{"mail", "media"}, func(int) error { return context.Canceled })
	if !errors.Is(err, context.Canceled) || out.Len() > 0 {
		t.Errorf("got %v, and said is %q", err, out.String())
	}
}
