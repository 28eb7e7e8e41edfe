// Package admit stops a lift before any work when its target cannot serve it, or when
// a database of it serves or was not shut down.
//
// It reads the plan, target and source hand-offs and writes the admission hand-off; it
// touches nothing but reads databases at the source; after a stop it judges again.
package admit
