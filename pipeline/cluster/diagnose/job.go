package diagnose

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Outcome is where a Job is.
type Outcome uint8

// The outcomes.
const (
	Going Outcome = iota
	Succeeded
	Failed
)

// OutcomeOf reads the conditions of a Job. SuccessCriteriaMet and FailureTarget
// only announce what comes when the last Pod has ended (batch/v1).
func OutcomeOf(j *batchv1.Job) Outcome {
	for _, c := range j.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			return Succeeded
		case batchv1.JobFailed:
			return Failed
		}
	}
	return Going
}

func finished(j *batchv1.Job) bool { return OutcomeOf(j) != Going }

// job tells why a Job as a whole came to its end or stands still; its Pods say
// more.
func job(s Scene) []Finding {
	about := "Job " + s.Job.Name
	for _, c := range s.Job.Status.Conditions {
		if c.Status != corev1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobFailed:
			return []Finding{{Level: Stuck, About: about, What: failure(c.Reason), Evidence: oneLine(c.Message), Remedy: remedyOfPods(s.Pods)}}
		case batchv1.JobSuspended:
			return []Finding{{Level: Stuck, About: about, What: "somebody suspended it",
				Remedy: fmt.Sprintf("kubectl -n %s patch job %s -p '{\"spec\":{\"suspend\":false}}'", s.Job.Namespace, s.Job.Name)}}
		}
	}
	if s.Job.DeletionTimestamp != nil {
		return []Finding{{Level: Doubtful, About: about, What: "it is being deleted"}}
	}
	return nil
}

func failure(reason string) string {
	switch reason {
	case batchv1.JobReasonBackoffLimitExceeded, batchv1.JobReasonMaxFailedIndexesExceeded, batchv1.JobReasonFailedIndexes:
		return "it failed as often as it may"
	case batchv1.JobReasonDeadlineExceeded:
		return "it took longer than it may"
	case batchv1.JobReasonPodFailurePolicy:
		return "it failed with a fault that trying again does not mend"
	}
	return "it failed"
}

// remedyOfPods is the remedy for the first Pod that failed and has one.
func remedyOfPods(pods []*corev1.Pod) string {
	for _, p := range pods {
		for _, f := range pod(p, nil) {
			if f.Remedy != "" {
				return f.Remedy
			}
		}
	}
	return ""
}
