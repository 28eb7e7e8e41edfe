package split

import (
	"context"
	"fmt"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Options is what changes the result beside the hand-offs.
type Options struct {
	Decisions decisions.SplitPart `json:"decisions"`
}

// Stage splits one host.
type Stage struct {
	options  Options
	profiles []profile.Profile
	rules    profile.Rules
}

// New makes the stage. Profiles and rules are data: see package profile.
func New(o Options, profiles []profile.Profile, rules profile.Rules) *Stage {
	return &Stage{options: o, profiles: profiles, rules: rules}
}

// run is one split.
type run struct {
	decisions decisions.SplitPart
	profiles  []profile.Profile
	rules     profile.Rules
	env       *pipeline.Env
	cat       *catalog.Catalog
	root      *rootfs.Root
	view      *view
	host      *host
	claims    claims
	scopes    []scope
	users     map[hostpath.Path][]use // of applications' trees
	readFor   map[string]bool         // configuration that was read for a service
	found     []handoff.Credential
}

// Run places every entry of the inventory. An *pipeline.InputError says that
// statelift.yaml does not fit the host, a *pipeline.Incomplete, with a whole
// hand-off, that paths could not be read and nobody accepted that.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, src handoff.Source, inv handoff.Inventory) (handoff.Split, error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Split{}, err
	}
	defer cat.Close()
	root, err := rootfs.Open(src.Root)
	if err != nil {
		return handoff.Split{}, &pipeline.InputError{What: "source " + src.Spec, Err: err}
	}
	defer root.Close()
	r := &run{decisions: s.options.Decisions, profiles: s.profiles, rules: s.rules, env: env, cat: cat, root: root, view: newView(cat)}
	if r.host, err = readHost(ctx, cat, inv.OS); err != nil {
		return handoff.Split{}, fmt.Errorf("split: %w", err)
	}
	if err := r.recognise(ctx); err != nil {
		return handoff.Split{}, fmt.Errorf("split: %w", err)
	}
	if err := r.judge(ctx); err != nil {
		return handoff.Split{}, fmt.Errorf("split: %w", err)
	}
	out, err := r.place(ctx)
	if err != nil {
		return handoff.Split{}, fmt.Errorf("split: %w", err)
	}
	return out, incomplete(out)
}

// incomplete names the first paths that could not be read.
func incomplete(out handoff.Split) error {
	if out.UnreadableCount == 0 {
		return nil
	}
	err := &pipeline.Incomplete{}
	for _, p := range out.Unreadable[:min(len(out.Unreadable), 10)] {
		err.Because = append(err.Because, out.NotTaken(p, workspace.Decisions))
	}
	if more := out.UnreadableCount - int64(len(err.Because)); more > 0 {
		err.Because = append(err.Because, fmt.Sprintf("%d more paths could not be read", more))
	}
	return err
}

// judge makes the claims. What comes first wins among equals.
func (s *run) judge(ctx context.Context) error {
	for _, maker := range []func(context.Context) error{
		s.nature,         // unreadable paths, other file systems
		s.shares,         // fstab
		s.applyProfiles,  // what profiles and the configuration that they read say
		s.applyUnits,     // directives of units
		s.applyScripts,   // assignments of init scripts
		s.applyCron,      // what jobs write
		s.applyProcesses, // what running services hold open
		s.applyRules,     // what only a host needs, what maintainer scripts make, places
		s.applications,   // code and data in one tree
		s.configuration,  // /etc and what services read
		s.applyDecisions, // statelift.yaml
		s.spare,          // code in directories that would be volumes by default
		s.orphans,        // data in directories that stay in the image
		s.credentials,    // text that carries one
	} {
		if err := maker(ctx); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// resolver weighs all claims made so far, and what remains when there is none.
func (s *run) resolver() (*claim.Resolver, error) { return claim.NewResolver(s.claims.list...) }
