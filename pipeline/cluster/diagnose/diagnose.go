// Package diagnose says in plain words why something in a cluster does not go
// on, and what to do about it. It is a function from objects to findings: it
// asks nobody.
//
// The reasons and messages that it looks for are those of the kubelet
// (k8s.io/kubernetes/pkg/kubelet/images/types.go, …/events/event.go,
// …/eviction), of the scheduler (…/pkg/scheduler/framework/plugins), of the Job
// controller (batch/v1) and of the volume controller
// (…/pkg/controller/volume/events); the cluster's own words are in the evidence,
// so that nothing is lost where the words are others.
package diagnose

import (
	"cmp"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Level says what a finding means for who waits.
type Level uint8

// The levels.
const (
	Passing  Level = iota // it may pass by itself, and often does
	Doubtful              // it may pass by itself, but somebody should look
	Stuck                 // nothing changes until somebody does something
)

// Finding is one thing that is in the way.
type Finding struct {
	Level    Level
	About    string // KIND NAME
	What     string // what is wrong, one sentence without a full stop
	Remedy   string // what to do, "" when there is nothing better than waiting
	Evidence string // the cluster's own words
	// Within is how long waiting may be of use at most; 0 is what the one who waits
	// thinks right.
	Within time.Duration
}

// unreachable is how long nothing but refused connections, or a name that nobody
// knows, is waited for: a server that is started again is back by then.
const unreachable = 30 * time.Second

// isUnreachable reads what the network stacks of Go and Linux say (net.OpError,
// net.DNSError, connect(2)). A time-out is not among them: a line may be slow.
func isUnreachable(message string) bool {
	return has(message, "connection refused", "no such host", "no route to host", "network is unreachable")
}

// String is for people: what, the cluster's words, the remedy.
func (f Finding) String() string {
	s := f.About + ": " + f.What
	if f.Evidence != "" {
		s += " (" + f.Evidence + ")"
	}
	if f.Remedy != "" {
		s += "; " + f.Remedy
	}
	return s
}

// Scene is what is known of one thing that is waited for. Any part may be nil.
type Scene struct {
	Job        *batchv1.Job
	Deployment *appsv1.Deployment
	Owner      string // KIND NAME of another controller of the Pods
	Want       int    // how many Pods it should have
	Pods       []*corev1.Pod
	// Failed is the last Pod that failed, while none of those that come after it is
	// there.
	Failed *corev1.Pod
	Claims []*corev1.PersistentVolumeClaim // that the Pods mount
	Events []*corev1.Event                 // about any of these, and about Owner
}

// Explain lists what is in the way, the worst first; nothing when all goes on as
// it should.
func Explain(s Scene) []Finding {
	var out []Finding
	if s.Job != nil {
		out = append(out, job(s)...)
	}
	for _, c := range s.Claims {
		out = append(out, claim(c, s.eventsOf(string(c.UID)))...)
	}
	for _, p := range s.Pods {
		for _, f := range pod(p, s.eventsOf(string(p.UID))) {
			if !s.outdated(f) {
				out = append(out, f)
			}
		}
	}
	if s.Failed != nil {
		// What else it failed of, the next one may do better.
		out = append(out, slices.DeleteFunc(pod(s.Failed, nil), func(f Finding) bool { return f.Within == 0 })...)
	}
	out = append(out, refused(s)...)
	if s.Deployment != nil {
		out = append(out, deployment(s)...)
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
	return slices.Compact(out)
}

// outdated: the scheduler says that a claim is not there until it looks again,
// which may be long after the claim was made.
func (s Scene) outdated(f Finding) bool {
	return slices.ContainsFunc(s.Claims, func(c *corev1.PersistentVolumeClaim) bool {
		return strings.Contains(f.Evidence, `persistentvolumeclaim "`+c.Name+`" not found`)
	})
}

// eventsOf are the events of one object, the last first.
func (s Scene) eventsOf(uid string) []*corev1.Event {
	var out []*corev1.Event
	for _, e := range s.Events {
		if string(e.InvolvedObject.UID) == uid {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b *corev1.Event) int { return LastSeen(b).Compare(LastSeen(a)) })
	return out
}

// has reports whether text holds one of the parts, whatever the case.
func has(text string, parts ...string) bool {
	text = strings.ToLower(text)
	return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(text, strings.ToLower(p)) })
}

// oneLine makes evidence fit into a sentence.
func oneLine(s string) string {
	const most = 400
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}
