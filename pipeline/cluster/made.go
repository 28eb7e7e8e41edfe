package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Ledger is where the record is kept; pipeline.Ledger is one.
type Ledger interface {
	Lookup(ctx context.Context, item string) (mark string, ok bool, err error)
	Commit(ctx context.Context, item, mark string) error
}

// Thing is one object that a workspace made, or was about to make.
type Thing struct {
	Ref
	Context string `json:"context"` // of the kubeconfig
	// UID is "" when the making was not confirmed.
	UID types.UID `json:"uid,omitempty"`
	// Brief is for what is removed at the end of the run that made it.
	Brief bool `json:"brief,omitempty"`
}

// Made is the record of what a workspace made in clusters: an object is written
// down before it is made, so that a kill leaves nothing unmentioned. It is safe
// for concurrent use.
type Made struct {
	ledger Ledger
	mu     sync.Mutex
	things []Thing
}

// madeItem is the one mark that holds all: there are some hundred objects at
// most, and their list must be found without knowing their names.
const madeItem = "made in clusters"

// OpenMade reads the record.
func OpenMade(ctx context.Context, ledger Ledger) (*Made, error) {
	m := &Made{ledger: ledger}
	if err := m.read(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// read brings the list up to what the ledger says: several may keep it, one after
// the other.
func (m *Made) read(ctx context.Context) error {
	mark, ok, err := m.ledger.Lookup(ctx, madeItem)
	if err != nil || !ok {
		return err
	}
	var things []Thing
	if err := json.Unmarshal([]byte(mark), &things); err != nil {
		return fmt.Errorf("record of what was made: %w", err)
	}
	m.things = things
	return nil
}

// Begin writes down that an object is about to be made.
func (m *Made) Begin(ctx context.Context, t Thing) error {
	return m.put(ctx, t, func(old *Thing) bool {
		if old.Brief == t.Brief {
			return false
		}
		old.Brief = t.Brief
		return true
	})
}

// Confirm writes down which object it has become.
func (m *Made) Confirm(ctx context.Context, t Thing) error {
	return m.put(ctx, t, func(old *Thing) bool {
		changed := *old != t
		*old = t
		return changed
	})
}

// put adds a thing, or lets update change the one that is there.
func (m *Made) put(ctx context.Context, t Thing, update func(old *Thing) (changed bool)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.read(ctx); err != nil {
		return err
	}
	for i := range m.things {
		if m.things[i].same(t) {
			if !update(&m.things[i]) {
				return nil
			}
			return m.write(ctx)
		}
	}
	m.things = append(m.things, t)
	return m.write(ctx)
}

// Forget takes a thing out that is no more.
func (m *Made) Forget(ctx context.Context, t Thing) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.read(ctx); err != nil {
		return err
	}
	m.things = slices.DeleteFunc(m.things, t.same)
	return m.write(ctx)
}

// All lists what was made and not forgotten, in the order of making.
func (m *Made) All() []Thing {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.things)
}

// Find is what is known of an object of that name.
func (m *Made) Find(context string, ref Ref) (Thing, bool) {
	want := Thing{Ref: ref, Context: context}
	for _, t := range m.All() {
		if t.same(want) {
			return t, true
		}
	}
	return Thing{}, false
}

func (t Thing) same(o Thing) bool { return t.Ref == o.Ref && t.Context == o.Context }

func (m *Made) write(ctx context.Context) error {
	data, err := json.Marshal(m.things)
	if err != nil {
		return fmt.Errorf("record of what was made: %w", err)
	}
	return m.ledger.Commit(ctx, madeItem, string(data))
}
