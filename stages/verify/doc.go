// Package verify proves again everything that was made, wherever it is.
//
// It reads the hand-offs split, target, plan, images, objects, manifests, seeds,
// upload and copies, and the inventory; it writes the hand-off verdicts; it
// touches nothing, reading the workspace, the registry and the store, and in a
// cluster the workloads, in whose containers it runs the checks of their data and
// of the user; only when volumes are to be proved again it makes Jobs there, and
// removes them. It has nothing to resume, since it believes no record and looks
// at everything each time; Jobs that a killed run left are removed first.
package verify
