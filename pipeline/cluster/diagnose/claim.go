package diagnose

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// claim tells why a claim has no volume. That it waits for its first consumer is
// as it should be (storage/v1, WaitForFirstConsumer): then its Pod tells.
func claim(c *corev1.PersistentVolumeClaim, events []*corev1.Event) []Finding {
	about := "PersistentVolumeClaim " + c.Name
	switch {
	case c.DeletionTimestamp != nil:
		return []Finding{{Level: Stuck, About: about, What: "it is being deleted, and stays for as long as a Pod uses it",
			Remedy: "let it go: remove the Pods that mount it; then run again and it is filled anew"}}
	case c.Status.Phase == corev1.ClaimLost:
		return []Finding{{Level: Stuck, About: about, What: "its volume is gone, and its data with it",
			Remedy: "delete the claim and run again: it is filled anew from the seed"}}
	case c.Status.Phase == corev1.ClaimBound:
		return nil
	}
	if e := latest(events, "ProvisioningFailed", "FailedBinding"); e != nil {
		f := provisioning(e.Message)
		f.About, f.Evidence = about, oneLine(e.Message)
		return []Finding{f}
	}
	if e := latest(events, "ExternalProvisioning", "Provisioning"); e != nil && LastSeen(e).Sub(e.FirstTimestamp.Time) >= slowProvisioner {
		return []Finding{{Level: Doubtful, About: about, What: "the provisioner of its StorageClass makes no volume, and does not say why",
			Remedy: "look whether it runs and at its log, or name another class (storageClass: of the volume in statelift.yaml)", Evidence: oneLine(e.Message)}}
	}
	return nil
}

// slowProvisioner is after how long it is worth a word that a volume is still
// not made.
const slowProvisioner = 20 * time.Second

// provisioning reads what a provisioner or the volume controller says.
func provisioning(message string) Finding {
	switch {
	case has(message, "storageclass.storage.k8s.io", "storage class") && has(message, "not found"):
		return Finding{Level: Stuck, What: "its StorageClass does not exist", Remedy: "name another one (storageClass: of the volume in statelift.yaml), or have it made"}
	case has(message, "no persistent volumes available for this claim and no storage class is set"):
		return Finding{Level: Stuck, What: "no StorageClass is named and the cluster has no default one", Remedy: "name one (storageClass: of the volume in statelift.yaml)"}
	case has(message, "access mode", "accessmode", "MULTI_NODE", "volume capabilit"):
		return Finding{Level: Stuck, What: "its StorageClass cannot serve this access mode", Remedy: "choose another class or access mode (storageClass:, accessMode: of the volume in statelift.yaml)"}
	case has(message, "insufficient", "no space", "not enough", "exhausted", "quota"):
		return Finding{Level: Doubtful, What: "the storage has no room for it", Remedy: "make room there, or choose another class or a smaller size in statelift.yaml"}
	}
	return Finding{Level: Doubtful, What: "its volume cannot be made", Remedy: "look at the provisioner of its StorageClass"}
}
