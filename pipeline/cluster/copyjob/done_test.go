package copyjob

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestDone: the Pod's own end is enough for a Job of one Pod that does not outlive
// the run, and for no other.
func TestDone(t *testing.T) {
	ended := metav1.NewTime(time.Unix(1_700_000_000, 0))
	pod := func(phase corev1.PodPhase) *corev1.Pod {
		return &corev1.Pod{Status: corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{
			{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: ended}}},
		}}}
	}
	shards := int32(3)
	for _, tt := range []struct {
		name        string
		brief       bool
		completions *int32
		pods        []*corev1.Pod
		want        bool
	}{
		{"succeeded", true, nil, []*corev1.Pod{pod(corev1.PodFailed), pod(corev1.PodSucceeded)}, true},
		{"runs", true, nil, []*corev1.Pod{pod(corev1.PodRunning)}, false},
		{"failed", true, nil, []*corev1.Pod{pod(corev1.PodFailed)}, false},
		{"no Pod", true, nil, nil, false},
		{"one of the manifests", false, nil, []*corev1.Pod{pod(corev1.PodSucceeded)}, false},
		{"one of several", true, &shards, []*corev1.Pod{pod(corev1.PodSucceeded)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			job := &batchv1.Job{Spec: batchv1.JobSpec{Completions: tt.completions}}
			got := Job{Brief: tt.brief}.done(job, tt.pods)
			if (got != nil) != tt.want {
				t.Fatalf("done: %v, want %v", got != nil, tt.want)
			}
			if got != nil && !got.Status.CompletionTime.Equal(&ended) {
				t.Errorf("it ended at %v, want %v", got.Status.CompletionTime, ended)
			}
			if job.Status.CompletionTime != nil {
				t.Error("what the view has of the Job was changed")
			}
		})
	}
}
