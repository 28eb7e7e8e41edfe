// Package images makes the container images of a plan.
//
// It reads the hand-offs source, split and plan, the inventory, and the source's
// files of class image; it writes images/, an OCI image layout, and the hand-off
// images; it touches the workspace, and a registry when one is given. It resumes
// by layer: a finished one is in the ledger under the digest of its plan.
package images
