package cluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

// View is a namespace as the API server last told it: watches that go on where
// they were after a lost connection keep it current.
type View struct {
	namespace string
	main      informers.SharedInformerFactory
	events    informers.SharedInformerFactory

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	refused error
}

// Watch opens a view of the objects with those labels and of all events of the
// namespace. It returns when all was read once. The view ends with ctx.
func (c *Cluster) Watch(ctx context.Context, selector string) (*View, error) {
	v := &View{namespace: c.Namespace, changed: make(chan struct{})}
	v.main = informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithNamespace(c.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector }))
	v.events = informers.NewSharedInformerFactoryWithOptions(c.Client, 0, informers.WithNamespace(c.Namespace))
	list := []cache.SharedIndexInformer{
		v.main.Core().V1().Pods().Informer(), v.main.Core().V1().PersistentVolumeClaims().Informer(),
		v.main.Batch().V1().Jobs().Informer(), v.main.Apps().V1().StatefulSets().Informer(), v.main.Apps().V1().Deployments().Informer(),
		v.events.Core().V1().Events().Informer(),
	}
	told := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { v.tell() }, UpdateFunc: func(any, any) { v.tell() }, DeleteFunc: func(any) { v.tell() },
	}
	for _, i := range list {
		if err := i.SetWatchErrorHandler(func(_ *cache.Reflector, err error) { v.refuse(err) }); err != nil {
			return nil, fmt.Errorf("watch %s: %w", c, err)
		}
		if _, err := i.AddEventHandler(told); err != nil {
			return nil, fmt.Errorf("watch %s: %w", c, err)
		}
	}
	v.main.Start(ctx.Done())
	v.events.Start(ctx.Done())
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ready := true
		for _, i := range list {
			ready = ready && i.HasSynced()
		}
		if ready {
			return v, nil
		}
		if err := v.Err(); err != nil {
			return nil, fmt.Errorf("watch %s: %w", c, err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (v *View) tell() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.changed)
	v.changed = make(chan struct{})
}

// refuse keeps what will not get better by asking again.
func (v *View) refuse(err error) {
	if !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		return
	}
	v.mu.Lock()
	v.refused = err
	v.mu.Unlock()
	v.tell()
}

// Err is why the view is not kept current any more: a permission is missing.
func (v *View) Err() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.refused
}

// Changed is closed at the next change. Who takes it before looking misses none.
func (v *View) Changed() <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changed
}

// Job is nil when there is none.
func (v *View) Job(name string) *batchv1.Job {
	// A lister fails only for what is not there.
	j, err := v.main.Batch().V1().Jobs().Lister().Jobs(v.namespace).Get(name)
	if err != nil {
		return nil
	}
	return j
}

// Claim is nil when there is none.
func (v *View) Claim(name string) *corev1.PersistentVolumeClaim {
	p, err := v.main.Core().V1().PersistentVolumeClaims().Lister().PersistentVolumeClaims(v.namespace).Get(name)
	if err != nil {
		return nil
	}
	return p
}

// StatefulSet is nil when there is none.
func (v *View) StatefulSet(name string) *appsv1.StatefulSet {
	s, err := v.main.Apps().V1().StatefulSets().Lister().StatefulSets(v.namespace).Get(name)
	if err != nil {
		return nil
	}
	return s
}

// Deployment is nil when there is none.
func (v *View) Deployment(name string) *appsv1.Deployment {
	d, err := v.main.Apps().V1().Deployments().Lister().Deployments(v.namespace).Get(name)
	if err != nil {
		return nil
	}
	return d
}

// Pods are those with the labels.
func (v *View) Pods(match map[string]string) []*corev1.Pod {
	list, err := v.main.Core().V1().Pods().Lister().Pods(v.namespace).List(labels.SelectorFromSet(match))
	if err != nil {
		return nil
	}
	return list
}

// JobPods are the Pods of one Job.
func (v *View) JobPods(uid types.UID) []*corev1.Pod {
	return v.Pods(map[string]string{batchv1.ControllerUidLabel: string(uid)})
}

// Events are those about the objects with these UIDs that were seen at or after
// since.
func (v *View) Events(since time.Time, about ...types.UID) []*corev1.Event {
	list, err := v.events.Core().V1().Events().Lister().Events(v.namespace).List(labels.Everything())
	if err != nil {
		return nil
	}
	var out []*corev1.Event
	for _, e := range list {
		for _, uid := range about {
			if e.InvolvedObject.UID == uid && !diagnose.LastSeen(e).Before(since) {
				out = append(out, e)
				break
			}
		}
	}
	return out
}
