// Package rollback finds what was written in the cluster since the cutover.
//
// It reads the plan, the newest receipts with their listings and the volumes
// (read-only; in a cluster through a Pod per volume, in a rehearsal below
// volumes/), writes changes/VOLUME.jsonl and, when asked to, an archive per
// volume, and touches nothing else. It resumes by doing all of it again.
package rollback
