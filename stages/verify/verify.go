package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/layer/registry"
	"github.com/statelift/statelift/pipeline/lineage"
	"github.com/statelift/statelift/pipeline/store"
	"github.com/statelift/statelift/pipeline/workspace"
)

// Info describes the stage. It reads far sides and changes none.
func Info() pipeline.Info {
	return pipeline.Info{
		Name:    "verify",
		Summary: "reads everything back, wherever it is, and compares it with what was read at the source",
		Effects: pipeline.Local,
		Resumes: "nothing is remembered: everything is looked at again",
		Version: 1,
	}
}

// Options say where to look.
type Options struct {
	// Store is where the objects are, as for the stage objects; "" is store/ in
	// the workspace.
	Store string `json:"store,omitempty"`
	// Volumes proves the volumes of a cluster again, by Jobs that read them. It
	// takes workloads that are stopped, and looks at nothing else there.
	Volumes bool `json:"volumes,omitempty"`
	// Hold says that the workloads of a cluster stay at zero until the cutover.
	Hold bool `json:"hold,omitempty"`
	// Talk is how the registry is talked to.
	Talk registry.Options `json:"-"`
}

// Made is everything that the stages before handed over.
type Made struct {
	Split     handoff.Split
	Target    handoff.Target
	Plan      handoff.Plan
	Images    handoff.Images
	Objects   handoff.Objects
	Manifests handoff.Manifests
	Seeds     handoff.Seeds
	Upload    handoff.Upload
	Copies    handoff.Copies
	Rounds    handoff.Rounds // since the seeds; none without a sync
	Switch    handoff.Switch // zero when none was begun
	// ObjectsSynced says that Objects are those of a sync round, not of the scan.
	ObjectsSynced bool
	// Incomplete are the reasons of stages that could not take everything
	// along.
	Incomplete []string
}

// ReadMade reads the hand-offs of the workspace.
func ReadMade(w workspace.Workspace) (Made, error) {
	var m Made
	err := errors.Join(
		read(w, handoff.SplitKey, &m.Split, &m.Incomplete),
		read(w, handoff.TargetKey, &m.Target, &m.Incomplete),
		read(w, handoff.PlanKey, &m.Plan, &m.Incomplete),
		read(w, handoff.ImagesKey, &m.Images, &m.Incomplete),
		read(w, handoff.ObjectsKey, &m.Objects, &m.Incomplete),
		read(w, handoff.ManifestsKey, &m.Manifests, &m.Incomplete),
		read(w, handoff.SeedsKey, &m.Seeds, &m.Incomplete),
		read(w, handoff.UploadKey, &m.Upload, &m.Incomplete),
		read(w, handoff.CopiesKey, &m.Copies, &m.Incomplete),
	)
	if err == nil {
		m.Rounds, err = lineage.Rounds(w, m.Seeds)
	}
	if err == nil {
		scanned := m.Objects.IndexSHA256
		m.Objects, err = lineage.Objects(w, m.Objects)
		m.ObjectsSynced = m.Objects.IndexSHA256 != scanned
	}
	if err == nil {
		m.Switch, err = pipeline.Read(w, handoff.SwitchKey)
		if errors.Is(err, pipeline.ErrNoHandoff) {
			err = nil
		}
	}
	return m, err
}

func read[T any](w workspace.Workspace, k pipeline.Key[T], v *T, incomplete *[]string) (err error) {
	if *v, err = pipeline.Read(w, k); err != nil {
		return err
	}
	reasons, err := pipeline.Reasons(w, k)
	*incomplete = append(*incomplete, reasons...)
	return err
}

// Stage is the verify stage.
type Stage struct {
	options Options
	open    func(ctx context.Context, spec string) (store.Store, error)
	workers int
}

// New makes the stage. open opens a store by its specification; nil is
// [store.Default].
func New(o Options, open func(ctx context.Context, spec string) (store.Store, error)) *Stage {
	if open == nil {
		open = store.Default
	}
	return &Stage{options: o, open: open, workers: runtime.GOMAXPROCS(0)}
}

// Run looks at everything. What is wrong is in the verdicts, named, and no
// error; an error says that looking itself was not possible.
func (s *Stage) Run(ctx context.Context, env *pipeline.Env, made Made) (handoff.Verdicts, error) {
	cat, err := catalog.Open(ctx, env.Workspace.Path(workspace.Inventory))
	if err != nil {
		return handoff.Verdicts{}, err
	}
	defer cat.Close()
	temp := env.Workspace.Path(workspace.Run, "verify")
	if err := os.RemoveAll(temp); err != nil {
		return handoff.Verdicts{}, err
	}
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return handoff.Verdicts{}, err
	}
	defer os.RemoveAll(temp)
	r := &run{Env: env, Stage: s, made: made, cat: cat, temp: temp}
	for _, look := range []func(context.Context) error{r.balance, r.images, r.pushed, r.objects, r.manifests, r.volumes, r.inCluster} {
		if err := look(ctx); err != nil {
			return handoff.Verdicts{}, err
		}
	}
	return handoff.Verdicts{Checks: r.checks, Proved: r.proved(), Incomplete: r.incomplete()}, nil
}

type run struct {
	*pipeline.Env
	*Stage
	made   Made
	cat    *catalog.Catalog
	temp   string
	checks []handoff.Check
}

// What a check is about.
const (
	aBalance  = "balance"
	anImage   = "image"
	anObject  = "object"
	aManifest = "manifest"
	aSeed     = "seed"
	aVolume   = "volume"
)

// check adds a line: err says what is wrong, detail what was seen when nothing
// is.
func (r *run) check(what, name string, err error, detail string, args ...any) {
	c := handoff.Check{What: what, Name: name, OK: err == nil, Detail: fmt.Sprintf(detail, args...)}
	if err != nil {
		c.Detail = err.Error()
	}
	r.checks = append(r.checks, c)
}

func (r *run) proved() bool {
	for _, c := range r.checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// incomplete lists why the run is no success although everything that was made
// is as it should be.
func (r *run) incomplete() []string {
	out := append([]string{}, r.made.Incomplete...)
	known := map[string]bool{}
	for _, why := range out {
		known[why] = true
	}
	add := func(why string) {
		if !known[why] {
			known[why] = true
			out = append(out, why)
		}
	}
	missing := r.made.Images.Missing
	if !r.options.Hold { // else the next sync brings them
		missing = slices.Concat(missing, r.made.Objects.Missing)
	}
	for _, m := range missing {
		add(m.Why)
	}
	for _, p := range r.made.Split.Unreadable {
		add(r.made.Split.NotTaken(p, workspace.Decisions))
	}
	if more := r.made.Split.UnreadableCount - int64(len(r.made.Split.Unreadable)); more > 0 {
		add(fmt.Sprintf("%d more paths could not be read", more))
	}
	return out
}

// balance counts the classes again.
func (r *run) balance(ctx context.Context) error {
	tallies, err := r.cat.Tallies(ctx)
	if err != nil {
		return err
	}
	total, err := r.cat.Total(ctx)
	if err != nil {
		return err
	}
	var sum catalog.Tally
	classes := map[string]catalog.Tally{}
	var faults []error
	for _, t := range tallies {
		if t.Class == "" {
			faults = append(faults, fmt.Errorf("%d paths have no class", t.Entries))
		}
		classes[string(t.Class)] = t
		sum.Entries += t.Entries
		sum.Files += t.Files
		sum.Bytes += t.Bytes
		sum.Allocated += t.Allocated
	}
	if sum != total {
		faults = append(faults, fmt.Errorf("the classes hold %d paths with %d bytes, the source %d with %d", sum.Entries, sum.Bytes, total.Entries, total.Bytes))
	}
	planned := r.made.Plan.Balance
	if !planned.Even() {
		faults = append(faults, errors.New("the plan's balance is not even"))
	}
	for _, c := range planned.Classes {
		t := classes[string(c.Class)]
		if c.Entries != t.Entries || c.Files != t.Files || c.Bytes != t.Bytes {
			faults = append(faults, fmt.Errorf("class %s has %d paths with %d bytes, the plan says %d with %d", c.Class, t.Entries, t.Bytes, c.Entries, c.Bytes))
		}
	}
	if p := planned.Total; p.Entries != total.Entries || p.Bytes != total.Bytes {
		faults = append(faults, fmt.Errorf("the source has %d paths with %d bytes, the plan says %d with %d", total.Entries, total.Bytes, p.Entries, p.Bytes))
	}
	r.check(aBalance, "all classes", errors.Join(faults...), "%d paths with %d bytes in %d classes, each in exactly one", total.Entries, total.Bytes, len(tallies))
	return nil
}

func (r *run) storeSpec() string {
	return cmp.Or(r.options.Store, r.Workspace.Path(workspace.Store))
}
