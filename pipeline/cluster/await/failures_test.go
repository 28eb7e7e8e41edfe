package await

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// TestFailuresAreTold: each failed Pod of a Job that goes on is told once, with
// what it said; one that runs is not.
func TestFailuresAreTold(t *testing.T) {
	pod := func(uid string, phase corev1.PodPhase, state corev1.ContainerState) *corev1.Pod {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{Name: "copy", State: state}}}}
		p.UID = types.UID(uid)
		return p
	}
	failed := func(uid string) *corev1.Pod {
		return pod(uid, corev1.PodFailed, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: "reset by " + uid}})
	}
	var out bytes.Buffer
	w := &Watcher{log: slog.New(slog.NewTextHandler(&out, nil)), told: map[string]bool{}}
	pods := []*corev1.Pod{failed("a"), pod("b", corev1.PodRunning, corev1.ContainerState{})}
	w.Failures(&batchv1.Job{}, pods)
	w.Failures(&batchv1.Job{}, pods)
	w.Failures(&batchv1.Job{}, append(pods, failed("c")))
	for text, want := range map[string]int{"is tried again by its Job": 2, "reset by a": 1, "reset by c": 1} {
		if got := strings.Count(out.String(), text); got != want {
			t.Errorf("%q is told %d times, want %d:\n%s", text, got, want, out.String())
		}
	}
}
