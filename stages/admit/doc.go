// Package admit stops a lift before any work when its target cannot serve it.
//
// It reads the plan and target hand-offs and writes the admission hand-off; it
// touches nothing; after a stop it judges again.
package admit
