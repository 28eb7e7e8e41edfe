package diagnose

import (
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// LastSeen is when an event was last seen: the latest of the times that the two
// generations of the API keep it in (core/v1 Event).
func LastSeen(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	if e.EventTime.After(last) {
		last = e.EventTime.Time
	}
	return last
}

// latest is the last event with one of the reasons; nil when there is none.
func latest(events []*corev1.Event, reasons ...string) *corev1.Event {
	for _, e := range events {
		for _, r := range reasons {
			if e.Reason == r {
				return e
			}
		}
	}
	return nil
}

// refused tells why a controller may not make Pods. Only while it has too few:
// the event outlives its cause.
func refused(s Scene) []Finding {
	if len(s.Pods) >= max(s.Want, 1) {
		return nil
	}
	owner := s.Owner
	var uid string
	if s.Job != nil {
		owner, uid = "Job "+s.Job.Name, string(s.Job.UID)
		if finished(s.Job) {
			return nil
		}
	}
	for _, e := range s.Events {
		if e.Reason != "FailedCreate" || uid != "" && string(e.InvolvedObject.UID) != uid {
			continue
		}
		f := refusal(e.Message)
		f.About, f.Evidence = owner, oneLine(e.Message)
		return []Finding{f}
	}
	return nil
}

// deployment tells why the ReplicaSet of a Deployment may not make Pods. The
// events about that are the ReplicaSet's; the controller keeps the last of them as
// a condition of the Deployment for as long as it holds (apps/v1, ReplicaFailure).
func deployment(s Scene) []Finding {
	for _, c := range s.Deployment.Status.Conditions {
		if c.Type != appsv1.DeploymentReplicaFailure || c.Status != corev1.ConditionTrue {
			continue
		}
		f := refusal(c.Message)
		f.About, f.Evidence = "Deployment "+s.Deployment.Name, oneLine(c.Message)
		leaving := slices.ContainsFunc(s.Pods, func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil })
		if leaving || s.Want > 0 && len(s.Pods) >= s.Want {
			// In the middle of an update: Pods of before still take up the room.
			f.Level = min(f.Level, Doubtful)
		}
		return []Finding{f}
	}
	return nil
}

// refusal reads the answer of an admission plug-in.
func refusal(message string) Finding {
	switch {
	case has(message, "violates PodSecurity"):
		return Finding{Level: Stuck, What: "the Pod Security level of the namespace forbids its Pod",
			Remedy: "label the namespace pod-security.kubernetes.io/enforce=baseline, or lift into another one (--namespace)"}
	case has(message, "exceeded quota", "must specify"):
		return Finding{Level: Stuck, What: "a quota of the namespace leaves no room for its Pod",
			Remedy: "have the quota raised or remove what else uses it, then run again"}
	case has(message, "usage per Container is", "usage per Pod is"):
		return Finding{Level: Stuck, What: "a LimitRange of the namespace forbids its Pod", Remedy: "have the LimitRange changed, then run again"}
	case has(message, "failed calling webhook", "failed to call webhook"):
		return Finding{Level: Doubtful, What: "an admission webhook of the cluster, without which no Pod is made, does not answer", Remedy: "ask who runs the cluster to bring it up"}
	case has(message, "admission webhook"):
		return Finding{Level: Stuck, What: "an admission webhook of the cluster refuses its Pod", Remedy: "ask who runs the cluster what that rule wants"}
	case has(message, "ValidatingAdmissionPolicy"):
		return Finding{Level: Stuck, What: "an admission policy of the cluster refuses its Pod", Remedy: "ask who runs the cluster what that rule wants"}
	case has(message, "error looking up service account"):
		return Finding{Level: Passing, What: "its ServiceAccount is not there yet"}
	case has(message, "forbidden"):
		return Finding{Level: Stuck, What: "the cluster refuses its Pod", Remedy: "ask who runs the cluster what that rule wants"}
	}
	return Finding{Level: Doubtful, What: "its Pod cannot be made"}
}
