package plan

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/datastore"
	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "plan",
		Summary: "decides on workloads, volumes and configuration, and writes plan.yaml",
		Effects: pipeline.Local,
		Resumes: "starts anew",
		Version: 1,
	}
}

// Stage makes the plan.
type Stage struct {
	options  Options
	profiles []profile.Profile
	rules    profile.Rules
}

// New makes the stage with the profiles of the applications that it knows and
// the rules of what only a host needs.
func New(o Options, profiles []profile.Profile, rules profile.Rules) *Stage {
	return &Stage{options: o, profiles: profiles, rules: rules}
}

// planner is one run of the stage.
type planner struct {
	decisions  decisions.PlanPart
	asked      map[string]bool // questions whose answer was looked up
	profiles   []profile.Profile
	rules      profile.Rules
	known      recognised
	host       *host
	mounts     []facts.Mount // other file systems below the source
	split      handoff.Split
	target     handoff.Target
	copierArch string
	plan       handoff.Plan
	services   []*service
	bonds      []bond
	clients    []bond // found by the programs that jobs run
	pods       []*pod
	blocked    []string // what could not be placed
	// What services of different Pods are told of each other.
	led      map[bondKey]bool // over the network, not by a shared socket
	edits    map[hostpath.Path][]handoff.Edit
	readers  map[hostpath.Path][]*service // of edited files
	accounts map[*service][]string        // that a server has to make for its clients
	names    kubename.Names               // of containers
	claims   kubename.Names               // of volumes and shares
}

// Run reads what the scan and the split found and decides; then it judges
// whether the target can serve that. It writes plan.yaml.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, src handoff.Source, inv handoff.Inventory, split handoff.Split, target handoff.Target) (handoff.Plan, error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Plan{}, err
	}
	defer cat.Close()
	root, err := rootfs.Open(src.Root)
	if err != nil {
		return handoff.Plan{}, fmt.Errorf("source: %w", err)
	}
	defer root.Close()
	h, err := readHost(ctx, cat, root, inv.OS)
	if err != nil {
		return handoff.Plan{}, err
	}
	p := &planner{decisions: s.options.Decisions, copierArch: s.options.CopierArch, profiles: s.profiles, rules: s.rules, host: h, mounts: inv.Mounts, split: split, target: target}
	if err := p.decide(ctx); err != nil {
		return handoff.Plan{}, err
	}
	if err := writeYAML(env.Workspace.Path(workspace.PlanFile), p.plan); err != nil {
		return handoff.Plan{}, err
	}
	if len(p.blocked) > 0 {
		return p.plan, &pipeline.Incomplete{Because: p.blocked}
	}
	return p.plan, nil
}

func (p *planner) decide(ctx context.Context) error {
	p.plan = handoff.Plan{
		Name:      kubename.Label(firstOf(p.decisions.Name, firstOf(p.host.os.Hostname, "host")), 30),
		Namespace: p.decisions.Namespace,
		Into:      firstOf(p.target.Namespace, p.decisions.Namespace),
		Host:      p.host.os,
		Balance:   p.split.Balance,
	}
	var err error
	if p.known, err = p.recognise(ctx); err != nil {
		return err
	}
	p.plan.HostAliases = p.host.readNames(append(slices.Clone(p.decisions.Host.Names), p.decisions.Host.Addresses...))
	if p.decisions.Host.TimeZone != "" {
		p.host.timeZone = zone(p.decisions.Host.TimeZone)
	}
	sel := p.selectServices()
	p.services = sel.services
	p.plan.LeftOut, p.plan.Questions, p.plan.Risks = sel.leftOut, sel.questions, sel.risks
	p.attachGuests()
	for _, s := range p.services {
		if err := p.describe(ctx, s); err != nil {
			return err
		}
	}
	if err := p.findClients(ctx); err != nil {
		return err
	}
	p.makeWorkloads()
	for _, step := range []func(context.Context) error{
		p.makeVolumes, p.bringObjects, p.makeShares, p.makeEphemeral, p.leadApart, p.shareSockets, p.makeFileSets, p.closeRoots,
		p.finishWorkloads, p.findDatabases, p.lookAround, p.judge, p.estimate,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	p.fitTarget()
	p.plan.Blocks = append(p.plan.Blocks, datastore.Blocks(p.plan.Databases)...)
	p.tidy()
	return p.unheard()
}

// tidy puts everything into its final order.
func (p *planner) tidy() {
	pl := &p.plan
	slices.SortFunc(pl.LeftOut, func(a, b handoff.LeftOut) int { return cmp.Compare(a.Unit, b.Unit) })
	for i := range pl.Questions {
		q := &pl.Questions[i]
		if given := p.answer(q.ID); given != "" {
			q.Default = given
		}
		if q.Answer == "" {
			q.Answer = fmt.Sprintf("answers:\n  %s: %q", q.ID, q.Default)
		}
	}
	slices.SortFunc(pl.Questions, func(a, b handoff.Question) int { return cmp.Compare(a.ID, b.ID) })
	pl.Questions = slices.CompactFunc(pl.Questions, func(a, b handoff.Question) bool { return a.ID == b.ID })
	slices.SortStableFunc(pl.Risks, func(a, b handoff.Risk) int {
		return cmp.Or(cmp.Compare(level(a.Level), level(b.Level)), cmp.Compare(a.About, b.About), cmp.Compare(a.Text, b.Text))
	})
	slices.SortFunc(pl.Workloads, func(a, b handoff.Workload) int {
		return cmp.Or(cmp.Compare(kindOrder(a.Kind), kindOrder(b.Kind)), cmp.Compare(a.Name, b.Name))
	})
}

func level(s string) int { return slices.Index([]string{"high", "medium", "low"}, s) }

func kindOrder(k handoff.WorkloadKind) int {
	return slices.Index([]handoff.WorkloadKind{handoff.StatefulSet, handoff.Deployment, handoff.CronJob}, k)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
