package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// cleanOptions are the flags of clean.
type cleanOptions struct {
	dryRun   bool
	volumes  bool
	unwanted bool
	serving  bool
}

// cleanReport is what `statelift clean --json` prints.
type cleanReport struct {
	Workspace string       `json:"workspace"`
	DryRun    bool         `json:"dryRun"`
	Things    []cleanThing `json:"things"`
	// Remains names what clean does not remove: what far sides hold.
	Remains []string `json:"remains,omitempty"`
}

// cleanThing is one line of the report.
type cleanThing struct {
	Context   string `json:"context"`
	Namespace string `json:"namespace,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Action    string `json:"action"` // removed, would be removed, kept, gone
	Why       string `json:"why,omitempty"`
}

func newClean(g *globals) *cobra.Command {
	var o cleanOptions
	cmd := &cobra.Command{
		Use:   "clean",
		Short: "Remove from the cluster exactly what this workspace made there",
		Long: `Remove from the cluster what this workspace made there, and nothing else: what the
record names, that carries the label of this workspace and is still the same
object. Claims hold data and stay, unless --volumes asks for them. The namespace
goes when statelift made it and nothing is left in it. What is in a registry or a
bucket is listed and stays, and so does the workspace. After a cutover, and while one
is under way, --serving is needed as well.`,
		Example: "  statelift clean --dry-run\n  statelift clean --unwanted\n  statelift clean --volumes -w lift",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := g.clean(cmd.Context(), o)
			if r != nil {
				err = errors.Join(g.print(r, r.write), err)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "only show what would be removed")
	f.BoolVar(&o.volumes, "volumes", false, "remove claims as well, and with them the data")
	f.BoolVar(&o.serving, "serving", false, "also while the truth is in the cluster, or a cutover is under way")
	f.BoolVar(&o.unwanted, "unwanted", false, "remove only what the plan has no more")
	return cmd
}

func (g *globals) clean(ctx context.Context, o cleanOptions) (_ *cleanReport, err error) {
	l, err := g.open(ctx, request{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	if !o.serving && !o.dryRun {
		if err := refuse(l.ws, handoff.GuardedClean); err != nil {
			return nil, err
		}
	}
	c := cleaner{options: o, report: &cleanReport{Workspace: l.ws.Dir, DryRun: o.dryRun, Things: []cleanThing{}}}
	if c.identity, err = l.ws.Identity(); err != nil {
		return nil, err
	}
	if c.made, err = cluster.OpenMade(ctx, l.runner.Ledgers("deploy")); err != nil {
		return nil, err
	}
	if c.wanted, err = wantedObjects(l.ws); err != nil {
		return nil, err
	}
	err = c.run(ctx)
	if !o.unwanted {
		c.report.Remains = append(c.report.Remains, farRemains(l.ws)...)
	}
	return c.report, err
}

// cleaner removes what was made.
type cleaner struct {
	options  cleanOptions
	identity string
	made     *cluster.Made
	wanted   map[string]bool // KIND NAME
	report   *cleanReport
}

// wantedObjects are those of the manifests, as KIND NAME.
func wantedObjects(w workspace.Workspace) (map[string]bool, error) {
	out := map[string]bool{}
	m, err := pipeline.Read(w, handoff.ManifestsKey)
	if errors.Is(err, pipeline.ErrNoHandoff) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, f := range m.Files {
		out[f.Kind+" "+f.Object] = true
	}
	plan, err := pipeline.Read(w, handoff.PlanKey)
	if err != nil {
		return nil, err
	}
	out["ConfigMap "+fence.ConfigMap(plan)] = true // without it no Pod of a held lift starts
	return out, nil
}

// removal is the order in which kinds go: what runs first, what it needs last.
func removal() []string {
	return []string{
		"CronJob", "Deployment", "StatefulSet", "Job", "Pod", "Service", "PersistentVolumeClaim", "PersistentVolume",
		"Secret", "ConfigMap", "NetworkPolicy", "ServiceAccount", "Namespace",
	}
}

func (c *cleaner) run(ctx context.Context) error {
	things := c.made.All()
	slices.SortStableFunc(things, func(a, b cluster.Thing) int {
		return slices.Index(removal(), a.Kind) - slices.Index(removal(), b.Kind)
	})
	clusters := map[string]*cluster.Cluster{}
	var errs []error
	for _, t := range things {
		if clusters[t.Context] == nil {
			in, err := cluster.Connect(cluster.Options{Context: t.Context, Namespace: t.Namespace})
			if err != nil {
				return cluster.Explain(t.Context, err)
			}
			clusters[t.Context] = in
		}
		if err := c.one(ctx, clusters[t.Context], t); err != nil {
			errs = append(errs, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// one decides about one thing.
func (c *cleaner) one(ctx context.Context, in *cluster.Cluster, t cluster.Thing) error {
	if c.options.unwanted && (c.wanted[t.String()] || t.Kind == "Namespace") && !t.Brief {
		return nil
	}
	found, err := in.Find(ctx, t, c.identity)
	if err != nil {
		return cluster.Explain(t.Context, err)
	}
	switch found.State {
	case cluster.Gone:
		return c.gone(ctx, t)
	case cluster.Foreign:
		c.tell(t, "kept", "the object of that name is not the one that this workspace made")
		return nil
	}
	if why, err := c.keep(ctx, in, t); why != "" || err != nil {
		c.tell(t, "kept", why)
		return err
	}
	if c.options.dryRun {
		c.tell(t, "would be removed", "")
		return nil
	}
	return c.remove(ctx, in, found)
}

// keep says why a thing stays.
func (c *cleaner) keep(ctx context.Context, in *cluster.Cluster, t cluster.Thing) (string, error) {
	switch t.Kind {
	case "PersistentVolumeClaim":
		if !c.options.volumes {
			return "it holds data; --volumes removes it", nil
		}
	case "Namespace":
		if c.options.dryRun && c.options.volumes {
			return "", nil
		}
		left, err := in.Occupants(ctx, t.Name)
		if err != nil {
			return "", cluster.Explain(t.Context, err)
		}
		if !c.options.dryRun && len(left) > 0 {
			return fmt.Sprintf("it is not empty: %s", left[0]), nil
		}
		if c.options.dryRun && !c.options.volumes && c.holdsClaims(t.Name) {
			return "it holds claims", nil
		}
	}
	return "", nil
}

func (c *cleaner) holdsClaims(namespace string) bool {
	return slices.ContainsFunc(c.made.All(), func(t cluster.Thing) bool { return t.Kind == "PersistentVolumeClaim" && t.Namespace == namespace })
}

// cleanPatience is how long an object may take to go, with its finalizers.
const cleanPatience = 2 * time.Minute

func (c *cleaner) remove(ctx context.Context, in *cluster.Cluster, found cluster.Found) error {
	if err := in.Remove(ctx, found.Ref, found.Live); err != nil {
		return cluster.Explain(found.Context, err)
	}
	if err := in.Gone(ctx, found.Ref, found.Live, cleanPatience); err != nil {
		c.tell(found.Thing, "kept", err.Error())
		return err
	}
	c.tell(found.Thing, "removed", "")
	return c.made.Forget(ctx, found.Thing)
}

func (c *cleaner) gone(ctx context.Context, t cluster.Thing) error {
	c.tell(t, "gone", "")
	if c.options.dryRun {
		return nil
	}
	return c.made.Forget(ctx, t)
}

func (c *cleaner) tell(t cluster.Thing, action, why string) {
	c.report.Things = append(c.report.Things, cleanThing{Context: t.Context, Namespace: t.Namespace, Kind: t.Kind, Name: t.Name, Action: action, Why: why})
}

// farRemains names what far sides keep: it is not in the cluster, and may serve
// others.
func farRemains(w workspace.Workspace) []string {
	var out []string
	if i, err := pipeline.Read(w, handoff.ImagesKey); err == nil && i.Registry != "" {
		for _, image := range i.Images {
			out = append(out, "image "+image.Ref)
		}
	}
	if u, err := pipeline.Read(w, handoff.UploadKey); err == nil && u.Carrier != "" {
		out = append(out, fmt.Sprintf("%d blobs of seeds (%d bytes) in %s", u.Blobs, u.Bytes, u.Seeds), "image "+u.Copier)
	}
	if o, err := pipeline.Read(w, handoff.ObjectsKey); err == nil && o.Count > 0 {
		out = append(out, fmt.Sprintf("%d objects (%d bytes) in %s", o.Count, o.Bytes, o.Store))
	}
	return out
}

func (r *cleanReport) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range r.Things {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", t.Action, t.Context+"/"+t.Namespace, t.Kind, t.Name, t.Why)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if len(r.Things) == 0 {
		fmt.Fprintln(w, "nothing of this workspace is in a cluster")
	}
	for _, s := range r.Remains {
		fmt.Fprintf(w, "remains: %s\n", s)
	}
	_, err := fmt.Fprintf(w, "the workspace %s stays; it is yours to remove\n", r.Workspace)
	return err
}
