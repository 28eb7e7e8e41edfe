package handoff

// What Pods and claims ask for that no part of the host says: plan counts it
// against the target's quotas, manifests writes it.

// CopyResources are those of a Pod that fills a volume.
func CopyResources() Resources {
	return Resources{CPU: 250, Memory: 256 << 20, MemoryLimit: 1 << 30}
}

// PrepareResources are those of the container that makes directories before a
// service starts.
func PrepareResources() Resources {
	return Resources{CPU: 10, Memory: 16 << 20, MemoryLimit: 64 << 20}
}

// ShareSize is what the volume of a network share and its claim name, in bytes:
// Kubernetes wants to be told a size, and the server alone decides about it.
const ShareSize = 1 << 30
