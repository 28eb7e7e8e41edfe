// Package manifests writes what a plan becomes in Kubernetes: typed objects, one
// file each, ready for kustomize.
//
// It reads the source, plan, images and seeds hand-offs, inventory.db, and the
// configuration files of the source, each as the scan saw it or not at all; it
// writes the manifests hand-off and manifests/ in the workspace, and touches
// nothing else; after a stop it writes all files anew, byte for byte the same.
package manifests
