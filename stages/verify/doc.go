// Package verify proves again everything that was made, wherever it is.
//
// It reads the hand-offs split, plan, images, objects, manifests, seeds and
// copies, and the inventory; it writes the hand-off verdicts; it touches nothing,
// reading the workspace, the registry and the store; it has nothing to resume,
// since it believes no record and looks at everything each time.
package verify
