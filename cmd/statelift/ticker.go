package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// tick is one line of progress of a copy.
type tick struct {
	Phase string `json:"phase"` // copy, or prove when all is written
	Done  int64  `json:"done"`  // bytes
	Total int64  `json:"total"`
}

// ticker prints how far a copy is, every two seconds.
type ticker struct {
	total      int64
	done, read atomic.Int64
	end        chan struct{}
	ended      sync.WaitGroup
}

const tickEvery = 2 * time.Second

// newTicker starts; the caller stops it before anything else is printed.
func newTicker(w io.Writer, total int64) *ticker {
	t := &ticker{total: total, end: make(chan struct{})}
	t.ended.Go(func() {
		every := time.NewTicker(tickEvery)
		defer every.Stop()
		for {
			select {
			case <-t.end:
				return
			case <-every.C:
				t.print(w)
			}
		}
	})
	return t
}

func (t *ticker) copied(n int64) { t.done.Add(n) }
func (t *ticker) proved(n int64) { t.read.Add(n) }

func (t *ticker) stop() {
	close(t.end)
	t.ended.Wait()
}

func (t *ticker) print(w io.Writer) {
	line := tick{Phase: "copy", Done: min(t.done.Load(), t.total), Total: t.total}
	if n := t.read.Load(); n > 0 {
		line.Phase, line.Done = "prove", min(n, t.total)
	}
	data, err := json.Marshal(line)
	if err != nil {
		return // progress never fails
	}
	fmt.Fprintf(w, "progress: %s\n", data)
}
