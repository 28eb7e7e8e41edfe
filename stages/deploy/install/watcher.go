package install

import (
	"fmt"
	"time"

	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

// settle is how long a finding must hold before it counts: what the API server
// tells of several objects does not arrive at one moment.
const settle = 2 * time.Second

// watcher tells findings as they come, each once, and decides when waiting is of
// no use any more.
type watcher struct {
	r      *run
	key    string // of the log
	what   string
	seen   bool // what is waited for
	worst  diagnose.Finding
	since  time.Time
	told   map[string]bool
	now    func() time.Time
	patien time.Duration
}

func (r *run) newWatcher(key, what string) *watcher {
	return &watcher{r: r, key: key, what: what, told: map[string]bool{}, now: time.Now, patien: r.options.Patience}
}

// look tells what is in the way. The error says that it will stay.
func (w *watcher) look(s diagnose.Scene) error {
	list := diagnose.Explain(s)
	if len(list) == 0 {
		w.worst = diagnose.Finding{}
		return nil
	}
	f, now := list[0], w.now()
	if f.About != w.worst.About || f.What != w.worst.What {
		w.worst, w.since = f, now
	}
	held := now.Sub(w.since)
	if held < settle {
		return nil
	}
	w.tell(f)
	switch {
	case f.Level == diagnose.Stuck, f.Level == diagnose.Doubtful && held >= w.patien:
		return fmt.Errorf("%s", f)
	}
	return nil
}

func (w *watcher) tell(f diagnose.Finding) {
	key := f.About + f.What
	if w.told[key] {
		return
	}
	w.told[key] = true
	log := w.r.Log.Warn
	if f.Level == diagnose.Passing {
		log = w.r.Log.Info
	}
	log("waiting: "+f.String(), w.key, w.what)
}
