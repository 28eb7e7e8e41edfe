package cluster

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/templates"
)

// The table knows what people run, by the names that their classes give.
func TestFindDriver(t *testing.T) {
	drivers, err := LoadDrivers(templates.Drivers())
	if err != nil {
		t.Fatal(err)
	}
	const once, pod, many, read = "ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany"
	for _, tt := range []struct {
		provisioner string
		parameters  map[string]string
		driver      string // how its name begins
		modes       []string
		noOwners    bool
	}{
		{"rbd.csi.ceph.com", nil, "Ceph RBD", []string{once, pod}, false},
		{"rook-ceph.rbd.csi.ceph.com", nil, "Ceph RBD", []string{once, pod}, false},
		{"openshift-storage.cephfs.csi.ceph.com", nil, "CephFS", []string{once, read, many, pod}, false},
		{"pxd.portworx.com", nil, "Portworx", []string{once, pod}, false},
		{"pxd.portworx.com", map[string]string{"sharedv4": "true"}, "Portworx", []string{once, many, pod}, false},
		{"pxd.portworx.com", map[string]string{"sharedv4": "false"}, "Portworx", []string{once, pod}, false},
		{"kubernetes.io/portworx-volume", nil, "Portworx", []string{once}, false},
		{"kubernetes.io/portworx-volume", map[string]string{"sharedv4": "true"}, "Portworx", []string{once, many}, false},
		{"driver.longhorn.io", nil, "Longhorn", []string{once, many, pod}, false},
		{"directpv-min-io", nil, "MinIO DirectPV", []string{once}, false},
		{"openebs.io/local", nil, "OpenEBS Local PV hostpath", []string{once}, false},
		{"local.csi.openebs.io", nil, "OpenEBS Local PV LVM", []string{once, pod}, false},
		{"zfs.csi.openebs.io", nil, "OpenEBS Local PV ZFS", []string{once, pod}, false},
		{"io.openebs.csi-mayastor", nil, "OpenEBS Mayastor", []string{once, pod}, false},
		{"ebs.csi.aws.com", nil, "Amazon EBS", []string{once, pod}, false},
		{"efs.csi.aws.com", nil, "Amazon EFS", []string{once, read, many, pod}, true},
		{"pd.csi.storage.gke.io", nil, "Google Persistent Disk", []string{once, pod}, false},
		{"filestore.csi.storage.gke.io", nil, "Google Filestore", []string{once, read, many, pod}, false},
		{"disk.csi.azure.com", nil, "Azure Disk", []string{once, pod}, false},
		{"file.csi.azure.com", nil, "Azure Files", []string{once, read, many, pod}, true},
		{"file.csi.azure.com", map[string]string{"protocol": "nfs"}, "Azure Files", []string{once, read, many, pod}, false},
		{"nfs.csi.k8s.io", nil, "NFS", []string{once, read, many, pod}, false},
		{"cluster.local/files-nfs-subdir-external-provisioner", nil, "NFS subdirectories", []string{once, read, many}, false},
		{"smb.csi.k8s.io", nil, "SMB", []string{once, read, many, pod}, true},
		{"rancher.io/local-path", nil, "local path", []string{once}, false},
		{"topolvm.io", nil, "TopoLVM", []string{once, pod}, false},
		{"csi.vsphere.vmware.com", nil, "VMware vSphere", []string{once, pod}, false},
		{"csi.vsphere.vmware.com", map[string]string{"csi.storage.k8s.io/fstype": "nfs4"}, "VMware vSphere", []string{once, read, many}, false},
		{"cinder.csi.openstack.org", nil, "OpenStack Cinder", []string{once, pod}, false},
		{"nfs.manila.csi.openstack.org", nil, "OpenStack Manila", []string{once, read, many, pod}, false},
		{"dobs.csi.digitalocean.com", nil, "DigitalOcean", []string{once, pod}, false},
		{"csi.hetzner.cloud", nil, "Hetzner", []string{once, pod}, false},
		{"linodebs.csi.linode.com", nil, "Linode", []string{once, pod}, false},
		{"block.csi.vultr.com", nil, "Vultr", []string{once, pod}, false},
		{"vpc.block.csi.ibm.io", nil, "IBM Cloud VPC Block", []string{once, pod}, false},
		{"blockvolume.csi.oraclecloud.com", nil, "Oracle Cloud Block", []string{once}, false},
		{"fss.csi.oraclecloud.com", nil, "Oracle Cloud File", []string{once, read, many, pod}, false},
		{"csi.trident.netapp.io", nil, "NetApp Trident", []string{once, pod}, false},
		{"csi.trident.netapp.io", map[string]string{"backendType": "ontap-nas-economy"}, "NetApp Trident", []string{once, read, many, pod}, false},
		{"csi.trident.netapp.io", map[string]string{"backendType": "ontap-san"}, "NetApp Trident", []string{once, pod}, false},
		{"csi-powerstore.dellemc.com", map[string]string{"csi.storage.k8s.io/fstype": "nfs"}, "Dell PowerStore", []string{once, read, many, pod}, false},
		{"csi-isilon.dellemc.com", nil, "Dell PowerScale", []string{once, read, many, pod}, false},
		{"pure-csi", map[string]string{"backend": "file"}, "Pure Storage", []string{once, read, many, pod}, false},
		{"pure-csi", map[string]string{"backend": "block"}, "Pure Storage", []string{once, pod}, false},
		{"csi.hpe.com", nil, "HPE", []string{once}, false},
		{"csi.hpe.com", map[string]string{"nfsResources": "true"}, "HPE", []string{once, read, many}, false},
		{"kubernetes.io/glusterfs", nil, "GlusterFS", []string{once, read, many}, false},
		{"kubernetes.io/no-provisioner", nil, "volumes made by hand", []string{once}, false},
	} {
		t.Run(tt.provisioner, func(t *testing.T) {
			name, a, ok := FindDriver(drivers, tt.provisioner, tt.parameters)
			if !ok || !strings.HasPrefix(name, tt.driver) {
				t.Fatalf("it is %q, %t; want %q", name, ok, tt.driver)
			}
			if diff := cmp.Diff(tt.modes, a.Modes); diff != "" {
				t.Errorf("modes (-want +got):\n%s", diff)
			}
			if (a.NoOwners != "") != tt.noOwners {
				t.Errorf("noOwners %q", a.NoOwners)
			}
		})
	}
	for _, unknown := range []string{"", "example.org/storage", "rbd.csi.ceph.com.example", "x-rancher.io/local-path"} {
		if name, _, ok := FindDriver(drivers, unknown, nil); ok {
			t.Errorf("%q is taken for %s", unknown, name)
		}
	}
}

// Kubernetes itself keeps ReadWriteOncePod, for CSI drivers only; the names of
// others hold a slash.
func TestOncePodIsForCSIDrivers(t *testing.T) {
	drivers, err := LoadDrivers(templates.Drivers())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, d := range drivers {
		for _, p := range d.Provisioners {
			if first, twice := seen[p]; twice {
				t.Errorf("provisioner %s is of %s and of %s", p, first, d.Driver)
			}
			seen[p] = d.Driver
			abilities := []Ability{d.Ability}
			for _, c := range d.When {
				abilities = append(abilities, c.Ability)
			}
			for _, a := range abilities {
				if strings.Contains(p, "/") && p != "netapp.io/trident" && strings.Contains(strings.Join(a.Modes, " "), "ReadWriteOncePod") {
					t.Errorf("%s of %s is no CSI driver", p, d.Driver)
				}
			}
		}
	}
}

func TestLoadDriversNamesTheLine(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key": {"drivers:\n- driver: x\n  provisioner: [x]\n", `drivers.yaml:3: unknown key "provisioner"`},
		"mode":        {"drivers:\n- driver: x\n  provisioners: [x]\n  modes: [ReadWriteSometimes]\n  source: https://example.org\n", `drivers.yaml:2: driver "x": there is no access mode "ReadWriteSometimes"`},
		"no source":   {"drivers:\n- driver: x\n  provisioners: [x]\n  modes: [ReadWriteOnce]\n", `drivers.yaml:2: driver "x": source must be`},
		"no modes":    {"drivers:\n- driver: x\n  provisioners: [x]\n  source: https://example.org\n", `drivers.yaml:2: driver "x": modes must be given`},
		"case": {"drivers:\n- driver: x\n  provisioners: [x]\n  modes: [ReadWriteOnce]\n  source: https://example.org\n  when:\n  - values: [a]\n    modes: [ReadWriteOnce]\n    source: https://example.org\n",
			`drivers.yaml:7: driver "x": parameter and values must be given`},
		"pattern": {"drivers:\n- driver: x\n  provisioners: [\"x[\"]\n  modes: [ReadWriteOnce]\n  source: https://example.org\n", `only * stands for any text`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadDrivers(fstest.MapFS{"drivers.yaml": {Data: []byte(tt.text)}})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}
