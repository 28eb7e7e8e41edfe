// Package objects puts the files of class object into the object store.
//
// It reads the hand-offs source and plan, the inventory, and the source's files
// of class object; it writes the objects, the index beside them, and the
// hand-off objects; it touches the store, which is store/ in the workspace
// unless a bucket is given. It resumes by object, and within a large one: the
// ledger tells what an unchanged file's digest is, the store what it has.
package objects
