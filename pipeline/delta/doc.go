// Package delta takes a volume from one state to the next: what changed at the
// live source since the last confirmed round, and nothing else, as an OCI
// artifact beside the seed, and the reconciliation of a directory with a seed
// and all deltas since.
package delta
