// Package deploy fills the volumes; in a rehearsal they are directories.
//
// It reads the hand-offs plan and seeds, and seeds/; it writes volumes/NAME,
// receipts/NAME.json with NAME.listing beside it, and the hand-off copies; it
// touches nothing else. It resumes by path and by part of a large file, see
// package copier.
package deploy
