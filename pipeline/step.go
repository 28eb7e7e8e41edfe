package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"

	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Key names one hand-off: its file run/NAME.json, its Go type and its schema.
type Key[T any] struct {
	name   string
	schema int
}

// NewKey names a hand-off of type T. A change of the schema makes what an older
// statelift wrote unreadable, and so stale.
func NewKey[T any](name string, schema int) Key[T] { return Key[T]{name: name, schema: schema} }

// Name is the hand-off's name.
func (k Key[T]) Name() string { return k.name }

// Stage is one step of the pipeline, made by Step0 to Step5. It is a value and
// safe to copy.
type Stage struct {
	Info
	Reads   []string // names of hand-offs
	Writes  string   // name of the hand-off
	Options json.RawMessage

	schema  int
	parts   map[string]part
	run     func(context.Context, *Env) (json.RawMessage, error)
	recheck func(context.Context, *Env) (stale string, err error)
}

// envelope is a hand-off's file: the document, and what it was made from. One
// atomic write makes both durable, so that a stage is either done, with its
// provenance, or not.
type envelope struct {
	Statelift  string            `json:"statelift"` // version of the program
	Stage      string            `json:"stage"`
	Version    int               `json:"version"` // of the stage's logic
	Schema     int               `json:"schema"`
	Options    string            `json:"options"` // digest
	Reads      map[string]string `json:"reads"`   // hand-off → digest of its data
	Incomplete []string          `json:"incomplete,omitempty"`
	Data       json.RawMessage   `json:"data"`
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func handoffFile(w workspace.Workspace, name string) string {
	return w.Path(workspace.Run, name+".json")
}

// ErrNoHandoff is wrapped when a hand-off was not written yet.
var ErrNoHandoff = errors.New("not there yet")

func readEnvelope(w workspace.Workspace, name string) (envelope, error) {
	var env envelope
	data, err := os.ReadFile(handoffFile(w, name))
	if errors.Is(err, os.ErrNotExist) {
		return env, fmt.Errorf("hand-off %s: %w", name, ErrNoHandoff)
	}
	if err != nil {
		return env, fmt.Errorf("hand-off %s: %w", name, err)
	}
	if err := json.Unmarshal(data, &env); err != nil {
		return env, fmt.Errorf("hand-off %s is damaged (%w): remove %s", name, err, handoffFile(w, name))
	}
	return env, nil
}

func (e envelope) write(w workspace.Workspace, name string) error {
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("hand-off %s: %w", name, err)
	}
	return atomicfile.Write(handoffFile(w, name), append(data, '\n'), 0o600)
}

// Read loads a hand-off, whatever became of what it was made from. ErrNoHandoff
// says that no stage wrote it yet.
func Read[T any](w workspace.Workspace, k Key[T]) (T, error) {
	var v T
	env, err := readEnvelope(w, k.name)
	if err != nil {
		return v, err
	}
	if env.Schema != k.schema {
		return v, fmt.Errorf("hand-off %s has schema %d, this statelift reads %d: run again", k.name, env.Schema, k.schema)
	}
	if err := json.Unmarshal(env.Data, &v); err != nil {
		return v, fmt.Errorf("hand-off %s: %w", k.name, err)
	}
	return v, nil
}

// Write stores a hand-off that no stage of a run writes: a journal, which what
// keeps it writes whenever it has changed. It is durable when Write returns.
func Write[T any](w workspace.Workspace, k Key[T], v T) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("hand-off %s: %w", k.name, err)
	}
	return envelope{Stage: k.name, Schema: k.schema, Data: data}.write(w, k.name)
}

// Reasons are why the stage that wrote a hand-off could not take everything
// along; none when it could.
func Reasons[T any](w workspace.Workspace, k Key[T]) ([]string, error) {
	env, err := readEnvelope(w, k.name)
	return env.Incomplete, err
}

// MadeSince says which of the hand-offs was written again after k, whatever is
// in it, and "" when none was: what another stage made anew is to be proved anew.
func MadeSince[T any](w workspace.Workspace, k Key[T], reads ...string) (string, error) {
	own, err := os.Stat(handoffFile(w, k.name))
	if err != nil {
		return "", fmt.Errorf("hand-off %s: %w", k.name, err)
	}
	for _, name := range reads {
		fi, err := os.Stat(handoffFile(w, name))
		if err != nil {
			return "", fmt.Errorf("hand-off %s: %w", name, err)
		}
		if fi.ModTime().After(own.ModTime()) {
			return name + " was made again", nil
		}
	}
	return "", nil
}

func step[Out any](info Info, options any, out Key[Out], reads []string, run func(context.Context, *Env) (Out, error)) Stage {
	opts, err := json.Marshal(options)
	if err != nil {
		// Options are plain structs of this program: that they cannot be
		// marshalled shows in the first test that makes the stage.
		run = func(context.Context, *Env) (Out, error) {
			var none Out
			return none, fmt.Errorf("options of stage %s: %w", info.Name, err)
		}
	}
	return Stage{
		Info: info, Reads: reads, Writes: out.name, Options: opts, schema: out.schema,
		run: func(ctx context.Context, env *Env) (json.RawMessage, error) {
			v, runErr := run(ctx, env)
			var inc *Incomplete
			if runErr != nil && !errors.As(runErr, &inc) {
				return nil, runErr
			}
			data, err := json.Marshal(v)
			if err != nil {
				return nil, fmt.Errorf("hand-off %s: %w", out.name, err)
			}
			return data, runErr
		},
	}
}

// Step0 makes a stage that reads no hand-off. Options are what else decides the
// result: a change of them makes the stage stale.
func Step0[Out any](info Info, options any, out Key[Out], f func(context.Context, *Env) (Out, error)) Stage {
	return step(info, options, out, nil, f)
}

// Step1 makes a stage that reads one hand-off.
func Step1[A, Out any](info Info, options any, a Key[A], out Key[Out], f func(context.Context, *Env, A) (Out, error)) Stage {
	return step(info, options, out, []string{a.name}, func(ctx context.Context, env *Env) (none Out, err error) {
		va, err := Read(env.Workspace, a)
		if err != nil {
			return none, err
		}
		return f(ctx, env, va)
	})
}

// Step2 makes a stage that reads two hand-offs.
func Step2[A, B, Out any](info Info, options any, a Key[A], b Key[B], out Key[Out], f func(context.Context, *Env, A, B) (Out, error)) Stage {
	return step(info, options, out, []string{a.name, b.name}, func(ctx context.Context, env *Env) (none Out, err error) {
		va, err := Read(env.Workspace, a)
		if err != nil {
			return none, err
		}
		vb, err := Read(env.Workspace, b)
		if err != nil {
			return none, err
		}
		return f(ctx, env, va, vb)
	})
}

// Step3 makes a stage that reads three hand-offs.
func Step3[A, B, C, Out any](info Info, options any, a Key[A], b Key[B], c Key[C], out Key[Out], f func(context.Context, *Env, A, B, C) (Out, error)) Stage {
	s := Step2(info, options, a, b, out, func(ctx context.Context, env *Env, va A, vb B) (none Out, err error) {
		vc, err := Read(env.Workspace, c)
		if err != nil {
			return none, err
		}
		return f(ctx, env, va, vb, vc)
	})
	s.Reads = append(s.Reads, c.name)
	return s
}

// Step4 makes a stage that reads four hand-offs.
func Step4[A, B, C, D, Out any](info Info, options any, a Key[A], b Key[B], c Key[C], d Key[D], out Key[Out], f func(context.Context, *Env, A, B, C, D) (Out, error)) Stage {
	s := Step3(info, options, a, b, c, out, func(ctx context.Context, env *Env, va A, vb B, vc C) (none Out, err error) {
		vd, err := Read(env.Workspace, d)
		if err != nil {
			return none, err
		}
		return f(ctx, env, va, vb, vc, vd)
	})
	s.Reads = append(s.Reads, d.name)
	return s
}

// Step5 makes a stage that reads five hand-offs.
func Step5[A, B, C, D, E, Out any](info Info, options any, a Key[A], b Key[B], c Key[C], d Key[D], e Key[E], out Key[Out], f func(context.Context, *Env, A, B, C, D, E) (Out, error)) Stage {
	s := Step4(info, options, a, b, c, d, out, func(ctx context.Context, env *Env, va A, vb B, vc C, vd D) (none Out, err error) {
		ve, err := Read(env.Workspace, e)
		if err != nil {
			return none, err
		}
		return f(ctx, env, va, vb, vc, vd, ve)
	})
	s.Reads = append(s.Reads, e.name)
	return s
}

// After adds hand-offs that must be there and whose change makes the stage
// stale, though the stage reads what they stand for elsewhere (inventory.db).
func After[T any](s Stage, k Key[T]) Stage {
	s.Reads = append(append([]string(nil), s.Reads...), k.name)
	return s
}

// Recheck adds a look at the outside: f is asked, before a fresh stage is
// passed over, whether what it made is still there, and says what is not. A
// local record proves nothing about a remote.
func Recheck[Out any](s Stage, out Key[Out], f func(context.Context, *Env, Out) (stale string, err error)) Stage {
	s.recheck = func(ctx context.Context, env *Env) (string, error) {
		v, err := Read(env.Workspace, out)
		if err != nil {
			return "", err
		}
		return f(ctx, env, v)
	}
	return s
}

// part digests what of a hand-off a stage depends on.
type part func(data json.RawMessage) (digest string, err error)

// Part narrows what of a hand-off makes the stage stale: only a change of what
// f returns. The stage still gets the whole document.
func Part[T any](s Stage, k Key[T], f func(T) any) Stage {
	parts := maps.Clone(s.parts)
	if parts == nil {
		parts = map[string]part{}
	}
	parts[k.name] = func(data json.RawMessage) (string, error) {
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return "", fmt.Errorf("hand-off %s: %w", k.name, err)
		}
		picked, err := json.Marshal(f(v))
		if err != nil {
			return "", fmt.Errorf("hand-off %s: %w", k.name, err)
		}
		return digestOf(picked), nil
	}
	s.parts = parts
	return s
}
