// Package install is deploy in a cluster: what manifests/ says is applied there,
// the volumes are filled and proved by Jobs, and only then the workloads start.
//
// It reads the hand-offs plan, seeds, upload and manifests, manifests/ and
// seeds/; it writes receipts/NAME.json with NAME.listing beside it, run/logs/,
// and the hand-off copies; it touches the namespace of the cluster, every object
// recorded in the ledger before it is made. It resumes by what is there: objects
// are applied again, which changes nothing; a volume that was proved is known by
// the UID of its claim; a Job that runs is waited for, one that ended tells its
// receipt by its log.
package install
