package diagnose

import "fmt"

// image tells why an image cannot be pulled. message is the waiting message of
// the container, or of the event that says more.
func image(name, message string) Finding {
	f := Finding{Level: Stuck, Evidence: oneLine(message)}
	switch {
	case has(message, "no match for platform", "no matching manifest"):
		f.What = fmt.Sprintf("image %s is not made for the architecture of this node", name)
		f.Remedy = "lift from a host of the same architecture, or into nodes of it"
	// Three digits alone are in many a digest.
	case has(message, " 401", " 403", "(401", "(403", "unauthorized", "no basic auth credentials", "authorization failed", "denied", "authentication required"):
		f.What = fmt.Sprintf("the registry does not give image %s to this node without other credentials", name)
		f.Remedy = "log in with an account that may pull (docker login), and run again: the pull Secret is made from it"
	case has(message, "not found", "manifest unknown", "name unknown", "repository does not exist"):
		f.What = fmt.Sprintf("image %s is not in the registry", name)
		f.Remedy = "run again: what is missing there is pushed again"
	case has(message, "x509", "certificate", "server gave HTTP response to HTTPS client", "tls:"):
		f.What = fmt.Sprintf("the node does not trust the registry of image %s", name)
		f.Remedy = "have the registry's certificate authority (or plain http) set up in the container runtime of the nodes"
	case has(message, "no such host", "connection refused", "i/o timeout", "no route to host", "network is unreachable", "deadline exceeded", "dial tcp"):
		f.What = fmt.Sprintf("the node does not reach the registry of image %s", name)
		f.Remedy = "use a registry name that the nodes of the cluster reach (--registry)"
		f.Level = Doubtful
		if isUnreachable(message) {
			f.Within = unreachable
		}
	default:
		f.What = fmt.Sprintf("image %s cannot be pulled", name)
		f.Level = Doubtful
	}
	return f
}
