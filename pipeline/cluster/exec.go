package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

// maxOutput is how much of each stream of a command is kept: its end, where the
// verdict stands.
const maxOutput = 256 << 10

// Output is what a command did.
type Output struct {
	Code           int    // its exit code
	Stdout, Stderr []byte // the last 256 KiB of each
	// Lines is the number of lines on both, also of those that are not kept.
	Lines int
}

// Exec runs a command in a container of a running Pod, without a terminal and
// without input, and waits for its end. A command that fails is no error: its
// exit code tells. When ctx ends, the connection is closed; Kubernetes leaves
// the command alone then.
func (c *Cluster) Exec(ctx context.Context, pod, container string, command []string) (Output, error) {
	var stdout, stderr tail
	code, err := c.Stream(ctx, pod, container, command, Streams{Stdout: &stdout, Stderr: &stderr})
	if err != nil {
		return Output{}, err
	}
	return Output{Code: code, Stdout: stdout.kept(), Stderr: stderr.kept(), Lines: stdout.lines + stderr.lines}, nil
}

// Streams are what a command reads and writes. Stdin may be nil; the command sees
// its end.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Stream is Exec with the streams of the caller. A connection that is lost is an
// error, but what had arrived before looks whole: what must be is proved by a
// digest that the command prints.
func (c *Cluster) Stream(ctx context.Context, pod, container string, command []string, s Streams) (code int, err error) {
	// A command may have had its effect although the connection was lost: it is
	// not asked for twice.
	request := c.Client.CoreV1().RESTClient().Post().Resource("pods").Namespace(c.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdin: s.Stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	url := request.URL()
	fail := func(err error) (int, error) {
		return 0, fmt.Errorf("a command in container %s of Pod %s: %w", container, pod, err)
	}
	// WebSockets go through proxies that SPDY does not; clusters before 1.29 have
	// SPDY alone.
	socket, err := remotecommand.NewWebSocketExecutor(c.Config, "GET", url.String())
	if err != nil {
		return fail(err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.Config, "POST", url)
	if err != nil {
		return fail(err)
	}
	executor, err := remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return fail(err)
	}
	err = executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr})
	var exited exec.CodeExitError
	switch {
	case errors.As(err, &exited):
		return exited.Code, nil
	case ctx.Err() != nil:
		return fail(ctx.Err())
	case err != nil:
		return fail(err)
	}
	return 0, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	buf   bytes.Buffer
	lines int
}

func (t *tail) Write(p []byte) (int, error) {
	t.lines += bytes.Count(p, []byte{'\n'})
	t.buf.Write(p)
	if t.buf.Len() > 2*maxOutput {
		t.buf.Next(t.buf.Len() - maxOutput)
	}
	return len(p), nil
}

func (t *tail) kept() []byte {
	b := t.buf.Bytes()
	return b[max(0, len(b)-maxOutput):]
}

// ExecIn runs a command in a container of the first ready Pod with the labels;
// ErrNoPod when there is none.
func (c *Cluster) ExecIn(ctx context.Context, match map[string]string, container string, command []string) (Output, error) {
	pod, err := c.ReadyPod(ctx, match)
	if err != nil {
		return Output{}, err
	}
	return c.Exec(ctx, pod.Name, container, command)
}
