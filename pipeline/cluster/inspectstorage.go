package cluster

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/handoff"
)

// defaultClass is the annotation of the class that claims get that name none.
const defaultClass = "storageclass.kubernetes.io/is-default-class"

func (c *Cluster) storageClasses(ctx context.Context, drivers []Driver) ([]handoff.StorageClass, error) {
	var list *storagev1.StorageClassList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.StorageV1().StorageClasses().List(ctx, metav1.ListOptions{})
		return err
	})
	if ok, err := readable("storage classes", err); !ok {
		return nil, err
	}
	chosen := newestDefault(list.Items)
	var out []handoff.StorageClass
	for _, sc := range list.Items {
		out = append(out, describeClass(sc, sc.Name == chosen, drivers))
	}
	slices.SortFunc(out, func(a, b handoff.StorageClass) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// csiDrivers are the names of the CSI drivers that are installed.
func (c *Cluster) csiDrivers(ctx context.Context) ([]string, error) {
	var list *storagev1.CSIDriverList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.StorageV1().CSIDrivers().List(ctx, metav1.ListOptions{})
		return err
	})
	if ok, err := readable("CSI drivers", err); !ok {
		return nil, err
	}
	var out []string
	for _, d := range list.Items {
		out = append(out, d.Name)
	}
	slices.Sort(out)
	return out, nil
}

// newestDefault is the class that Kubernetes takes when several call themselves
// the default: the one that was made last (DefaultStorageClass admission).
func newestDefault(classes []storagev1.StorageClass) string {
	var best *storagev1.StorageClass
	for i := range classes {
		sc := &classes[i]
		if sc.Annotations[defaultClass] != "true" && sc.Annotations["storageclass.beta.kubernetes.io/is-default-class"] != "true" {
			continue
		}
		if best == nil || best.CreationTimestamp.Before(&sc.CreationTimestamp) ||
			best.CreationTimestamp.Equal(&sc.CreationTimestamp) && sc.Name < best.Name {
			best = sc
		}
	}
	if best == nil {
		return ""
	}
	return best.Name
}

func describeClass(sc storagev1.StorageClass, isDefault bool, drivers []Driver) handoff.StorageClass {
	out := handoff.StorageClass{
		Name: sc.Name, Provisioner: sc.Provisioner, Default: isDefault,
		Binding: string(storagev1.VolumeBindingImmediate), Reclaim: string(corev1.PersistentVolumeReclaimDelete),
		Expands: sc.AllowVolumeExpansion != nil && *sc.AllowVolumeExpansion,
	}
	if sc.VolumeBindingMode != nil {
		out.Binding = string(*sc.VolumeBindingMode)
	}
	if sc.ReclaimPolicy != nil {
		out.Reclaim = string(*sc.ReclaimPolicy)
	}
	var a Ability
	if out.Driver, a, out.Known = FindDriver(drivers, sc.Provisioner, sc.Parameters); out.Known {
		out.AccessModes, out.Fact, out.NoOwners = a.Modes, a.Source, a.NoOwners
		out.Notes = append(out.Notes, a.Notes...)
	}
	return out
}
