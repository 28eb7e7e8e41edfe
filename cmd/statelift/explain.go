package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/workspace"
)

// explanation is what `statelift explain --json` prints for a path.
type explanation struct {
	Path        hostpath.Path `json:"path"`
	Type        string        `json:"type"`
	Size        int64         `json:"size"`
	Package     string        `json:"package,omitempty"`
	State       catalog.State `json:"state,omitempty"`
	Class       claim.Class   `json:"class"`
	Destination string        `json:"destination"`
	// Rewritten are the settings in it that are others in the cluster.
	Rewritten []handoff.Rewrite `json:"rewritten,omitempty"`
	Claim     claim.Claim       `json:"claim"`     // that won
	RunnersUp []claim.Claimant  `json:"runnersUp"` // from the strongest to the weakest, each with why it lost
}

func newExplain(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "explain PATH...",
		Short: "Class, destination, reason and evidence of a path, and the claims that lost",
		Long: `Tell, for each PATH of the source, where it goes, which claim decided that, where
the evidence stands, and which other claims there were. Odd names are written in
the escape that statelift prints: \n for a newline, \xHH for a byte, \\ for a
backslash.`,
		Example: `  statelift explain /etc/wordpress/config-default.php
  statelift explain --json '/srv/caf\xe9' | jq -r .[0].claim.reason`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := g.explain(cmd.Context(), args)
			if err != nil {
				return err
			}
			return g.print(list, func(w io.Writer) error {
				for i, e := range list {
					if i > 0 {
						fmt.Fprintln(w)
					}
					e.write(w)
				}
				return nil
			})
		},
	}
}

func (g *globals) explain(ctx context.Context, args []string) ([]explanation, error) {
	ws, err := g.existing()
	if err != nil {
		return nil, err
	}
	cat, err := catalog.Open(ctx, ws.Path(workspace.Inventory))
	if err != nil {
		return nil, err
	}
	defer cat.Close()
	claims, err := cat.Claims(ctx)
	if err != nil {
		return nil, err
	}
	if len(claims) == 0 {
		return nil, fmt.Errorf("no claims yet: statelift plan -w %s", ws.Dir)
	}
	resolver, err := claim.NewResolver(claims...)
	if err != nil {
		return nil, err
	}
	// A path can be explained before there is a plan; it has no destination then.
	plan, err := pipeline.Read(ws, handoff.PlanKey)
	if err != nil && !errors.Is(err, pipeline.ErrNoHandoff) {
		return nil, err
	}
	var out []explanation
	for _, arg := range args {
		p, err := hostpath.Parse(arg)
		if err != nil {
			return nil, errUsage{err}
		}
		e, err := cat.Lookup(ctx, p)
		if errors.Is(err, catalog.ErrNoPath) {
			return nil, &pipeline.InputError{What: p.String(), Err: catalog.ErrNoPath}
		}
		if err != nil {
			return nil, err
		}
		out = append(out, explain(e, resolver, plan))
	}
	return out, nil
}

func explain(e catalog.Placed, resolver *claim.Resolver, plan handoff.Plan) explanation {
	x := explanation{
		Path: e.Path, Type: string(e.Type), Size: e.Size, Package: e.Package, State: e.State, Class: e.Class,
		Destination: destination(e, plan),
	}
	for _, r := range plan.Rewrites {
		if r.Path == e.Path {
			x.Rewritten = append(x.Rewritten, r)
		}
	}
	for _, c := range resolver.Claimants(e.Subject()) {
		if c.ID == e.Claim {
			x.Claim = c.Claim
			continue
		}
		x.RunnersUp = append(x.RunnersUp, c)
	}
	return x
}

// destination names what the plan makes of the path.
func destination(e catalog.Placed, plan handoff.Plan) string {
	switch e.Class {
	case claim.Image:
		if in := fileSet("ConfigMap", plan.Configs, e.Path); in != "" {
			return "image layer, and rewritten in " + in
		}
		return "image layer"
	case claim.Config:
		return cmp.Or(fileSet("ConfigMap", plan.Configs, e.Path), "ConfigMap")
	case claim.Secret:
		return cmp.Or(fileSet("Secret", plan.Secrets, e.Path), "Secret")
	case claim.Volume:
		for _, v := range plan.Volumes {
			if e.Path.Within(v.Path) {
				return fmt.Sprintf("volume %s at %s", v.Name, e.Path.Below(v.Path))
			}
		}
		return "volume"
	case claim.Share:
		for _, s := range plan.Shares {
			if e.Path.Within(s.Path) {
				return fmt.Sprintf("share %s (%s:%s)", s.Name, s.Server, s.Export)
			}
		}
		return "network share"
	case claim.Object:
		return "object store"
	case claim.Ephemeral:
		return "an empty directory"
	case claim.Drop:
		return "nothing"
	}
	return "nothing yet"
}

// fileSet names the sets that hold the file, with its key.
func fileSet(kind string, sets []handoff.FileSet, p hostpath.Path) string {
	var in []string
	for _, s := range sets {
		for _, f := range s.Files {
			if f.Path == p {
				in = append(in, fmt.Sprintf("%s %s key %s", kind, s.Name, f.Key))
			}
		}
	}
	slices.Sort(in)
	return strings.Join(slices.Compact(in), ", ")
}

func (x explanation) write(w io.Writer) {
	fmt.Fprintf(w, "%s\n", x.Path)
	fmt.Fprintf(w, "  class        %s\n", x.Class)
	fmt.Fprintf(w, "  goes to      %s\n", x.Destination)
	for _, r := range x.Rewritten {
		fmt.Fprintf(w, "  rewritten    line %d: %s is %s instead of %s, for %s: %s\n", r.Line, r.What, cmp.Or(r.New, "empty"), cmp.Or(r.Old, "nothing"), strings.Join(r.For, ", "), r.Why)
	}
	fmt.Fprintf(w, "  because      %s (%s confidence)\n", x.Claim.Reason, x.Claim.Confidence)
	fmt.Fprintf(w, "  says         %s\n", x.Claim.By)
	for _, e := range x.Claim.Evidence {
		fmt.Fprintf(w, "  evidence     %s\n", e)
	}
	if x.Package != "" {
		fmt.Fprintf(w, "  package      %s (%s)\n", x.Package, x.State)
	}
	for _, r := range x.RunnersUp {
		fmt.Fprintf(w, "  also claimed %s by %s: %s; lost: %s\n", r.Class, r.By, r.Reason, r.Lost)
	}
}
