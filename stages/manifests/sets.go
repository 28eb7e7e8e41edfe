package manifests

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/envfile"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/mountcifs"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// maxFile is the most that a ConfigMap or Secret can hold (core/v1,
// MaxSecretSize); the plan packs below it.
const maxFile = 1 << 20

// reader reads files of the source as the scan saw them.
type reader struct {
	cat   *catalog.Catalog
	files *content.Reader
}

// read returns the whole content of a file. A [*content.Changed] says that it is
// not what was scanned.
func (r reader) read(ctx context.Context, p hostpath.Path) ([]byte, error) {
	e, err := r.cat.Lookup(ctx, p)
	if err != nil {
		return nil, err
	}
	if e.Size > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, more than a ConfigMap or Secret holds", p, e.Size)
	}
	f, err := r.files.Open(e.Entry.Entry)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if err := f.Copy(ctx, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// makeSets makes the ConfigMaps and Secrets.
func (w *writer) makeSets(ctx context.Context, r reader) error {
	for _, set := range w.plan.Configs {
		values, err := w.values(ctx, r, set)
		if err != nil {
			return err
		}
		m := w.setMeta(set)
		cm := &corev1.ConfigMap{TypeMeta: typeMeta("v1", "ConfigMap"), ObjectMeta: m}
		for key, v := range values {
			if utf8.Valid(v) {
				if cm.Data == nil {
					cm.Data = map[string]string{}
				}
				cm.Data[key] = string(v)
				continue
			}
			if cm.BinaryData == nil {
				cm.BinaryData = map[string][]byte{}
			}
			cm.BinaryData[key] = v
		}
		w.digests[set.Name] = digestOf(values)
		w.add("ConfigMap", cm, m, false)
	}
	for _, set := range w.plan.Secrets {
		values, err := w.values(ctx, r, set)
		if err != nil {
			return err
		}
		m := w.setMeta(set)
		w.add("Secret", &corev1.Secret{TypeMeta: typeMeta("v1", "Secret"), ObjectMeta: m, Type: corev1.SecretTypeOpaque, Data: values}, m, true)
	}
	return nil
}

// values reads what a set holds, by its keys.
func (w *writer) values(ctx context.Context, r reader, set handoff.FileSet) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, f := range set.Files {
		if f.Made != "" {
			out[f.Key] = []byte(f.Made)
			continue
		}
		data, err := r.read(ctx, f.Path)
		var changed *content.Changed
		if errors.As(err, &changed) {
			if msg := changed.Error(); !slices.Contains(w.changed, msg) {
				w.changed = append(w.changed, msg)
			}
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", set.Name, err)
		}
		if f.Variable != "" {
			value, ok := variable(f, data)
			if !ok {
				return nil, fmt.Errorf("%s: %s has no variable %s", set.Name, f.Path, f.Variable)
			}
			data = []byte(value)
		}
		if f.Credential != "" {
			value, ok := unitfile.SetCredential(data, f.Credential)
			if !ok {
				return nil, fmt.Errorf("%s: %s sets no credential %s", set.Name, f.Path, f.Credential)
			}
			data = []byte(value)
		}
		if f.Option != "" {
			value, ok := mountcifs.Credentials(data)[f.Option]
			if !ok {
				return nil, fmt.Errorf("%s: %s has no %s", set.Name, f.Path, f.Option)
			}
			data = []byte(value)
		}
		if data, err = edited(data, f.Edits); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", set.Name, f.Path, err)
		}
		out[f.Key] = data
	}
	for key, value := range set.Values {
		out[key] = []byte(value)
	}
	return out, nil
}

// edited makes the edits of a file. The file is as the plan saw it, or they fit
// nowhere.
func edited(data []byte, edits []handoff.Edit) ([]byte, error) {
	if len(edits) == 0 {
		return data, nil
	}
	var out []byte
	at := int64(0)
	for _, e := range edits {
		end := e.At + int64(len(e.Old))
		if e.At < at || end > int64(len(data)) || string(data[e.At:end]) != e.Old {
			return nil, fmt.Errorf("is not as the plan saw it at byte %d: plan again", e.At)
		}
		out = append(append(out, data[at:e.At]...), e.New...)
		at = end
	}
	return append(out, data[at:]...), nil
}

// variable is the last assignment of a variable in an EnvironmentFile or in the
// Environment= lines of a unit.
func variable(f handoff.KeyFile, data []byte) (value string, ok bool) {
	list := envfile.Parse(string(data))
	if strings.HasSuffix(string(f.Path), ".service") || strings.HasSuffix(string(f.Path), ".conf") && strings.HasSuffix(string(f.Path.Dir()), ".d") {
		list = envfile.FromUnit(string(data))
	}
	for _, v := range list {
		if v.Name == f.Variable {
			value, ok = v.Value, true
		}
	}
	return value, ok
}

// digestOf sums up the content of a ConfigMap, so that a change of it restarts
// the Pods. Secrets have none: a digest of a password helps to guess it.
func digestOf(values map[string][]byte) string {
	var b bytes.Buffer
	for _, key := range sortedKeys(values) {
		fmt.Fprintf(&b, "%s\x00%d\x00", key, len(values[key]))
		b.Write(values[key])
	}
	return sum(b.Bytes())
}
