package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/await"
	"github.com/statelift/statelift/pipeline/cluster/copyjob"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "deploy",
		Summary: "applies the manifests, fills and proves the volumes by Jobs, then starts the workloads",
		Effects: pipeline.Local | pipeline.Cluster,
		Resumes: "what is there is looked at: a proved volume is left alone, a running Job is waited for",
		Version: 1,
	}
}

// Options say where, and how patiently.
type Options struct {
	Context   string `json:"context"`
	Namespace string `json:"namespace,omitempty"` // "" is that of the context
	// Registry is where the images are, as HOST/PREFIX.
	Registry string `json:"registry,omitempty"`
	// Hold leaves the workloads at zero, behind the fence, unless that was released.
	Hold bool `json:"hold,omitempty"`
	// Parallel is how many volumes are copied at once; 0 is 4.
	Parallel int `json:"-"`
	// Patience is how long a fault that may pass by itself is waited for; 0 is
	// [await.Patience].
	Patience time.Duration `json:"-"`
	// Environment is where credentials are; nil is os.Getenv.
	Environment func(string) string `json:"-"`
}

func (o Options) withDefaults() Options {
	if o.Parallel == 0 {
		o.Parallel = 4
	}
	if o.Patience == 0 {
		o.Patience = await.Patience
	}
	if o.Environment == nil {
		o.Environment = os.Getenv
	}
	return o
}

// Stage is the deploy stage in a cluster.
type Stage struct{ options Options }

// New makes the stage.
func New(o Options) *Stage { return &Stage{options: o.withDefaults()} }

// run is one run of the stage.
type run struct {
	*pipeline.Env
	options   Options
	plan      handoff.Plan
	seeds     map[string]handoff.Seed
	upload    handoff.Upload
	manifests handoff.Manifests
	rounds    handoff.Rounds // since the seeds
	cluster   *cluster.Cluster
	owner     *cluster.Owner
	made      *cluster.Made
	objects   objects
	jobs      *copyjob.Runner // from the moment on when the cluster is watched
	bar       *copyjob.Bar
	held      bool     // no Pod of a workload may start
	lacking   []string // what could not be taken along
}

// Run brings everything into the cluster. It returns when all workloads are
// ready; an error says what is in the way and what to do. The receipts of all
// volumes are written, also of one whose copy differs.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, plan handoff.Plan, seeds handoff.Seeds, upload handoff.Upload, manifests handoff.Manifests) (handoff.Copies, error) {
	r, err := s.connect(ctx, env, plan, seeds, manifests)
	if err != nil {
		return handoff.Copies{}, err
	}
	r.upload = upload
	out, err := r.install(ctx)
	if err != nil {
		return handoff.Copies{}, r.remains(err)
	}
	if len(r.lacking) > 0 {
		return out, &pipeline.Incomplete{Because: r.lacking}
	}
	return out, nil
}

// connect reads what is to be applied and what was made before.
func (s *Stage) connect(ctx context.Context, env *pipeline.Env, plan handoff.Plan, seeds handoff.Seeds, manifests handoff.Manifests) (*run, error) {
	r := &run{Env: env, options: s.options, plan: plan, seeds: map[string]handoff.Seed{}, manifests: manifests}
	for _, sd := range seeds.Seeds {
		r.seeds[sd.Volume] = sd
	}
	var err error
	if r.rounds, err = lineage.Rounds(env.Workspace, seeds); err != nil {
		return nil, err
	}
	identity, err := env.Workspace.Identity()
	if err != nil {
		return nil, err
	}
	if r.made, err = cluster.OpenMade(ctx, env.Ledger); err != nil {
		return nil, err
	}
	if r.cluster, err = cluster.Connect(cluster.Options{Context: s.options.Context, Namespace: s.options.Namespace}); err != nil {
		return nil, cluster.Explain(s.options.Context, err)
	}
	r.owner = &cluster.Owner{Cluster: r.cluster, Made: r.made, Workspace: identity, Log: r.Log, Patience: s.options.Patience}
	if r.objects, err = r.load(manifests); err != nil {
		return nil, err
	}
	return r, errors.Join(r.useBucket(), r.usePullSecret(ctx))
}

func (r *run) install(ctx context.Context) (_ handoff.Copies, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Credentials of the run do not outlive it, however it ends; what a killed
	// one left is removed by the next.
	defer func() { err = errors.Join(err, r.owner.RemoveBrief(context.WithoutCancel(ctx))) }()
	for _, dir := range []string{workspace.Receipts, logsDir} {
		if err := os.MkdirAll(r.Workspace.Path(dir), 0o700); err != nil {
			return handoff.Copies{}, err
		}
	}
	if err := r.namespace(ctx); err != nil {
		return handoff.Copies{}, err
	}
	if err := r.applyAll(ctx, r.objects.config); err != nil {
		return handoff.Copies{}, err
	}
	if err := r.watch(ctx); err != nil {
		return handoff.Copies{}, err
	}
	if err := r.hold(ctx); err != nil {
		return handoff.Copies{}, err
	}
	receipts, err := r.volumes(ctx)
	if err != nil {
		return handoff.Copies{}, err
	}
	transfers, err := r.transfers(ctx)
	if err != nil {
		return handoff.Copies{}, err
	}
	if err := r.applyWorkloads(ctx); err != nil {
		return handoff.Copies{}, err
	}
	if err := r.serve(ctx); err != nil {
		return handoff.Copies{}, err
	}
	r.tellUnwanted()
	return handoff.Copies{Target: r.cluster.String(), Receipts: receipts, Transfers: transfers}, nil
}

// logsDir is where the logs of what failed are kept.
var logsDir = filepath.Join(workspace.Run, "logs")

// watch has what is made of the plan looked at from now on.
func (r *run) watch(ctx context.Context) error {
	view, err := r.cluster.Watch(ctx, r.selector())
	if err != nil {
		return cluster.Explain(r.cluster.Context, err)
	}
	r.jobs = &copyjob.Runner{Owner: r.owner, Waiter: &await.Waiter{
		Cluster: r.cluster, View: view, Log: r.Log, Progress: r.Progress, Logs: r.Workspace.Path(logsDir), Patience: r.options.Patience, Began: time.Now(),
	}}
	return nil
}

// selector finds what is made of this plan, Pods included.
func (r *run) selector() string {
	return "app.kubernetes.io/managed-by=statelift,app.kubernetes.io/instance=" + r.plan.Name
}

// remains says, with an error, that something is in the cluster by now.
func (r *run) remains(err error) error {
	n := 0
	for _, t := range r.made.All() {
		if t.Context == r.cluster.Context {
			n++
		}
	}
	if n == 0 {
		return err
	}
	return fmt.Errorf("%w\n%d objects of this lift are in %s: statelift status lists them, statelift run goes on, statelift clean removes them", err, n, r.cluster)
}
