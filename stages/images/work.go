package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/rootfs"
)

// work is one layer to be had.
type work struct {
	*pipeline.Env
	root        *rootfs.Root
	lay         layout
	compression layer.Compression
	temp        string

	plan    layer.Plan // without files that changed, when it is done
	blob    layer.Blob
	missing []handoff.Missing // which those are
}

// maxAttempts bounds how often a layer is begun again since files of it change.
const maxAttempts = 5

// do finds the layer of an earlier run, or builds it.
func (w *work) do(ctx context.Context) error {
	for range maxAttempts {
		err := w.have(ctx)
		var unusable *layer.Unusable
		if !errors.As(err, &unusable) {
			return err
		}
		if unusable.Count > len(unusable.Files) {
			return fmt.Errorf("%w: plan again, while the source is quiet", err)
		}
		if err := w.without(unusable.Files); err != nil {
			return err
		}
	}
	return fmt.Errorf("files keep changing, the last one %s: plan again, while the source is quiet", w.missing[len(w.missing)-1].Why)
}

// format changes when the same plan would give other bytes, so that no older
// layer is taken for it.
const format = "1"

// have takes the layer from the ledger or builds it. Either way it is read back
// and proved against its plan: the ledger alone proves nothing.
func (w *work) have(ctx context.Context) error {
	item := fmt.Sprintf("layer/%s/%s/%s", format, w.compression, w.plan.Digest)
	mark, ok, err := w.Ledger.Lookup(ctx, item)
	if err != nil {
		return err
	}
	if ok {
		err := json.Unmarshal([]byte(mark), &w.blob)
		if err == nil {
			err = w.prove(ctx)
		}
		if err == nil {
			w.Progress.Add(w.plan.Bytes)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		w.Log.Warn("a layer of an earlier run cannot be used and is built again", "digest", w.blob.Digest, "why", err)
	}
	if err := w.build(ctx); err != nil {
		return err
	}
	if err := w.prove(ctx); err != nil {
		return fmt.Errorf("what was written is not what was read: %w", err)
	}
	data, err := json.Marshal(w.blob)
	if err != nil {
		return err
	}
	return w.Ledger.Commit(ctx, item, string(data))
}

func (w *work) build(ctx context.Context) (err error) {
	files := content.NewReader(w.root)
	defer files.Close()
	if w.blob, err = layer.Write(ctx, w.temp, w.plan, files, w.compression, w.Progress.Add); err != nil {
		return err
	}
	return w.lay.adopt(w.temp, w.blob.Digest)
}

func (w *work) prove(ctx context.Context) error {
	f, err := os.Open(w.lay.blob(w.blob.Digest))
	if err != nil {
		return fmt.Errorf("layer: %w", err)
	}
	return errors.Join(layer.Check(ctx, f, w.blob, w.plan, nil), f.Close())
}

// without takes files out of the plan, with all hard links to them.
func (w *work) without(files []*content.Changed) error {
	out := make(map[hostpath.Path]bool, len(files))
	for _, c := range files {
		out[c.Path] = true
		w.missing = append(w.missing, handoff.Missing{Path: c.Path, Why: c.Error()})
	}
	plan, links, err := w.plan.Without(fmt.Sprintf("%s-plan-%d", w.temp, len(w.missing)), out)
	if err != nil {
		return err
	}
	w.plan = plan
	for _, p := range links {
		w.missing = append(w.missing, handoff.Missing{Path: p, Why: p.String() + " changed since the scan: its inode did"})
	}
	return nil
}
