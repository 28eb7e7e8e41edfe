package manifests

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/pipeline/handoff"
)

// made are the manifests of the site with the database of its workload web in that
// server.
func made(t *testing.T, e handoff.External) (*bench, handoff.Manifests) {
	t.Helper()
	plan, images, seeds := site()
	web := &plan.Workloads[0]
	web.Containers, web.Service = web.Containers[1:], []handoff.Port{{Name: "mysql", Number: e.Port, Protocol: "TCP"}}
	web.External = &e
	b := newBench(t, siteFiles())
	out, err := b.run(t, Options{}, plan, images, seeds)
	if err != nil {
		t.Fatal(err)
	}
	return b, out
}

// object reads the manifest of that kind and name into v; false when there is none.
func (b *bench) object(t *testing.T, m handoff.Manifests, kind, name string, v any) bool {
	t.Helper()
	i := slices.IndexFunc(m.Files, func(f handoff.ManifestFile) bool { return f.Kind == kind && f.Object == name })
	if i < 0 {
		return false
	}
	if err := yaml.UnmarshalStrict([]byte(b.read(t, m.Files[i].Name)), v); err != nil {
		t.Fatal(err)
	}
	return true
}

// TestOutside: a name gets an alias, an address an EndpointSlice of a Service
// without a selector.
func TestOutside(t *testing.T) {
	for _, c := range []struct {
		host, address string
		family        discoveryv1.AddressType
	}{
		{"db.example.org", "", ""},
		{"192.0.2.7", "192.0.2.7", discoveryv1.AddressTypeIPv4},
		{"::ffff:192.0.2.7", "192.0.2.7", discoveryv1.AddressTypeIPv4},
		{"2001:db8::7", "2001:db8::7", discoveryv1.AddressTypeIPv6},
	} {
		b, m := made(t, handoff.External{Engine: "mariadb", Host: c.host, Port: 3310, User: "admin", PasswordEnv: "DB_ADMIN", Accounts: []string{"blog"}, Command: []string{"/usr/sbin/mariadbd"}})
		var service corev1.Service
		if !b.object(t, m, "Service", "atlas-web", &service) || len(service.Spec.Selector) > 0 || len(service.Spec.Ports) != 1 || service.Spec.Ports[0].Port != 3310 {
			t.Errorf("%s: the Service is %+v", c.host, service.Spec)
		}
		var slice discoveryv1.EndpointSlice
		switch there := b.object(t, m, "EndpointSlice", "atlas-web", &slice); {
		case c.address == "":
			if there || service.Spec.Type != corev1.ServiceTypeExternalName || service.Spec.ExternalName != c.host {
				t.Errorf("%s: EndpointSlice %v, %+v", c.host, there, service.Spec)
			}
		case !there || slice.Labels[discoveryv1.LabelServiceName] != "atlas-web" || slice.AddressType != c.family ||
			len(slice.Endpoints) != 1 || !slices.Equal(slice.Endpoints[0].Addresses, []string{c.address}) ||
			len(slice.Ports) != 1 || *slice.Ports[0].Port != 3310 || *slice.Ports[0].Name != service.Spec.Ports[0].Name || service.Spec.ExternalName != "":
			t.Errorf("%s: %+v", c.host, slice)
		}
		var secret corev1.Secret
		if !b.object(t, m, "Secret", "atlas-web-connection", &secret) {
			t.Fatalf("%s: no connection", c.host)
		}
		got := map[string]string{}
		for k, v := range secret.Data {
			got[k] = string(v)
		}
		if diff := cmp.Diff(map[string]string{"engine": "mariadb", "host": "atlas-web", "port": "3310", "server": c.host, "databases": "", "users": "blog"}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.host, diff)
		}
		for _, kind := range []string{"StatefulSet", "Deployment"} {
			if b.object(t, m, kind, "atlas-web", &map[string]any{}) {
				t.Errorf("%s: the workload has a %s", c.host, kind)
			}
		}
	}
}

// TestTransferJob: the Job waits for its turn, is told where credentials are, and
// nothing of where the user has them.
func TestTransferJob(t *testing.T) {
	secrets := handoff.External{
		Engine: "mariadb", Host: "db.example.org", Port: 3306, User: "$(admin)", PasswordFile: "/home/me/password", TLS: handoff.TLSVerify, CAFile: "/home/me/ca.pem",
		Command: []string{"/usr/sbin/mariadbd", "--socket={dir}/server.sock"},
	}
	b, m := made(t, secrets)
	var job batchv1.Job
	if !b.object(t, m, "Job", "atlas-transfer-web", &job) || job.Spec.Suspend == nil || !*job.Spec.Suspend {
		t.Fatalf("the Job is %+v", job.Spec)
	}
	pod := job.Spec.Template.Spec
	if pod.AutomountServiceAccountToken == nil || *pod.AutomountServiceAccountToken || len(pod.Containers) != 1 {
		t.Errorf("its Pod is %+v", pod)
	}
	args := pod.Containers[0].Args
	order := args[slices.Index(args, "--order")+1]
	if !strings.Contains(order, `"tls":"verify"`) || !strings.Contains(order, "$$(admin)") || strings.Contains(order, "/home/me") {
		t.Errorf("it is told %s", order)
	}
	tail := args[slices.Index(args, "--password"):]
	if diff := cmp.Diff([]string{"--password", "/.statelift/admin/password", "--scratch", "/.statelift/scratch", "--ca", "/.statelift/admin/ca", "--", "/usr/sbin/mariadbd", "--socket={dir}/server.sock"}, tail); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, f := range m.Files {
		if strings.Contains(b.read(t, f.Name), "/home/me") {
			t.Errorf("%s says where the user has credentials", filepath.Base(f.Name))
		}
	}
	secrets.TLS, secrets.CAFile = "", ""
	b, m = made(t, secrets)
	if b.object(t, m, "Job", "atlas-transfer-web", &job) && slices.Contains(job.Spec.Template.Spec.Containers[0].Args, "--ca") {
		t.Error("it is told of certificates that it does not get")
	}
}
