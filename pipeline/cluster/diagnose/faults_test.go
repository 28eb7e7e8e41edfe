package diagnose_test

import "github.com/statelift/statelift/pipeline/cluster/diagnose"

// fault is something that goes wrong in a real cluster.
type fault struct {
	name string
	// yaml makes it, as the Job, Deployment or StatefulSet "it". PROBE is the bed's image, SPEC
	// the beginning of a Job with it.
	yaml string
	// before are kubectl commands that come first, without the namespace; then are
	// those that come after.
	before, then [][]string

	level  diagnose.Level
	about  string // KIND
	what   string // what the first finding says
	remedy string // a part of it
}

// Parts of the objects.
const (
	jobHead = `
apiVersion: batch/v1
kind: Job
metadata: {name: it}
spec:
  backoffLimit: 0
`
	podHead = `
  template:
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 0
`
	container = `
      containers:
      - name: copy
        image: PROBE
        args: [pause]
        terminationMessagePolicy: FallbackToLogsOnError
`
	restarting = `
apiVersion: batch/v1
kind: Job
metadata: {name: it}
spec:
  template:
    spec:
      restartPolicy: OnFailure
      terminationGracePeriodSeconds: 0
`
	selected = `
  replicas: 1
  selector: {matchLabels: {app: it}}
  template:
    metadata: {labels: {app: it}}
    spec:
      terminationGracePeriodSeconds: 0
`
	deploymentHead = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: it}
spec:
` + selected
	setHead = `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: it}
spec:
  serviceName: it
` + selected
	withClaim = `
      volumes:
      - {name: data, persistentVolumeClaim: {claimName: data}}
`
	claimHead = `
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
`
)

const neverClass = "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: never}\nprovisioner: bed.statelift/never\nvolumeBindingMode: WaitForFirstConsumer\n"

func faults() []fault {
	job := jobHead + podHead + container
	return []fault{
		{name: "no such image", yaml: jobHead + podHead + "\n      containers:\n      - {name: copy, image: \"REGISTRY/none/none:1\"}\n",
			level: diagnose.Stuck, about: "Pod", what: "is not in the registry", remedy: "run again"},
		{name: "registry not reached", yaml: jobHead + podHead + "\n      containers:\n      - {name: copy, image: \"NOBODY:5000/none/none:1\"}\n",
			level: diagnose.Doubtful, about: "Pod", what: "does not reach the registry", remedy: "--registry"},
		{name: "no name of an image", yaml: jobHead + podHead + "\n      containers:\n      - {name: copy, image: \"UPPER/Case\"}\n",
			level: diagnose.Stuck, about: "Pod", what: "is no name of an image"},
		{name: "no room on the nodes", yaml: job + "        resources: {requests: {cpu: 1000}}\n",
			level: diagnose.Doubtful, about: "Pod", what: "no node has room", remedy: "add nodes"},
		{name: "another architecture", yaml: job + "      nodeSelector: {kubernetes.io/arch: s390x}\n",
			level: diagnose.Doubtful, about: "Pod", what: "no node is of the kind", remedy: "architecture"},
		{name: "no such StorageClass", yaml: job + withClaim + claimHead + "  storageClassName: nope\n",
			level: diagnose.Stuck, about: "PersistentVolumeClaim", what: "StorageClass does not exist", remedy: "storageClass:"},
		{name: "provisioner that makes nothing", before: [][]string{{"apply", "-f", "-", neverClass}}, yaml: job + withClaim + claimHead + "  storageClassName: never\n",
			level: diagnose.Doubtful, about: "PersistentVolumeClaim", what: "makes no volume", remedy: "another class"},
		{name: "no such claim", yaml: job + withClaim,
			level: diagnose.Doubtful, about: "Pod", what: "claim is not there", remedy: "run again"},
		{name: "claim is being deleted", yaml: job + withClaim + claimHead,
			then:  [][]string{{"wait", "--for=condition=Ready", "pod", "-l", "job-name=it", "--timeout=60s"}, {"delete", "pvc", "data", "--wait=false"}},
			level: diagnose.Stuck, about: "PersistentVolumeClaim", what: "it is being deleted", remedy: "remove the Pods"},
		{name: "quota", before: [][]string{{"create", "quota", "q", "--hard=pods=0"}}, yaml: job,
			level: diagnose.Stuck, about: "Job", what: "a quota of the namespace", remedy: "quota raised"},
		{name: "limit range", before: [][]string{{"apply", "-f", "-", "apiVersion: v1\nkind: LimitRange\nmetadata: {name: l}\nspec: {limits: [{type: Container, max: {memory: 10Mi}}]}\n"}},
			yaml:  job + "        resources: {limits: {memory: 1Gi}}\n",
			level: diagnose.Stuck, about: "Job", what: "a LimitRange", remedy: "LimitRange changed"},
		{name: "Pod Security", before: [][]string{{"label", "namespace", "NAMESPACE", "pod-security.kubernetes.io/enforce=restricted"}}, yaml: job,
			level: diagnose.Stuck, about: "Job", what: "Pod Security level of the namespace forbids", remedy: "enforce=baseline"},
		{name: "quota of a Deployment", before: [][]string{{"create", "quota", "q", "--hard=pods=0"}}, yaml: deploymentHead + container,
			level: diagnose.Stuck, about: "Deployment", what: "a quota of the namespace", remedy: "quota raised"},
		{name: "Pod Security of a Deployment", before: [][]string{{"label", "namespace", "NAMESPACE", "pod-security.kubernetes.io/enforce=restricted"}}, yaml: deploymentHead + container,
			level: diagnose.Stuck, about: "Deployment", what: "Pod Security level of the namespace forbids", remedy: "enforce=baseline"},
		{name: "quota of a StatefulSet", before: [][]string{{"create", "quota", "q", "--hard=pods=0"}}, yaml: setHead + container,
			level: diagnose.Stuck, about: "StatefulSet", what: "a quota of the namespace", remedy: "quota raised"},
		{name: "Secret to mount", yaml: job + "        volumeMounts: [{name: s, mountPath: /s}]\n      volumes:\n      - {name: s, secret: {secretName: nope}}\n",
			level: diagnose.Stuck, about: "Pod", what: "a Secret or ConfigMap that it mounts is not there", remedy: "run again"},
		{name: "key of a variable", yaml: job + "        env: [{name: A, valueFrom: {configMapKeyRef: {name: nope, key: a}}}]\n",
			level: diagnose.Doubtful, about: "Pod", what: "container copy is not configured", remedy: "run again"},
		{name: "root where it must not be", yaml: job + "        securityContext: {runAsNonRoot: true, runAsUser: 0}\n",
			level: diagnose.Stuck, about: "Pod", what: "container copy is not configured", remedy: "security context"},
		{name: "program is not there", yaml: job + "        command: [/nope]\n",
			level: diagnose.Stuck, about: "Job", what: "it failed as often as it may", remedy: "not in the image"},
		{name: "crash loop", yaml: restarting + "\n      containers:\n      - {name: copy, image: PROBE, args: [fail, database is away], terminationMessagePolicy: FallbackToLogsOnError}\n",
			level: diagnose.Doubtful, about: "Pod", what: "container copy ends soon after each start"},
		{name: "failed", yaml: jobHead + podHead + "\n      containers:\n      - {name: copy, image: PROBE, args: [fail, nobody home], terminationMessagePolicy: FallbackToLogsOnError}\n",
			level: diagnose.Stuck, about: "Job", what: "it failed as often as it may"},
		{name: "volume full", yaml: jobHead + "\n  podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {containerName: copy, operator: In, values: [3]}}]}\n" + podHead +
			"\n      containers:\n      - {name: copy, image: PROBE, args: [fail, \"write /volume/a: no space left on device\"], terminationMessagePolicy: FallbackToLogsOnError}\n",
			level: diagnose.Stuck, about: "Job", what: "trying again does not mend", remedy: "larger size"},
		{name: "suspended", yaml: jobHead + "  suspend: true\n" + podHead + container,
			level: diagnose.Stuck, about: "Job", what: "suspended", remedy: "kubectl -n"},
		{name: "memory", yaml: jobHead + podHead + "\n      volumes: [{name: m, emptyDir: {medium: Memory}}]\n      containers:\n      - name: copy\n        image: PROBE\n        args: [fill, /m/x, \"100000000\"]\n        resources: {limits: {memory: 16Mi}}\n        volumeMounts: [{name: m, mountPath: /m}]\n",
			level: diagnose.Stuck, about: "Job", what: "it failed as often as it may", remedy: "memory limit"},
		{name: "taint", before: [][]string{}, yaml: job + "      nodeSelector: {kubernetes.io/hostname: nobody}\n",
			level: diagnose.Doubtful, about: "Pod", what: "no node is of the kind"},
		{name: "beside nobody", yaml: job + "      affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: nobody}}, topologyKey: kubernetes.io/hostname}]}}\n",
			level: diagnose.Doubtful, about: "Pod", what: "beside the workload whose volume it shares"},
		{name: "probe without an answer", yaml: job + "        readinessProbe: {tcpSocket: {port: 9}, periodSeconds: 1}\n",
			level: diagnose.Passing, about: "Pod", what: "does not answer its probe"},
		{name: "unsafe sysctl", yaml: job + "      securityContext: {sysctls: [{name: kernel.msgmax, value: \"65536\"}]}\n",
			level: diagnose.Stuck, about: "Job", what: "it failed as often as it may", remedy: "sysctl"},
	}
}
