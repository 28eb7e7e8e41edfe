package walk

import (
	"container/heap"
	"context"
	"sync"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// task is work for a worker. Tasks are done in the order in which the visitor
// will want them, which keeps the look-ahead useful and small.
type task struct {
	key  hostpath.Path
	list bool // reads the names of a directory
	run  func(context.Context)
	done chan struct{}
}

func newTask(key hostpath.Path, run func(context.Context)) *task {
	return &task{key: key, run: run, done: make(chan struct{})}
}

// queue holds the tasks that nobody has begun yet. While the look-ahead is used
// up, only the task that the visitor waits for is given out. That one is always
// the first: whatever comes before it in the order has been visited.
type queue struct {
	mu     sync.Mutex
	change sync.Cond
	tasks  order
	wanted *task
	items  int // read and not yet visited
	names  int // listed and not yet visited
	closed bool
}

func (q *queue) init() { q.change.L = &q.mu }

func (q *queue) add(tasks ...*task) {
	q.mu.Lock()
	for _, t := range tasks {
		heap.Push(&q.tasks, t)
	}
	q.mu.Unlock()
	if len(tasks) == 1 {
		q.change.Signal()
	} else {
		q.change.Broadcast()
	}
}

// work runs tasks until the queue is closed.
func (q *queue) work(ctx context.Context) error {
	for {
		t := q.next()
		if t == nil {
			return nil
		}
		t.run(ctx)
		close(t.done)
	}
}

// next waits for a task that may be run now; nil is the end.
func (q *queue) next() *task {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.closed {
			return nil
		}
		if len(q.tasks) > 0 && (q.room(q.tasks[0]) || q.tasks[0] == q.wanted) {
			return heap.Pop(&q.tasks).(*task)
		}
		q.change.Wait()
	}
}

// room reports whether t keeps within the look-ahead. The names of one very long
// directory may exceed it by far; that must not keep them from being looked at.
func (q *queue) room(t *task) bool {
	return q.items < aheadItems && (!t.list || q.names < aheadNames)
}

// wait returns when t is done.
func (q *queue) wait(ctx context.Context, t *task) error {
	select {
	case <-t.done:
		return ctx.Err()
	default:
	}
	q.mu.Lock()
	q.wanted = t
	q.mu.Unlock()
	q.change.Broadcast()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// listed and read count the look-ahead up, emitted counts it down.
func (q *queue) listed(n int) {
	q.mu.Lock()
	q.names += n
	q.mu.Unlock()
}

func (q *queue) read(n int) {
	q.mu.Lock()
	q.items += n
	q.mu.Unlock()
}

func (q *queue) emitted(n int) {
	q.mu.Lock()
	before := len(q.tasks) > 0 && q.room(q.tasks[0])
	q.items -= n
	q.names -= n
	wake := !before && len(q.tasks) > 0 && q.room(q.tasks[0])
	q.mu.Unlock()
	if wake {
		q.change.Broadcast()
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.change.Broadcast()
}

// order is a heap by the depth-first order.
type order []*task

func (o order) Len() int           { return len(o) }
func (o order) Less(i, j int) bool { return hostpath.Compare(o[i].key, o[j].key) < 0 }
func (o order) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *order) Push(x any)        { *o = append(*o, x.(*task)) }
func (o *order) Pop() any {
	old := *o
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*o = old[:len(old)-1]
	return t
}
