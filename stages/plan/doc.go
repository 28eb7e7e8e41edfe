// Package plan decides what becomes of the host: workloads, volumes,
// configuration, shares, and what a person must still decide.
//
// It reads the source, inventory and split hand-offs, inventory.db and, through
// the rooted handle, a few small files of the source; it writes the plan
// hand-off and plan.yaml; it touches the workspace only; after a stop it starts
// anew, since it takes seconds.
package plan
