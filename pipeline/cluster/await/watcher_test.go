package await

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

// TestUnreachableFarSide: what refuses every connection is waited for half a
// minute, and the time is said; what is slow or answers wrongly as long as ever.
func TestUnreachableFarSide(t *testing.T) {
	pulling := func(message string) diagnose.Scene {
		return diagnose.Scene{Pods: []*corev1.Pod{{Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Image: "r.example/x:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: message}},
		}}}}}}
	}
	failed := func(message string) diagnose.Scene {
		return diagnose.Scene{Job: &batchv1.Job{}, Want: 1, Failed: &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "copy", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: message}},
		}}}}}
	}
	going := diagnose.Scene{Job: &batchv1.Job{}, Want: 1, Pods: []*corev1.Pod{{Status: corev1.PodStatus{Phase: corev1.PodRunning}}}}
	for _, tt := range []struct {
		name   string
		scenes []diagnose.Scene // in turn, ten seconds each
		ends   time.Duration    // 0 is not within the five minutes
		says   string
	}{
		{"image, refused", []diagnose.Scene{pulling("dial tcp 10.0.0.1:5000: connect: connection refused")}, 30 * time.Second, "does not reach the registry"},
		{"image, no such host", []diagnose.Scene{pulling("dial tcp: lookup r.example: no such host")}, 30 * time.Second, "does not reach the registry"},
		{"image, time-outs", []diagnose.Scene{pulling("dial tcp 10.0.0.1:5000: i/o timeout")}, 3 * time.Minute, "does not reach the registry"},
		{"image, 503", []diagnose.Scene{pulling("unexpected status: 503 Service Unavailable")}, 3 * time.Minute, "cannot be pulled"},
		{"image, refused now and then", []diagnose.Scene{pulling("connection refused"), pulling("connection refused"), pulling("unexpected status: 503")}, 3 * time.Minute, ""},
		{"copies, no route", []diagnose.Scene{failed("Get https://s3.example: dial tcp: connect: no route to host"), going}, 40 * time.Second, "does not reach its store or registry"},
		{"copies, reset", []diagnose.Scene{failed("read: connection reset by peer"), going}, 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var now time.Time
			w := &Watcher{log: slog.New(slog.DiscardHandler), patience: 3 * time.Minute, now: func() time.Time { return now }, told: map[string]bool{}}
			began := time.Unix(1e9, 0)
			for at := time.Duration(0); at <= 5*time.Minute; at += time.Second {
				now = began.Add(at)
				err := w.Look(tt.scenes[int(at/(10*time.Second))%len(tt.scenes)])
				if err == nil {
					continue
				}
				if at.Round(10*time.Second) != tt.ends || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("given up after %s, want %s: %v", at, tt.ends, err)
				}
				if bounded := tt.ends < time.Minute; bounded != strings.HasSuffix(err.Error(), fmt.Sprintf(", for %s now", at)) {
					t.Errorf("after %s: %v", at, err)
				}
				return
			}
			if tt.ends != 0 {
				t.Error("not given up")
			}
		})
	}
}
