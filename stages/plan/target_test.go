package plan

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/decisions"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
)

const gibi = 1 << 30

// shop is a plan that the cluster of roomy can serve.
func shop() handoff.Plan {
	return handoff.Plan{
		Name: "shop", Host: facts.OS{Architecture: "amd64"},
		Workloads: []handoff.Workload{
			{
				Name: "web", Kind: handoff.StatefulSet, Replicas: 1, Service: []handoff.Port{{Name: "http", Number: 80, Protocol: "TCP"}},
				Containers: []handoff.Container{
					{Name: "apache2", Unit: "apache2.service", UID: 33, GID: 33, Resources: handoff.Resources{CPU: 250, Memory: 256 << 20, MemoryLimit: gibi}},
					{Name: "mariadb", Unit: "mariadb.service", UID: 106, GID: 113, Resources: handoff.Resources{CPU: 500, Memory: 512 << 20}},
				},
				Mounts: []handoff.PodVolume{{Name: "db", Origin: handoff.FromVolume, Of: "db"}, {Name: "uploads", Origin: handoff.FromVolume, Of: "uploads"}},
			},
			{
				Name: "dump", Kind: handoff.CronJob, Replicas: 1, Near: "web",
				Containers: []handoff.Container{{Name: "dump", Unit: "cron:dump", UID: 106, Resources: handoff.Resources{CPU: 50, Memory: 64 << 20}}},
				Mounts:     []handoff.PodVolume{{Name: "db", Origin: handoff.FromVolume, Of: "db"}},
			},
		},
		Volumes: []handoff.Volume{
			{Name: "db", Path: "/var/lib/mysql", Seed: true, Bytes: 2 * gibi, Request: 4 * gibi, AccessMode: readWriteOnce, Owner: "web"},
			{Name: "uploads", Path: "/srv/up loads", Seed: true, Bytes: 5, Request: gibi, AccessMode: readWriteOnce, Owner: "web"},
		},
		Configs: []handoff.FileSet{{Name: "web", Owner: "web"}},
		Shares:  []handoff.Share{{Name: "media", FSType: "nfs", Server: "10.0.0.1", Export: "/m", Path: "/mnt/m"}},
	}
}

func roomy() handoff.Target {
	once := []string{readWriteOnce, readWriteOncePod}
	return handoff.Target{
		Context: "c", Namespace: "ns", Version: "v1.36.3", NamespaceExists: true, PodSecurity: "baseline",
		StorageClasses: []handoff.StorageClass{
			{Name: "block", Provisioner: "rbd.csi.ceph.com", Driver: "Ceph RBD", Known: true, AccessModes: once, Default: true, Reclaim: "Delete", Binding: "Immediate", Expands: true},
			{Name: "files", Provisioner: "cephfs.csi.ceph.com", Driver: "CephFS", Known: true, AccessModes: []string{readWriteOnce, "ReadOnlyMany", readWriteMany, readWriteOncePod}},
			{Name: "odd", Provisioner: "example.org/odd"},
			{Name: "smb", Provisioner: "smb.csi.k8s.io", Driver: "SMB", Known: true, AccessModes: []string{readWriteOnce, readWriteMany}, NoOwners: "one owner for all"},
		},
		Quotas: []handoff.Quota{{Name: "q", Resource: "requests.storage", Hard: 5 * gibi}, {Name: "q", Resource: "pods", Hard: 10, Used: 7}},
		Limits: []handoff.Limit{{Name: "l", Type: "PersistentVolumeClaim", Resource: "storage", Min: gibi, Max: 4 * gibi}},
		Nodes: []handoff.Node{
			{Name: "n1", Arch: "amd64", OS: "linux", CPU: 2000, Memory: 4 * gibi, Ready: true},
			{Name: "n2", Arch: "amd64", OS: "linux", CPU: 1000, Memory: 2 * gibi, Ready: true},
			{Name: "n3", Arch: "arm64", OS: "linux", CPU: 64000, Memory: 64 * gibi, Ready: true},
		},
		Existing: []handoff.Object{{Kind: "Secret", Name: "shop-web"}, {Kind: "ConfigMap", Name: "shop-other"}, {Kind: "Job", Name: "shop-copy-db-and-more-12345678"}},
		Missing:  []handoff.Permission{{Verb: "create", Resource: "persistentvolumes", For: "shares", Optional: true}},
	}
}

func TestBlocks(t *testing.T) {
	type change func(*handoff.Plan, *handoff.Target)
	volume := func(f func(*handoff.Volume)) change {
		return func(p *handoff.Plan, _ *handoff.Target) { f(&p.Volumes[1]) }
	}
	web := func(f func(*handoff.Workload)) change {
		return func(p *handoff.Plan, _ *handoff.Target) { f(&p.Workloads[0]) }
	}
	target := func(f func(*handoff.Target)) change {
		return func(_ *handoff.Plan, t *handoff.Target) { f(t) }
	}
	quota := func(resource string, hard, used int64, scopes ...string) change {
		return target(func(t *handoff.Target) {
			t.Quotas = []handoff.Quota{{Name: "q", Resource: resource, Hard: hard, Used: used, Scopes: scopes}}
		})
	}
	limit := func(l handoff.Limit) change {
		return target(func(t *handoff.Target) { l.Name = "l"; t.Limits = []handoff.Limit{l} })
	}
	both := func(list ...change) change {
		return func(p *handoff.Plan, t *handoff.Target) {
			for _, f := range list {
				f(p, t)
			}
		}
	}
	many := volume(func(v *handoff.Volume) { v.AccessMode = readWriteMany })
	replicas := web(func(w *handoff.Workload) { w.Replicas = 2 })
	for _, tt := range []struct {
		name    string
		change  change
		about   string   // "" is no block
		text    string   // part of it
		choices []string // parts of them, in their order
	}{
		{"fits", both(), "", "", nil},
		{"rehearsal", target(func(t *handoff.Target) { t.Context = ""; t.StorageClasses = nil }), "", "", nil},

		{"permission", target(func(t *handoff.Target) {
			t.Missing = append(t.Missing, handoff.Permission{Verb: "create", Group: "batch", Resource: "jobs", Namespace: "ns", For: "copies"},
				handoff.Permission{Verb: "watch", Group: "batch", Resource: "jobs", Namespace: "ns", For: "copies"},
				handoff.Permission{Verb: "get", Resource: "pods/log", Namespace: "ns", For: "receipts"})
		}), "permission", "in namespace ns you may not: create, watch jobs.batch (copies); get pods/log (receipts)", []string{
			`Role in namespace ns granted with rules: [{apiGroups: ["batch"], resources: ["jobs"], verbs: [create, watch]}, {apiGroups: [""], resources: ["pods/log"], verbs: [get]}]`, "--context",
		}},
		{"permission for shares that are used", func(p *handoff.Plan, _ *handoff.Target) { p.Shares[0].Users = []string{"web"} },
			"permission", "create persistentvolumes (shares)", []string{`ClusterRole granted with rules: [{apiGroups: [""], resources: ["persistentvolumes"], verbs: [create]}]`, "--context"}},
		{"permission for checks that are wanted", func(p *handoff.Plan, t *handoff.Target) {
			p.Volumes[0].Check = []string{"check"}
			t.Missing = []handoff.Permission{{Verb: "create", Resource: "pods/exec", Namespace: "ns", For: "checks", Optional: true}, {Verb: "create", Resource: "pods/portforward", Namespace: "ns", For: "pages", Optional: true}}
		}, "permission", "in namespace ns you may not: create pods/exec (checks)", []string{`verbs: [create]}]`, "--context"}},
		{"permission for pages that are asked for", func(p *handoff.Plan, t *handoff.Target) {
			p.Smoke = []handoff.Smoke{{HTTP: &handoff.SmokeHTTP{}}}
			t.Missing = []handoff.Permission{{Verb: "create", Resource: "pods/exec", Namespace: "ns", For: "checks", Optional: true}, {Verb: "create", Resource: "pods/portforward", Namespace: "ns", For: "pages", Optional: true}}
		}, "permission", "in namespace ns you may not: create pods/portforward (pages)", []string{`verbs: [create]}]`, "--context"}},

		{"namespace leaves", target(func(t *handoff.Target) { t.NamespaceLeaving = true }), "object", "namespace ns is being deleted", []string{"kubectl wait", "--namespace"}},
		{"name taken", target(func(t *handoff.Target) {
			t.Existing = append(t.Existing, handoff.Object{Kind: "ConfigMap", Name: "shop-web", Owner: "Helm release x"}, handoff.Object{Kind: "Service", Name: "shop-web-pods"}, handoff.Object{Kind: "Job", Name: "shop-copy-db-0a1b2c3d"})
		}), "object", "ConfigMap shop-web (Helm release x), Service shop-web-pods, Job shop-copy-db-0a1b2c3d", []string{
			"name: shop-2", "--namespace", "kubectl -n ns delete configmap/shop-web service/shop-web-pods job/shop-copy-db-0a1b2c3d",
		}},

		{"class does not exist", volume(func(v *handoff.Volume) { v.Class = "fast" }), "volume", "volume uploads (/srv/up loads) wants the StorageClass fast", []string{
			"use Ceph RBD: volumes: [{path: '/srv/up loads', storageClass: block}]", "use CephFS", "if its driver example.org/odd, which statelift does not know",
		}},
		{"no default class", target(func(t *handoff.Target) { t.StorageClasses[0].Default = false }), "volume", "no default StorageClass, and none is chosen for db (/var/lib/mysql), uploads", []string{
			"storageClass: block", "storageClass: files", "storageClass: odd", "is-default-class=true",
		}},
		{"no class at all", target(func(t *handoff.Target) { t.StorageClasses = nil }), "volume", "no default StorageClass", []string{"have a StorageClass made whose driver serves ReadWriteOnce", "is-default-class=true"}},
		{"classes cannot be seen", target(func(t *handoff.Target) {
			t.StorageClasses = nil
			t.Missing = append(t.Missing, handoff.Permission{Verb: "list", Resource: "storageclasses", Optional: true})
		}), "", "", nil},

		{"many writers, a class for one node", both(many, replicas), "volume",
			"volume uploads (/srv/up loads) is to be ReadWriteMany, and StorageClass block (Ceph RBD) serves ReadWriteOnce, ReadWriteOncePod only; web (2 Pods) may run on several", []string{
				"use CephFS: volumes: [{path: '/srv/up loads', storageClass: files}]", "example.org/odd",
				"keep one Pod: workloads: [{name: web, units: [apache2.service, mariadb.service], replicas: 1}] and volumes: [{path: '/srv/up loads', accessMode: ReadWriteOncePod}]",
				"keep all its Pods on one node, by affinity: volumes: [{path: '/srv/up loads', accessMode: ReadWriteOnce}]",
			}},
		{"many writers, a class for many", both(many, volume(func(v *handoff.Volume) { v.Class = "files" })), "", "", nil},
		{"many writers, an unknown driver", both(many, volume(func(v *handoff.Volume) { v.Class = "odd" })), "", "", nil},
		{"replicas of a volume for one node", replicas, "volume", "volume db (/var/lib/mysql) is ReadWriteOnce, so that Pods of one node only can mount it; web (2 Pods) may run on several", []string{
			"use CephFS: volumes: [{path: /var/lib/mysql, storageClass: files, accessMode: ReadWriteMany}]", "odd", "and volumes: [{path: /var/lib/mysql, accessMode: ReadWriteOnce}]", "by affinity: volumes: [{path: /var/lib/mysql, accessMode: ReadWriteOnce}]",
		}},
		{"replicas that stay together", both(replicas, web(func(w *handoff.Workload) { w.Near = "web" })), "", "", nil},
		{"replicas on the only node", both(replicas, target(func(t *handoff.Target) { t.Nodes = t.Nodes[:1] })), "", "", nil},
		{"one Pod only, and a job", both(func(p *handoff.Plan, _ *handoff.Target) { p.Volumes[0].AccessMode = readWriteOncePod }), "volume", "is to be ReadWriteOncePod, and web, dump mount it", []string{"accessMode: ReadWriteOnce}"}},
		{"one Pod only, of a driver that cannot", both(volume(func(v *handoff.Volume) { v.AccessMode = readWriteOncePod }), target(func(t *handoff.Target) {
			t.StorageClasses[0].AccessModes = []string{readWriteOnce}
		})), "volume", "serves ReadWriteOnce only", []string{"use CephFS", "odd", "accessMode: ReadWriteOnce}"}},
		{"no owners", volume(func(v *handoff.Volume) { v.Class = "smb" }), "volume", "files cannot have the owners that they have on the host: one owner for all", []string{"storageClass: block", "storageClass: files", "odd"}},
		{"no owners, and no files", volume(func(v *handoff.Volume) { v.Class, v.Seed = "smb", false }), "", "", nil},

		{"claim too large", volume(func(v *handoff.Volume) { v.Request = 5 * gibi }), "volume", "asks for 5Gi, and LimitRange l allows 4Gi at most", []string{"size: 4Gi", "LimitRange l changed", "--namespace"}},
		{"content too large", both(volume(func(v *handoff.Volume) { v.Request, v.Bytes = 6*gibi, 5*gibi }), target(func(t *handoff.Target) { t.Quotas = nil })),
			"volume", "asks for 6Gi", []string{"LimitRange l changed", "--namespace"}},
		{"claim too small", limit(handoff.Limit{Type: "PersistentVolumeClaim", Resource: "storage", Min: 3 * gibi}), "volume", "asks for 1Gi, and LimitRange l wants 3Gi at least", []string{"size: 3Gi", "LimitRange l changed"}},
		{"share without its driver", func(p *handoff.Plan, tg *handoff.Target) {
			p.Shares[0] = handoff.Share{Name: "scans", FSType: "cifs", Server: "files", Path: "/srv/scans", Users: []string{"web"}, Driver: "smb.csi.k8s.io"}
			tg.Missing = nil
		}, "volume", "share scans (cifs of files at /srv/scans) is mounted by the CSI driver smb.csi.k8s.io, which the cluster does not have", []string{"installed", "paths: [{path: /srv/scans, class: drop}]"}},
		{"share with its driver", func(p *handoff.Plan, tg *handoff.Target) {
			p.Shares[0] = handoff.Share{Name: "scans", FSType: "cifs", Path: "/srv/scans", Users: []string{"web"}, Driver: "smb.csi.k8s.io"}
			tg.Missing, tg.CSIDrivers, tg.Quotas = nil, []string{"smb.csi.k8s.io"}, nil
		}, "", "", nil},

		{"storage quota", quota("requests.storage", 10*gibi, 6*gibi), "volume", "ResourceQuota q allows 10Gi requests.storage, of which others use 6Gi and 4Gi is left; the lift needs 5Gi (db 4Gi, uploads 1Gi)", []string{
			"do with less room for growth: volumes: [{path: /var/lib/mysql, size: 3Gi}]", "raised to 11Gi requests.storage at least", "--namespace",
		}},
		{"storage quota, far too small", quota("requests.storage", 3*gibi, 0), "volume", "ResourceQuota q allows 3Gi requests.storage; the lift needs 5Gi", []string{"raised to 5Gi", "--namespace"}},
		{"storage quota of the class", quota("block.storageclass.storage.k8s.io/requests.storage", gibi, 0), "volume", "the lift needs 5Gi", []string{"raised", "--namespace"}},
		{"storage quota of another class", quota("files.storageclass.storage.k8s.io/requests.storage", 0, 0), "", "", nil},
		{"claims", quota("persistentvolumeclaims", 2, 1), "volume", "allows 2 persistentvolumeclaims, of which others use 1 and 1 is left; the lift needs 2", []string{"raised to 3", "--namespace"}},
		{"pods", quota("pods", 1, 0), "workload", "allows 1 pods; the lift needs 2 (web 1, 1 for one job at a time)", []string{"raised to 2", "--namespace"}},
		{"cpu", quota("cpu", 700, 0), "workload", "allows 700m cpu; the lift needs 800m (web 750m, 50m for one job at a time)", []string{"raised to 800m cpu", "--namespace"}},
		{"memory", quota("requests.memory", gibi, 512<<20), "workload", "the lift needs 832Mi (web 768Mi, 64Mi for one job at a time)", []string{"raised to 1344Mi", "--namespace"}},
		{"limits that nobody names", both(quota("limits.memory", 100*gibi, 0), limit(handoff.Limit{})), "workload", "so that every container must name a limit, and these do not: dump/dump, web/mariadb", []string{"default limit of memory", "--namespace"}},
		{"limits that a LimitRange names", both(quota("limits.memory", 4*gibi, 0), limit(handoff.Limit{Type: "Container", Resource: "memory", Default: gibi, Request: 1 << 20})), "", "", nil},
		{"quota for others", quota("pods", 0, 0, "PriorityClass In high"), "", "", nil},
		{"quota for Pods with a deadline", quota("pods", 0, 0, "Terminating"), "", "", nil},
		{"quota for all but those with a deadline", quota("pods", 0, 0, "NotTerminating"), "workload", "allows 0 pods", []string{"raised", "--namespace"}},
		{"objects", quota("count/services", 1, 0), "object", "allows 1 count/services; the lift needs 2", []string{"raised to 2", "--namespace"}},

		{"container too large", limit(handoff.Limit{Type: "Container", Resource: "cpu", Max: 400, Default: 400}), "workload", "container mariadb of web asks for 500m of cpu, and LimitRange l allows 400m at most", []string{"LimitRange l changed", "--namespace"}},
		{"limit by default too small", limit(handoff.Limit{Type: "Container", Resource: "memory", Default: 256 << 20}), "workload", "container mariadb of web asks for 512Mi of memory, and LimitRange l limits a container that names no limit to 256Mi", []string{"LimitRange l changed", "--namespace"}},
		{"container too small", limit(handoff.Limit{Type: "Container", Resource: "memory", Min: 100 << 20}), "workload", "container dump of dump asks for 64Mi of memory, and LimitRange l wants 100Mi at least", []string{"LimitRange l changed", "--namespace"}},
		{"Pod too large", limit(handoff.Limit{Type: "Pod", Resource: "memory", Max: 1 << 29}), "workload", "a Pod of web may use 1Gi of memory, and LimitRange l allows 512Mi", []string{"LimitRange l changed", "--namespace"}},
		{"Pod without a limit", limit(handoff.Limit{Type: "Pod", Resource: "cpu", Max: 4000}), "workload", "a Pod of dump names no limit of cpu, and LimitRange l wants one of 4 at most", []string{"LimitRange l changed", "--namespace"}},
		{"Pod too small", limit(handoff.Limit{Type: "Pod", Resource: "memory", Min: 100 << 20}), "workload", "a Pod of dump asks for 64Mi of memory, and LimitRange l wants 100Mi at least", []string{"LimitRange l changed", "--namespace"}},

		{"copies of another architecture", both(func(p *handoff.Plan, t *handoff.Target) { p.CopierArch = "riscv64" }), "volume",
			"volumes are filled by statelift itself, which is a program for linux/riscv64 here, and the cluster has nodes of linux/amd64, linux/arm64 only",
			[]string{"built for linux/amd64: --copier PROGRAM", "built for linux/arm64: --copier PROGRAM", "add a node of linux/riscv64", "--context"}},
		{"copies on a node that is kept away", both(func(p *handoff.Plan, t *handoff.Target) {
			p.CopierArch = "arm64"
			t.Nodes[2].Taints = []string{"a=b:NoSchedule"}
		}), "volume",
			"is a program for linux/arm64 here, and no node that takes ordinary Pods is of that kind",
			[]string{"built for linux/amd64: --copier PROGRAM", "add a node of linux/arm64", "--context"}},
		{"copies on other nodes", both(func(p *handoff.Plan, t *handoff.Target) { p.CopierArch = "arm64"; t.Nodes[2].Memory = 128 << 20 }), "workload",
			"one Pod of a copy Job asks for 250m of CPU and 256Mi of memory, and no node has that much: the largest, n3", []string{"add a larger node"}},
		{"nothing to copy", both(func(p *handoff.Plan, t *handoff.Target) {
			p.CopierArch = "riscv64"
			for i := range p.Volumes {
				p.Volumes[i].Seed = false
			}
		}), "", "", nil},
		{"architecture", target(func(t *handoff.Target) { t.Nodes = t.Nodes[2:] }), "workload", "the host's programs are for linux/amd64, and the cluster has nodes of linux/arm64 only", []string{"add a node of linux/amd64", "--context"}},
		{"nothing is ready", target(func(t *handoff.Target) {
			t.Nodes[0].Taints = []string{"node.kubernetes.io/unschedulable:NoSchedule"}
			t.Nodes[1].Ready = false
		}), "workload", "no node takes ordinary Pods: n1: it has the taint node.kubernetes.io/unschedulable:NoSchedule; n2: it is not ready", []string{"bring a node up", "--context"}},
		{"no node", target(func(t *handoff.Target) { t.Nodes = nil }), "workload", "the cluster has no node", []string{"add one", "--context"}},
		{"nodes cannot be seen", target(func(t *handoff.Target) {
			t.Nodes = nil
			t.Missing = append(t.Missing, handoff.Permission{Verb: "list", Resource: "nodes", Optional: true})
		}), "", "", nil},
		{"Pod larger than any node", web(func(w *handoff.Workload) { w.Containers[1].Resources.Memory = 5 * gibi }), "workload",
			"one Pod of web asks for 750m of CPU and 5376Mi of memory, and no node has that much: the largest, n1, has 2 and 4Gi", []string{"add a larger node", "workloads: [{name: web, units: [apache2.service, mariadb.service], split: true}]"}},
		{"large in two ways, and no node in both", target(func(t *handoff.Target) {
			t.Nodes[0].CPU = 500
			t.Nodes[1].Memory = 512 << 20
		}), "workload", "no node has that much", []string{"larger node", "split: true"}},

		{"capability beyond baseline", web(func(w *handoff.Workload) { w.Containers[0].Capabilities = []string{"CHOWN", "NET_ADMIN", "NET_RAW"} }), "workload",
			"namespace ns enforces the Pod security level baseline, which forbids Pods of the plan: container apache2 of web adds NET_ADMIN, NET_RAW", []string{"with the level privileged", "enforce=privileged"}},
		{"the same where nothing is enforced", both(web(func(w *handoff.Workload) { w.Containers[0].Capabilities = []string{"NET_ADMIN"} }), target(func(t *handoff.Target) { t.PodSecurity = "" })), "", "", nil},
		{"restricted", both(web(func(w *handoff.Workload) {
			w.Containers[0].UID, w.Containers[0].Capabilities = 0, []string{"NET_BIND_SERVICE", "SETUID"}
			w.Containers[1].Escalates = true
		}), target(func(t *handoff.Target) { t.PodSecurity = "restricted" })), "workload",
			"container apache2 of web runs as root and adds SETUID; container mariadb of web gains capabilities by its program file (allowPrivilegeEscalation); the copy Jobs run as root", []string{"level baseline", "enforce=baseline"}},
		{"restricted, and directories to prepare", both(func(p *handoff.Plan, t *handoff.Target) {
			p.Volumes[0].Seed, p.Volumes[1].Seed, t.PodSecurity = false, false, "restricted"
			p.Workloads[0].Mounts = append(p.Workloads[0].Mounts, handoff.PodVolume{Name: "run", Origin: handoff.FromEphemeral, Dirs: []handoff.EphemeralDir{{Path: "/run/x", UID: 5}}})
		}), "workload", "forbids Pods of the plan: an init container gives directories and files their owners, as root, in the Pods of web", []string{"level baseline", "enforce=baseline"}},
		{"restricted, and nothing against it", func(p *handoff.Plan, t *handoff.Target) {
			p.Volumes[0].Seed, p.Volumes[1].Seed, t.PodSecurity = false, false, "restricted"
		}, "", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, target := shop(), roomy()
			tt.change(&p, &target)
			got := Blocks(p, target)
			if tt.about == "" {
				if len(got) > 0 {
					t.Errorf("blocked: %+v", got)
				}
				return
			}
			i := slices.IndexFunc(got, func(b handoff.Block) bool { return strings.Contains(b.Text, tt.text) })
			if i < 0 {
				t.Fatalf("no block says %q: %+v", tt.text, got)
			}
			if got[i].About != tt.about {
				t.Errorf("it is about %s", got[i].About)
			}
			if len(got[i].Choices) != len(tt.choices) {
				t.Fatalf("choices %q", got[i].Choices)
			}
			for n, want := range tt.choices {
				if !strings.Contains(got[i].Choices[n], want) {
					t.Errorf("choice %q, want %q in it", got[i].Choices[n], want)
				}
			}
			for _, b := range got {
				for _, c := range b.Choices {
					checkLines(t, c)
				}
			}
		})
	}
}

// checkLines parses what a choice says for statelift.yaml.
func checkLines(t *testing.T, choice string) {
	t.Helper()
	for _, line := range regexp.MustCompile(`(volumes|workloads|paths): \[.*?\}\]|name: [a-z0-9-]+ in`).FindAllString(choice, -1) {
		line = strings.TrimSuffix(line, " in")
		if _, err := decisions.Parse("statelift.yaml", []byte(line+"\n")); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// What a user decided is kept: the workload follows itself.
func TestPin(t *testing.T) {
	for _, tt := range []struct {
		name string
		part decisions.PlanPart
		want string
	}{
		{"nothing said", decisions.PlanPart{}, ""},
		{"one node", decisions.PlanPart{Volumes: []decisions.Volume{{Path: "/var/lib/mysql", AccessMode: readWriteOnce}, {Path: "/srv/up loads", AccessMode: readWriteOnce}}}, "web"},
		{"one node by an answer", decisions.PlanPart{Answers: map[string]string{"access-db": readWriteOnce}}, "web"},
	} {
		p := &planner{plan: shop(), target: roomy(), decisions: tt.part}
		p.plan.Workloads[0].Replicas = 2
		p.fitTarget()
		if got := p.plan.Workloads[0].Near; got != tt.want {
			t.Errorf("%s: web follows %q, want %q", tt.name, got, tt.want)
		}
		if blocked := len(p.plan.Blocks) > 0; blocked != (tt.want == "") {
			t.Errorf("%s: blocks %+v", tt.name, p.plan.Blocks)
		}
		if near := p.plan.Workloads[1].Near; near != "web" {
			t.Errorf("%s: the job follows %q", tt.name, near)
		}
	}
}

// A rehearsal's plan knows nothing of clusters.
func TestRehearsalIsNotJudged(t *testing.T) {
	p := &planner{plan: shop(), decisions: decisions.PlanPart{Volumes: []decisions.Volume{{Path: "/var/lib/mysql", AccessMode: readWriteOnce}}}}
	p.plan.Workloads[0].Replicas = 2
	want := shop()
	want.Workloads[0].Replicas = 2
	p.fitTarget()
	if diff := cmp.Diff(want, p.plan); diff != "" {
		t.Error(diff)
	}
}

func TestTargetRisks(t *testing.T) {
	p, target := shop(), roomy()
	p.Volumes[1].Class, p.CopierArch = "odd", "arm64"
	target.StorageClasses[0].Notes = []string{"be careful"}
	target.StorageClasses[2].Binding = "WaitForFirstConsumer"
	target.Missing = append(target.Missing, handoff.Permission{Verb: "list", Resource: "nodes", For: "seeing nodes", Optional: true})
	var got []string
	for _, r := range targetRisks(p, target) {
		got = append(got, r.Level+" "+r.About+": "+r.Text)
	}
	if diff := cmp.Diff([]string{
		"low StorageClass block: a volume is deleted with its claim (reclaimPolicy Delete)",
		"low StorageClass block: be careful",
		"medium StorageClass odd: statelift does not know its driver example.org/odd: which access modes it serves, and whether it keeps owners, shows when it is used",
		"high StorageClass odd: its volumes are made where the copies run, which are nodes of linux/arm64, and the host's programs run on nodes of linux/amd64: these may not reach them",
		"low StorageClass odd: its volumes cannot grow later",
		"low namespace ns: you may not list nodes: statelift could not look (seeing nodes)",
	}, got); diff != "" {
		t.Error(diff)
	}
}

func TestQuantity(t *testing.T) {
	for _, tt := range []struct {
		resource string
		n        int64
		want     string
	}{
		{"cpu", 1500, "1500m"}, {"requests.cpu", 2000, "2"}, {"memory", 256 << 20, "256Mi"}, {"limits.memory", 1000, "1000"}, {"storage", 5 << 30, "5Gi"},
		{"requests.storage", 0, "0"}, {"x.storageclass.storage.k8s.io/requests.storage", 1 << 30, "1Gi"}, {"pods", 1024, "1024"},
		{"x.storageclass.storage.k8s.io/persistentvolumeclaims", 1024, "1024"},
	} {
		if got := quantity(tt.resource, tt.n); got != tt.want {
			t.Errorf("%d %s is %q, want %q", tt.n, tt.resource, got, tt.want)
		}
	}
}

// TestSharesElsewhere: the volumes of a lift of the same host into another
// namespace are in nobody's way; those of this one are.
func TestSharesElsewhere(t *testing.T) {
	for into, want := range map[string]int{"ns": 1, "other": 0} {
		p, target := shop(), roomy()
		p.Shares[0].Users, p.Into, target.Missing, target.Quotas = []string{"web"}, "ns", nil, nil
		theirs := p
		theirs.Into = into
		target.Existing = append(target.Existing, handoff.Object{Kind: "PersistentVolume", Name: theirs.ClusterName("media"), Owner: "another workspace"})
		if got := Blocks(p, target); len(got) != want {
			t.Errorf("a lift into %s: %+v", into, got)
		}
	}
}
