package diagnose

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// pod tells what is wrong with one Pod.
func pod(p *corev1.Pod, events []*corev1.Event) []Finding {
	about := "Pod " + p.Name
	var out []Finding
	add := func(f Finding) {
		f.About = about
		out = append(out, f)
	}
	switch {
	case p.Status.Phase == corev1.PodSucceeded:
		return nil
	case p.Status.Reason == "Evicted":
		add(evicted(p.Status.Message))
	case p.Status.Phase == corev1.PodFailed && p.Status.Reason != "":
		add(rejected(p.Status.Reason, p.Status.Message))
	case p.DeletionTimestamp != nil:
		return nil // another one takes its place
	}
	if c := condition(p, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		if followsItsLike(p) && has(c.Message, "didn't match pod affinity rules") {
			add(Finding{Level: Passing, What: "the node of the other Pods that it must run beside has no room for it until one of them ends", Evidence: oneLine(c.Message)})
			return out
		}
		add(unscheduled(c.Reason, c.Message))
		return out
	}
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if f, ok := container(s, events); ok {
			add(f)
		}
	}
	if p.Status.Phase == corev1.PodPending && len(out) == 0 {
		if f, ok := starting(p, events); ok {
			add(f)
		}
	}
	if p.Status.Phase == corev1.PodRunning && len(out) == 0 && !isTrue(p, corev1.PodReady) {
		if e := latest(events, "Unhealthy"); e != nil {
			add(Finding{Level: Passing, What: "it runs, but does not answer its probe yet", Evidence: oneLine(e.Message)})
		}
	}
	return out
}

func condition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

func isTrue(p *corev1.Pod, t corev1.PodConditionType) bool {
	c := condition(p, t)
	return c != nil && c.Status == corev1.ConditionTrue
}

func evicted(message string) Finding {
	f := Finding{Level: Doubtful, What: "the node put it out to save itself", Evidence: oneLine(message), Remedy: "make room on the node, or add nodes"}
	if has(message, "ephemeral-storage", "ephemeral local storage", "emptydir", "exceeds the total limit") {
		f.What = "it wrote more to its temporary storage than it may"
	}
	return f
}

// rejected reads why the kubelet would not run a Pod at all.
func rejected(reason, message string) Finding {
	f := Finding{Level: Doubtful, What: "the node refuses it: " + reason, Evidence: oneLine(message)}
	switch reason {
	case "SysctlForbidden":
		f.Level, f.What = Stuck, "the node forbids a sysctl that it needs to bind ports below 1024"
		f.Remedy = "have net.ipv4.ip_unprivileged_port_start allowed (it is a safe sysctl since Kubernetes 1.22)"
	case "OutOfcpu", "OutOfmemory", "OutOfpods", "OutOfephemeral-storage":
		f.What = "the node has no room left for it"
	case "DeadlineExceeded":
		f.Level, f.What = Stuck, "it took longer than it may"
	case "NodeAffinity", "NodeShutdown", "Terminated", "Preempting":
		f.Level = Passing
	}
	return f
}

// starting tells why the node has not started the containers yet.
func starting(_ *corev1.Pod, events []*corev1.Event) (Finding, bool) {
	// What has begun since is not held up any more.
	if latest(events, "Started", "Pulled") != nil {
		return Finding{}, false
	}
	e := latest(events, "FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox", "NetworkNotReady")
	if e == nil {
		return Finding{}, false
	}
	f := Finding{Level: Doubtful, Evidence: oneLine(e.Message)}
	switch {
	case e.Reason == "FailedCreatePodSandBox", e.Reason == "NetworkNotReady":
		f.What, f.Remedy = "the node cannot set up its network", "look at the network plug-in of the node"
	case has(e.Message, "secret \"", "configmap \"") && has(e.Message, "not found"):
		f.Level, f.What, f.Remedy = Stuck, "a Secret or ConfigMap that it mounts is not there", "run again: what was removed is applied again"
	case has(e.Message, "references non-existent secret key", "references non-existent config key"):
		f.Level, f.What, f.Remedy = Stuck, "a key that it mounts is not in its Secret or ConfigMap", "run again: what was changed is applied again"
	case has(e.Message, "Multi-Attach"):
		f.What, f.Remedy = "its volume is still attached to another node", "wait until that Pod has ended, or remove it"
	case has(e.Message, "already mounted", "in use"):
		f.What, f.Remedy = "its volume is in use elsewhere", "remove the Pod that uses it"
	default:
		f.What, f.Remedy = "a volume cannot be mounted", "look at the storage driver of its node"
	}
	return f, true
}

// container tells what is wrong with one container.
func container(s corev1.ContainerStatus, events []*corev1.Event) (Finding, bool) {
	if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
		return exited(s.Name, t), true
	}
	w := s.State.Waiting
	if w == nil {
		return Finding{}, false
	}
	f := Finding{Level: Stuck, Evidence: oneLine(w.Message)}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ImageInspectError", "RegistryUnavailable", "ErrImageNeverPull":
		message := w.Message
		if e := latest(events, "Failed"); e != nil && has(e.Message, "pull") {
			message += " " + e.Message
		}
		return image(s.Image, message), true
	case "InvalidImageName":
		f.What = fmt.Sprintf("%q is no name of an image", s.Image)
	case "CreateContainerConfigError":
		f.What = fmt.Sprintf("container %s is not configured", s.Name)
		switch {
		case has(w.Message, "not found", "couldn't find key"):
			f.Level, f.Remedy = Doubtful, "run again: what was removed is applied again"
		case has(w.Message, "runAsNonRoot", "run as root", "non-root policy"):
			f.Remedy = "report this: the plan gave it a user that its own security context forbids"
		}
	case "CreateContainerError", "RunContainerError", "StartError":
		f.What = fmt.Sprintf("container %s cannot be started", s.Name)
		f.Remedy = startRemedy(w.Message)
	case "CrashLoopBackOff":
		f = crashing(s)
	default:
		return Finding{}, false // PodInitializing, ContainerCreating
	}
	return f, true
}

func startRemedy(message string) string {
	switch {
	case has(message, "exec format error"):
		return "the image is for another architecture than the node's"
	case has(message, "executable file not found", "no such file or directory"):
		return "the program is not in the image: statelift explain PATH says where it went"
	case has(message, "permission denied", "operation not permitted"):
		return "the program may not be run by that user, or needs a capability"
	}
	return ""
}

// crashing is a container that is started again and again.
func crashing(s corev1.ContainerStatus) Finding {
	f := Finding{Level: Doubtful, What: fmt.Sprintf("container %s ends soon after each start", s.Name)}
	f.Evidence = fmt.Sprintf("%d times so far", s.RestartCount)
	if t := s.LastTerminationState.Terminated; t != nil {
		last := exited(s.Name, t)
		f.Level, f.Remedy = max(f.Level, last.Level), last.Remedy
		f.Evidence += "; " + last.What
		if last.Evidence != "" {
			f.Evidence += ": " + last.Evidence
		}
	}
	return f
}

// exited tells how a container ended.
func exited(name string, t *corev1.ContainerStateTerminated) Finding {
	f := Finding{Level: Doubtful, What: fmt.Sprintf("container %s ended with exit code %d", name, t.ExitCode), Evidence: oneLine(t.Message)}
	switch {
	case t.Reason == "OOMKilled":
		f.What, f.Remedy = fmt.Sprintf("container %s needed more memory than its limit", name), "raise its memory limit, or find out why it needs so much"
	case has(t.Message, "no space left on device", "disk quota exceeded", "ENOSPC"):
		f.Level = Stuck
		f.What = "the volume is full before everything is on it"
		f.Remedy = "give the volume a larger size: (statelift.yaml, volumes), or expand the claim, then run again"
	case t.Reason == "StartError", t.Reason == "ContainerCannotRun":
		f.Level, f.What, f.Remedy = Stuck, fmt.Sprintf("container %s cannot be started", name), startRemedy(t.Message)
	case t.ExitCode == 137, t.ExitCode == 143:
		f.Level, f.What = Passing, fmt.Sprintf("container %s was killed", name)
	case has(t.Message, " is damaged: "):
		f.Level = Stuck
		f.What = "what was sent for the copy is damaged where it is"
		f.Remedy = "remove that blob there, and run again: it is sent anew"
	// Three digits alone are in many a digest.
	case isUnreachable(t.Message) && !has(t.Message, "connection reset"):
		f.What = fmt.Sprintf("container %s does not reach its store or registry", name)
		f.Remedy = "bring it up, or use an address that the Pods of the cluster reach (--registry, --store)"
		f.Within = unreachable
	case has(t.Message, "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "unauthorized", " 401", "(401", " 403", "(403"):
		f.Level = Stuck
		f.What = "the store or registry refuses the credentials of the copy"
		f.Remedy = "set the right ones in the environment (AWS_ACCESS_KEY_ID and the like, docker login), and run again"
	}
	return f
}
