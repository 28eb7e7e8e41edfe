//go:build e2e

package install_test

import (
	"strings"
	"testing"
	"time"
)

const noDaemon = `
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: NAME}
spec:
  failurePolicy: Fail
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}}
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  validations: [{expression: "!object.metadata.labels['app.kubernetes.io/name'].startsWith('daemon')", message: no daemons here}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: NAME}
spec: {policyName: NAME, validationActions: [Deny]}
`

// TestPodsRefused: a cluster that refuses the Pods of a Deployment is quoted
// within seconds; what it says is known of the ReplicaSet only.
func TestPodsRefused(t *testing.T) {
	l := newLift(t)
	l.shell(t, `rm -r "$1/var/lib/daemon"`, l.host)
	l.write(t, "etc/systemd/system/daemon1.service", []byte(strings.Replace(unit, "/var/lib/daemon/starts", "/tmp/starts", 1)))
	if _, err := l.Try(strings.ReplaceAll(noDaemon, "NAME", l.namespace), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Try("", "delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", l.namespace, "--ignore-not-found")
	})
	l.statelift(t, l.args("--until", "manifests")...)
	began := time.Now()
	out := l.refused(t, 1, l.args()...)
	if took := time.Since(began); took > 45*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, want := range []string{"Deployment small-daemon1: an admission policy of the cluster refuses its Pod", "no daemons here", "ask who runs the cluster"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
}
