package diagnose_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/statelift/statelift/pipeline/cluster/diagnose"
)

// check compares what is said with what the table wants.
func (f fault) check(list []diagnose.Finding) string {
	if len(list) == 0 {
		return "nothing is found"
	}
	got := list[0]
	switch {
	case got.Level != f.level:
		return "another level: " + got.String()
	case !strings.HasPrefix(got.About, f.about+" "):
		return "about something else: " + got.String()
	case !strings.Contains(got.What, f.what), !strings.Contains(got.Remedy, f.remedy):
		return "something else is said: " + got.String()
	case strings.ContainsAny(got.String(), "\n\t"):
		return "more than a line is said: " + got.String()
	}
	return ""
}

// TestFaults reads scenes that TestFaultsInTheCluster captured.
func TestFaults(t *testing.T) {
	for _, f := range faults() {
		t.Run(f.name, func(t *testing.T) {
			if wrong := f.check(diagnose.Explain(captured(t, f.name))); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

func sceneFile(name string) string {
	return filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".json")
}

func captured(t *testing.T, name string) diagnose.Scene {
	t.Helper()
	data, err := os.ReadFile(sceneFile(name))
	if err != nil {
		t.Fatal(err)
	}
	var s diagnose.Scene
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestWellOnes says nothing of what goes on as it should.
func TestWellOnes(t *testing.T) {
	for _, name := range []string{"running", "complete"} {
		if list := diagnose.Explain(captured(t, name)); len(list) > 0 && list[0].Level > diagnose.Passing {
			t.Errorf("%s: %s", name, list[0])
		}
	}
}

// TestImageAnswers are what other registries and runtimes say.
func TestImageAnswers(t *testing.T) {
	for _, tt := range []struct{ message, what string }{
		{"failed to pull and unpack image: failed to resolve reference: pulling from host r.example failed with status code [manifests 1]: 401 Unauthorized", "without other credentials"},
		{"failed to authorize: failed to fetch anonymous token: unexpected status: 403 Forbidden", "without other credentials"},
		{"pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed", "without other credentials"},
		{"rpc error: code = NotFound desc = failed to pull and unpack image: r.example/x:1: not found", "is not in the registry"},
		{"failed to pull image \"r.example/x@sha256:a0401b403c\": manifest: not found", "is not in the registry"},
		{"reading manifest 1 in r.example/x: manifest unknown", "is not in the registry"},
		{"tls: failed to verify certificate: x509: certificate signed by unknown authority", "does not trust the registry"},
		{"http: server gave HTTP response to HTTPS client", "does not trust the registry"},
		{"dial tcp: lookup r.example on 10.0.0.1:53: no such host", "does not reach the registry"},
		{"no match for platform in manifest: not found", "architecture"},
		{"something new", "cannot be pulled"},
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			Image: "r.example/x:1", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: tt.message}},
		}}}}
		list := diagnose.Explain(diagnose.Scene{Pods: []*corev1.Pod{p}})
		if len(list) != 1 || !strings.Contains(list[0].What, tt.what) {
			t.Errorf("%s: got %v, want %q", tt.message, list, tt.what)
		}
	}
}

// TestLastWords are of copies that failed.
func TestLastWords(t *testing.T) {
	for _, tt := range []struct{ message, what string }{
		{"copy of volume data to /volume: blob sha256:a0401b403c is damaged: its content has sha256:77 (in s3://b/p)", "damaged where it is"},
		{"open: access denied: check the credentials (403 SignatureDoesNotMatch: no)", "refuses the credentials"},
		{"GET http://r.example/v2/: unexpected status code 401 Unauthorized", "refuses the credentials"},
		{"blob sha256:a0401b403c: connection reset by peer", "ended with exit code 6"},
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{{
			Name: "copy", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 6, Reason: "Error", Message: tt.message}},
		}}}}
		list := diagnose.Explain(diagnose.Scene{Pods: []*corev1.Pod{p}})
		if len(list) != 1 || !strings.Contains(list[0].What, tt.what) {
			t.Errorf("%s: got %v, want %q", tt.message, list, tt.what)
		}
	}
}

// TestOutcome: what only announces the end is not the end.
func TestOutcome(t *testing.T) {
	for _, tt := range []struct {
		condition batchv1.JobConditionType
		want      diagnose.Outcome
	}{
		{batchv1.JobComplete, diagnose.Succeeded}, {batchv1.JobFailed, diagnose.Failed},
		{batchv1.JobSuccessCriteriaMet, diagnose.Going}, {batchv1.JobFailureTarget, diagnose.Going}, {batchv1.JobSuspended, diagnose.Going},
	} {
		j := &batchv1.Job{Status: batchv1.JobStatus{Conditions: []batchv1.JobCondition{{Type: tt.condition, Status: corev1.ConditionTrue}}}}
		if got := diagnose.OutcomeOf(j); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.condition, got, tt.want)
		}
	}
}

// TestMendedFaults: an event outlives its cause.
func TestMendedFaults(t *testing.T) {
	s := captured(t, "quota")
	if diagnose.Explain(s) == nil {
		t.Fatal("the fault itself is not found")
	}
	s.Pods = []*corev1.Pod{{Status: corev1.PodStatus{Phase: corev1.PodRunning}}}
	if list := diagnose.Explain(s); len(list) > 0 {
		t.Errorf("there is a Pod by now: %v", list)
	}
}

// TestRefusals are the words of admission plug-ins that the test cluster does not
// have (k8s.io/apiserver/pkg/admission/plugin/webhook/errors, …/policy/validating).
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		message, what string
		level         diagnose.Level
	}{
		{`admission webhook "rules.example.org" denied the request: no`, "webhook of the cluster refuses", diagnose.Stuck},
		{`Internal error occurred: failed calling webhook "rules.example.org": failed to call webhook: Post "https://rules.ns.svc:443/?timeout=10s": no endpoints available for service "rules"`, "does not answer", diagnose.Doubtful},
		{`pods "it-0" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no`, "admission policy of the cluster refuses", diagnose.Stuck},
		{`pods "it-0" is forbidden: something`, "the cluster refuses", diagnose.Stuck},
	} {
		d := &appsv1.Deployment{Status: appsv1.DeploymentStatus{Conditions: []appsv1.DeploymentCondition{
			{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: tt.message},
		}}}
		list := diagnose.Explain(diagnose.Scene{Deployment: d, Want: 1})
		if len(list) != 1 || list[0].Level != tt.level || !strings.Contains(list[0].What, tt.what) {
			t.Errorf("%s: got %v", tt.message, list)
		}
	}
}

// TestUpdateWithoutRoom: while Pods of before are there or leaving, a quota may
// have room a moment later.
func TestUpdateWithoutRoom(t *testing.T) {
	s := captured(t, "quota of a Deployment")
	s.Want = 1
	s.Pods = []*corev1.Pod{{Status: corev1.PodStatus{Phase: corev1.PodRunning}}}
	if list := diagnose.Explain(s); len(list) != 1 || list[0].Level != diagnose.Doubtful {
		t.Errorf("got %v", list)
	}
	for i := range s.Deployment.Status.Conditions {
		s.Deployment.Status.Conditions[i].Status = corev1.ConditionFalse
	}
	if list := diagnose.Explain(s); len(list) != 0 {
		t.Errorf("it is mended, and said is %v", list)
	}
}

// TestPutOut reads what the kubelet says of a Pod that it put out, which the
// test cluster does not do (kubelet, eviction_manager.go).
func TestPutOut(t *testing.T) {
	for message, what := range map[string]string{
		"Usage of EmptyDir volume \"scratch\" exceeds the limit \"1Mi\".":                   "more to its temporary storage",
		"The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi.": "to save itself",
		"Pod ephemeral local storage usage exceeds the total limit of containers 10Mi.":     "more to its temporary storage",
	} {
		p := &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: message}}
		list := diagnose.Explain(diagnose.Scene{Pods: []*corev1.Pod{p}})
		if len(list) != 1 || !strings.Contains(list[0].What, what) {
			t.Errorf("%s: got %v, want %q", message, list, what)
		}
	}
}

// TestBeside: copies of one workload wait for the room of each other; a Pod that
// has to be where another workload is waits for that one.
func TestBeside(t *testing.T) {
	const says = "0/3 nodes are available: 1 Insufficient memory, 2 node(s) didn't match pod affinity rules."
	for _, tt := range []struct {
		label string
		level diagnose.Level
		what  string
	}{
		{"copies", diagnose.Passing, "no room for it until one of them ends"},
		{"web", diagnose.Doubtful, "no node has room"},
	} {
		p := &corev1.Pod{}
		p.Labels = map[string]string{"group": tt.label}
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			TopologyKey: corev1.LabelHostname, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"group": "copies"}},
		}}}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: says}}
		list := diagnose.Explain(diagnose.Scene{Pods: []*corev1.Pod{p}})
		if len(list) != 1 || list[0].Level != tt.level || !strings.Contains(list[0].What, tt.what) {
			t.Errorf("%s: got %v", tt.label, list)
		}
	}
}
