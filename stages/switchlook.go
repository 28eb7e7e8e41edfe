package stages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/atomicfile"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/oci"
	"github.com/statelift/statelift/pipeline/receipts"
	"github.com/statelift/statelift/pipeline/workspace"
)

// look asks the servers outside how the databases of a workload stand there, by a
// Job in the cluster.
func (f *far) look(ctx context.Context, in *fence.Fence, w handoff.Workload) (_ handoff.TransferStanding, err error) {
	manifests, err := pipeline.Read(f.env("deploy").Workspace, handoff.ManifestsKey)
	if err != nil {
		return handoff.TransferStanding{}, err
	}
	job, err := f.transferOf(w, manifests, in)
	if err != nil {
		return handoff.TransferStanding{}, err
	}
	// Neither the credentials nor the Job outlive the question.
	defer func() { err = errors.Join(err, in.Owner.RemoveBrief(context.WithoutCancel(ctx))) }()
	return f.mover(in).Look(ctx, job)
}

// beyond looks, before anything is stopped, whether the databases of a workload can
// be moved: the password is there, the server takes it from within the cluster, and
// nobody has written to what an earlier cutover moved there.
func (c checks) beyond(ctx context.Context, w handoff.Workload) (string, error) {
	in, err := c.fence(ctx)
	if err != nil {
		return "", err
	}
	if _, err := c.mover(in).Password(w); err != nil {
		return "", err
	}
	at, err := c.far.look(ctx, in, w)
	if err != nil {
		return "", err
	}
	var faults []error
	for _, d := range at.Databases {
		if d.Written {
			faults = append(faults, fmt.Errorf("database %s at %s was moved there before, and somebody has written to it since: drop it with that server's own tools (statelift rollback has listed its tables)", d.Name, at.Server))
		}
	}
	for _, name := range w.External.Databases {
		if slices.Contains(at.Others, name) {
			faults = append(faults, fmt.Errorf("there is a database %s at %s that was not moved there, and is not overwritten", name, at.Server))
		}
	}
	detail := fmt.Sprintf("%s %s answers %s in the cluster", w.External.Engine, at.To, w.External.User)
	if at.TLS != "" {
		detail += ", encrypted (" + at.TLS + ")"
	} else {
		detail += ", not encrypted"
	}
	if len(at.Others) > 0 {
		detail += "; of others it has " + strings.Join(at.Others, ", ")
	}
	return detail, errors.Join(faults...)
}

// shownTables is how many tables a report names.
const shownTables = 100

// writtenOutside lists the tables of databases outside the cluster that are not as
// they were moved: what a workload wrote there since is not at the source.
func (l lister) writtenOutside(ctx context.Context, in *fence.Fence) ([]handoff.VolumeChanges, error) {
	var out []handoff.VolumeChanges
	for _, w := range l.outside() {
		receipt, err := readTransfer(l.env("rollback").Workspace, w.Name)
		if errors.Is(err, os.ErrNotExist) {
			continue // the cutover did not come that far
		}
		if err != nil {
			return out, err
		}
		at, err := l.look(ctx, in, w)
		if err != nil {
			return out, err
		}
		found, err := writeTables(l.env("rollback").Workspace, w.Name, at.Server, at.Changes(receipt))
		if err != nil {
			return out, err
		}
		out = append(out, found)
	}
	return out, nil
}

func readTransfer(w workspace.Workspace, workload string) (handoff.TransferReceipt, error) {
	var receipt handoff.TransferReceipt
	name := w.Path(workspace.Receipts, receipts.Transfer(workload))
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &receipt)
	}
	if err != nil {
		return receipt, fmt.Errorf("receipt of the databases of %s: %w", workload, err)
	}
	return receipt, nil
}

// writeTables writes the list of changed tables and sums it up.
func writeTables(w workspace.Workspace, workload, server string, list []handoff.Change) (handoff.VolumeChanges, error) {
	out := handoff.VolumeChanges{
		Volume: workload, Outside: server, File: filepath.Join(workspace.Changes, "outside-"+workload+".jsonl"), First: list[:min(len(list), shownTables)],
	}
	var text []byte
	for _, c := range list {
		switch c.What {
		case "added":
			out.Added++
		case "altered":
			out.Altered++
		case "removed":
			out.Removed++
		}
		line, err := json.Marshal(c)
		if err != nil {
			return out, fmt.Errorf("changes: %w", err)
		}
		text = append(append(text, line...), '\n')
	}
	out.SHA256 = oci.Sum(text)
	return out, atomicfile.Write(w.Path(out.File), text, 0o600)
}
