package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ErrNoPod says that no Pod of a workload or Service is running and ready.
var ErrNoPod = errors.New("no Pod of it is ready")

// Pods lists those with the labels, by name.
func (c *Cluster) Pods(ctx context.Context, match map[string]string) ([]corev1.Pod, error) {
	var list *corev1.PodList
	err := c.retry(ctx, func() (err error) {
		list, err = c.Client.CoreV1().Pods(c.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.SelectorFromSet(match).String()})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("the Pods of %s: %w", c, err)
	}
	slices.SortFunc(list.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return list.Items, nil
}

// ReadyPod is the first Pod with the labels that is ready and not on its way
// out; ErrNoPod when there is none.
func (c *Cluster) ReadyPod(ctx context.Context, match map[string]string) (*corev1.Pod, error) {
	pods, err := c.Pods(ctx, match)
	if err != nil {
		return nil, err
	}
	for i := range pods {
		if Ready(&pods[i]) {
			return &pods[i], nil
		}
	}
	return nil, ErrNoPod
}

// Ready reports whether a Pod serves.
func Ready(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// DialService opens a connection to a port of a Service: to the first ready Pod
// that it selects, where that port leads to.
func (c *Cluster) DialService(ctx context.Context, name string, port int32) (net.Conn, error) {
	var svc *corev1.Service
	err := c.retry(ctx, func() (err error) {
		svc, err = c.Client.CoreV1().Services(c.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	i := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port && p.Protocol != corev1.ProtocolUDP })
	if i < 0 {
		return nil, fmt.Errorf("service %s has no port %d", name, port)
	}
	if len(svc.Spec.Selector) == 0 {
		return nil, fmt.Errorf("service %s selects no Pods", name)
	}
	pod, err := c.ReadyPod(ctx, svc.Spec.Selector)
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	target, ok := targetPort(pod, svc.Spec.Ports[i])
	if !ok {
		return nil, fmt.Errorf("service %s: Pod %s has no port %s", name, pod.Name, svc.Spec.Ports[i].TargetPort.String())
	}
	return c.Dial(ctx, pod.Name, target)
}

// targetPort is the number behind a Service's port.
func targetPort(pod *corev1.Pod, p corev1.ServicePort) (int32, bool) {
	if p.TargetPort.Type == intstr.Int {
		if n := p.TargetPort.IntVal; n != 0 {
			return n, true
		}
		return p.Port, true
	}
	for _, c := range pod.Spec.Containers {
		for _, q := range c.Ports {
			if q.Name == p.TargetPort.StrVal {
				return q.ContainerPort, true
			}
		}
	}
	return 0, false
}
