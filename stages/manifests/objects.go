package manifests

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/cluster/fence"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/lineage"
)

// fetchAt is where an init container sees the directory that it fills, and
// fetchTemp the volume with its temporary files.
const (
	fetchAt   = "/objects"
	fetchTemp = "statelift-fetch"
)

// objectsSecret is the part of the plan's names for the Secret with which Pods
// read the bucket. It is no manifest: deploy makes it.
const objectsSecret = "objects"

// fetches are the init containers that bring the objects of directories into the
// Pod. Each goes by the index as it was when it was proved: of a lift that is held, by
// that of the last sync round, which the fence tells.
func (w *writer) fetches(wl handoff.Workload) []corev1.Container {
	var out []corev1.Container
	for _, v := range wl.Mounts {
		if v.Origin != handoff.FromObjects {
			continue
		}
		c := w.copyContainer(cmp.Or(w.upload.Copier, defaultCopier), "fetch", "--store", escapeVariables(w.options.Store),
			"--name", w.stored.Index, "--index", w.index(), "--below", escapeVariables(v.Of), "--to", fetchAt)
		c.Name = "fetch-" + strconv.Itoa(len(out)+1)
		c.EnvFrom[0].SecretRef.Name = w.plan.ObjectName(objectsSecret)
		if w.options.Hold {
			c.Env = append(c.Env, fence.Env(w.plan, indexVariable, fence.IndexKey))
		}
		c.VolumeMounts = []corev1.VolumeMount{{Name: fetchTemp, MountPath: "/tmp"}, {Name: v.Name, MountPath: fetchAt}}
		out = append(out, c)
	}
	return out
}

// indexVariable has the SHA-256 of the index in the Pods of a held lift.
const indexVariable = "STATELIFT_OBJECTS_INDEX"

func (w *writer) index() string {
	if w.options.Hold {
		return "$(" + indexVariable + ")" // Kubernetes puts it in
	}
	return w.stored.IndexSHA256
}

// findObjects reads which objects there are, for Pods that fetch some. Into a
// cluster that takes a bucket, which they reach.
func (w *writer) findObjects(env *pipeline.Env) (err error) {
	for _, wl := range w.plan.Workloads {
		i := slices.IndexFunc(wl.Mounts, func(v handoff.PodVolume) bool { return v.Origin == handoff.FromObjects })
		if i < 0 {
			continue
		}
		if w.options.Cluster && w.options.Store == "" {
			return &pipeline.Blocked{
				Question: fmt.Sprintf("workload %s has the files of %s as objects, and its Pods fetch them from a bucket: none was given", wl.Name, wl.Mounts[i].Of),
				Where:    "--store s3://…",
			}
		}
		if w.stored, err = pipeline.Read(env.Workspace, handoff.ObjectsKey); err != nil {
			return err
		}
		w.stored, err = lineage.Objects(env.Workspace, w.stored)
		return err
	}
	return nil
}
