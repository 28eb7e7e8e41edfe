package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/progress"
	"github.com/statelift/statelift/pipeline/quiesce"
	"github.com/statelift/statelift/pipeline/selfimage"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages"
	"github.com/statelift/statelift/templates"
)

// request is what the command line asked for. It stays in the workspace, so
// that `statelift run` without arguments goes on with the same.
type request struct {
	Source   string `json:"source"`
	Checksum string `json:"checksum,omitempty"`
	Registry string `json:"registry,omitempty"`
	Store    string `json:"store,omitempty"`
	// Of the cluster; without a context the run is a rehearsal.
	Context   string `json:"context,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Carrier   string `json:"carrier,omitempty"`
	Shards    int    `json:"shards,omitempty"`
	Copier    string `json:"copier,omitempty"` // a program
	// Hold leaves the workloads at zero; nil is what the workspace remembers.
	Hold *bool `json:"hold,omitempty"`
	// Quiesce grants the commands that copy databases which run; nil is what the
	// workspace remembers. OnSource is what they are run with.
	Quiesce  *bool  `json:"quiesce,omitempty"`
	OnSource string `json:"onSource,omitempty"`
}

// quiesces reports whether commands on the source were granted.
func (r request) quiesces() bool { return r.Quiesce != nil && *r.Quiesce }

// held reports whether the lift waits for a cutover.
func (r request) held() bool { return r.Hold != nil && *r.Hold }

// lift is an open workspace with its pipeline.
type lift struct {
	ws      workspace.Workspace
	request request
	deps    stages.Deps
	runner  *pipeline.Runner
	close   []func() error
}

// Close releases the workspace.
func (l *lift) Close() error {
	var errs []error
	for i := len(l.close) - 1; i >= 0; i-- {
		errs = append(errs, l.close[i]())
	}
	return errors.Join(errs...)
}

// existing opens the workspace of an earlier run, without taking its lock: for
// commands that only look.
func (g *globals) existing() (workspace.Workspace, error) {
	if !(workspace.Workspace{Dir: g.workspace}).Exists() {
		return workspace.Workspace{}, errUsage{fmt.Errorf("%s is no workspace: make one with statelift plan or run, or name it with -w", g.workspace)}
	}
	return workspace.Open(g.workspace)
}

// open takes the workspace and wires the pipeline for the request. An empty
// request goes on with the one that the workspace remembers.
func (g *globals) open(ctx context.Context, req request) (_ *lift, err error) {
	l := &lift{}
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	l.close = append(l.close, growHeap())
	lookAgain := req.Source != ""
	if !lookAgain {
		if l.ws, err = g.existing(); err != nil {
			return nil, err
		}
	} else if l.ws, err = workspace.Open(g.workspace); err != nil {
		return nil, err
	}
	release, err := l.ws.Lock()
	if err != nil {
		return nil, err
	}
	l.close = append(l.close, func() error { release(); return nil })
	if req != (request{}) {
		// It would be remembered before any command could refuse it.
		if err := refuse(l.ws, handoff.GuardedPlan); err != nil {
			return nil, err
		}
	}
	if l.request, err = remember(l.ws, req); err != nil {
		return nil, err
	}
	choices, err := readDecisions(l.ws)
	if err != nil {
		return nil, err
	}
	ledgers, err := pipeline.OpenLedgers(ctx, l.ws.Path(workspace.Run, "ledger.db"))
	if err != nil {
		return nil, err
	}
	l.close = append(l.close, ledgers.Close)
	logFile, err := os.OpenFile(l.ws.Path(workspace.Run, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log: %w", err)
	}
	l.close = append(l.close, logFile.Close)
	bar := progress.New(g.err)
	l.close = append(l.close, bar.Close)
	deps, err := l.request.deps(choices, lookAgain)
	if err != nil {
		return nil, err
	}
	g.patience.give(&deps)
	deps.Show = func(c quiesce.Command) { fmt.Fprintf(g.err, "on the source, to %s: %s\n", c.What, c) }
	deps.ProveVolumes = g.proveVolumes
	// What could not be taken along may be as it should be by now.
	deps.LookAgain = deps.LookAgain || incomplete(l.ws, deps)
	l.deps = deps
	l.runner = g.runner(l, deps, ledgers, bar, io.MultiWriter(bar, logFile))
	return l, nil
}

// heapGrowth is by how much the heap grows, in percent of what is in use, until it
// is collected (runtime/debug.SetGCPercent). What the stages hold is bounded and
// small; twice Go's default costs some of it again, and saves a tenth of the time
// of a plan.
const heapGrowth = 200

// growHeap sets it, unless GOGC says otherwise, until restore is called.
func growHeap() (restore func() error) {
	if os.Getenv("GOGC") != "" {
		return func() error { return nil }
	}
	before := debug.SetGCPercent(heapGrowth)
	return func() error {
		debug.SetGCPercent(before)
		return nil
	}
}

// incomplete tells whether a stage of an earlier run could not take everything
// along.
func incomplete(w workspace.Workspace, deps stages.Deps) bool {
	runner := pipeline.Runner{Stages: stages.All(deps), Version: programVersion(), Env: pipeline.Env{Workspace: w}}
	standings, err := runner.Standings()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(standings, func(s pipeline.Standing) bool { return len(s.Incomplete) > 0 })
}

func (g *globals) runner(l *lift, deps stages.Deps, ledgers *pipeline.Ledgers, bar pipeline.Progress, log io.Writer) *pipeline.Runner {
	granted := pipeline.Local
	if deps.Registry != "" {
		granted |= pipeline.Registry
	}
	if deps.Store != "" {
		granted |= pipeline.Bucket
	}
	if deps.Context != "" {
		granted |= pipeline.Cluster
	}
	logger := g.logger(log)
	return &pipeline.Runner{
		Stages: stages.All(deps), Granted: granted, Version: programVersion(),
		Env:     pipeline.Env{Log: logger, Workspace: l.ws, Progress: bar, Ledgers: ledgers.Of},
		Ledgers: ledgers.Of,
		Observe: func(e pipeline.Event) { observe(logger, e) },
	}
}

func observe(log *slog.Logger, e pipeline.Event) {
	switch e.State {
	case pipeline.Running:
		log.Info(e.Stage+" begins", "because", e.Why)
	case pipeline.Fresh:
		log.Debug(e.Stage + " is up to date")
	case pipeline.Failed:
		log.Error(e.Stage+" failed", "error", e.Why)
	default:
		log.Info(e.Stage+" "+string(e.State), "took", e.Elapsed.Round(1e6))
	}
}

// deps are the request in the terms of the stages.
func (r request) deps(choices decisions.Decisions, lookAgain bool) (stages.Deps, error) {
	d := stages.Deps{
		Source: r.Source, Checksum: r.Checksum, Registry: r.Registry, Store: r.Store,
		Context: r.Context, Namespace: r.Namespace, Carrier: r.Carrier, Shards: r.Shards,
		Decisions: choices, LookAgain: lookAgain, Version: programVersion(),
		Copier: r.Copier, CopierArch: runtime.GOARCH, Hold: r.held(),
		Quiesce: r.quiesces(), OnSource: r.OnSource,
	}
	var err error
	if r.Copier != "" {
		// One that is gone by now is told when it is needed.
		d.CopierArch, _ = selfimage.Architecture(r.Copier)
	}
	if d.Profiles, err = profile.Load(templates.Profiles()); err != nil {
		return d, fmt.Errorf("profiles: %w", err)
	}
	if d.Rules, err = profile.LoadRules(templates.Rules()); err != nil {
		return d, fmt.Errorf("rules: %w", err)
	}
	return d, nil
}

const requestFile = "request.json"

// recall reads what the workspace remembers.
func recall(w workspace.Workspace) (request, error) {
	var req request
	data, err := os.ReadFile(w.Path(workspace.Run, requestFile))
	if errors.Is(err, os.ErrNotExist) {
		return req, errUsage{fmt.Errorf("%s has no source yet: statelift run SOURCE -w %s", w.Dir, w.Dir)}
	}
	if err != nil {
		return req, fmt.Errorf("request: %w", err)
	}
	if err := json.Unmarshal(data, &req); err != nil {
		return req, fmt.Errorf("%s is damaged: %w", w.Path(workspace.Run, requestFile), err)
	}
	return req, nil
}

// remember completes the request from the one that the workspace remembers, and
// stores it.
func remember(w workspace.Workspace, req request) (request, error) {
	old, err := recall(w)
	req.Quiesce = cmp.Or(req.Quiesce, old.Quiesce)
	req.OnSource = cmp.Or(req.OnSource, old.OnSource)
	switch {
	case req.Source == "" && err != nil:
		return req, err
	case req.Source == "":
		req.Source, req.Checksum = old.Source, old.Checksum
		req.Registry = cmp.Or(req.Registry, old.Registry)
		req.Store = cmp.Or(req.Store, old.Store)
		req.Context = cmp.Or(req.Context, old.Context)
		req.Namespace = cmp.Or(req.Namespace, old.Namespace)
		req.Carrier = cmp.Or(req.Carrier, old.Carrier)
		req.Shards = cmp.Or(req.Shards, old.Shards)
		req.Copier = cmp.Or(req.Copier, old.Copier)
		req.Hold = cmp.Or(req.Hold, old.Hold)
	case strings.Contains(req.Source, "://"):
		req.Hold = cmp.Or(req.Hold, old.Hold)
	default:
		// A held lift starts nothing because a flag was forgotten.
		req.Hold = cmp.Or(req.Hold, old.Hold)
		// The workspace may be used from another directory the next time.
		if req.Source, err = filepath.Abs(req.Source); err != nil {
			return req, fmt.Errorf("source: %w", err)
		}
	}
	if req.Copier != "" {
		if req.Copier, err = filepath.Abs(req.Copier); err != nil {
			return req, fmt.Errorf("--copier: %w", err)
		}
	}
	data, err := json.Marshal(req)
	if err != nil {
		return req, fmt.Errorf("request: %w", err)
	}
	return req, atomicfile.Write(w.Path(workspace.Run, requestFile), append(data, '\n'), 0o600)
}

// readDecisions reads statelift.yaml, and makes the commented one when there is
// none.
func readDecisions(w workspace.Workspace) (decisions.Decisions, error) {
	name := w.Path(workspace.Decisions)
	data, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		data = []byte(decisions.Template())
		err = atomicfile.Write(name, data, 0o600)
	}
	if err != nil {
		return decisions.Decisions{}, fmt.Errorf("decisions: %w", err)
	}
	d, err := decisions.Parse(workspace.Decisions, data)
	if err != nil {
		return d, &pipeline.InputError{What: w.Dir, Err: err}
	}
	return d, nil
}
