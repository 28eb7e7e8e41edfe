package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxLine bounds a line of a log; a receipt with a thousand differences is the
// longest that is expected.
const maxLine = 8 << 20

// Lines calls each with every line that a container has written, in order.
// Previous asks for the container before the last restart.
func (c *Cluster) Lines(ctx context.Context, pod, container string, previous bool, each func(line string)) error {
	return c.lines(ctx, pod, &corev1.PodLogOptions{Container: container, Previous: previous}, each)
}

func (c *Cluster) lines(ctx context.Context, pod string, o *corev1.PodLogOptions, each func(line string)) error {
	var stream io.ReadCloser
	err := c.retry(ctx, func() (err error) {
		stream, err = c.Client.CoreV1().Pods(c.Namespace).GetLogs(pod, o).Stream(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("log of Pod %s: %w", pod, err)
	}
	defer stream.Close()
	scan := bufio.NewScanner(stream)
	scan.Buffer(make([]byte, 64<<10), maxLine)
	for scan.Scan() {
		each(scan.Text())
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("log of Pod %s: %w", pod, err)
	}
	return nil
}

// Follow calls each with every line of a container until it ends, and goes on
// where it was when the connection is lost. It returns nil at the end of the
// container or when the Pod is gone.
func (c *Cluster) Follow(ctx context.Context, pod, container string, each func(line string)) error {
	var last time.Time
	for {
		o := &corev1.PodLogOptions{Container: container, Follow: true, Timestamps: true}
		if !last.IsZero() {
			// Whole seconds: what was seen already is told by its full time.
			since := metav1.NewTime(last)
			o.SinceTime = &since
		}
		err := c.lines(ctx, pod, o, func(line string) {
			stamp, text, _ := strings.Cut(line, " ")
			at, err := time.Parse(time.RFC3339Nano, stamp)
			if err != nil || !at.After(last) {
				return
			}
			last = at
			each(text)
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case apierrors.IsNotFound(err):
			return nil
		case errors.Is(err, bufio.ErrTooLong):
			return err
		}
		ended, lookErr := c.ended(ctx, pod, container)
		if lookErr != nil || ended {
			return lookErr
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended reports whether a container will write no more.
func (c *Cluster) ended(ctx context.Context, pod, container string) (bool, error) {
	var p *corev1.Pod
	err := c.retry(ctx, func() (err error) {
		p, err = c.Client.CoreV1().Pods(c.Namespace).Get(ctx, pod, metav1.GetOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("pod %s: %w", pod, err)
	}
	for _, s := range p.Status.ContainerStatuses {
		if s.Name == container {
			return s.State.Terminated != nil && p.Spec.RestartPolicy == corev1.RestartPolicyNever, nil
		}
	}
	return p.Status.Phase == corev1.PodFailed || p.Status.Phase == corev1.PodSucceeded, nil
}
