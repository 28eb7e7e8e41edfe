// Package sync brings the volumes of a lift up to what the source is by now, in
// rounds: as often as wanted while the source serves, and once more, the final
// round, when it was stopped.
//
// It reads the hand-offs source, plan, seeds, upload and manifests, the live
// source, seeds/ and rounds/; it writes blobs into seeds/, rounds/VOLUME,
// receipts/NAME.json with NAME.listing beside it and the hand-off rounds; it
// touches the registry or bucket that carries the seeds and, in the cluster, the
// volumes, by Jobs, while the workloads are held at zero; in a rehearsal,
// volumes/NAME. A round that was stopped is made again: what it had sent is not
// sent again, a Job that runs is waited for, and what a volume has by then is kept.
package sync
