// Package unpack makes a file tree from a tar archive (tar(5), pax(1)) of a
// whole host, without losing anything that the archive has: owners, modes,
// times, extended attributes, ACLs, hard links, symlinks, FIFOs, devices, holes,
// and names that are no text.
//
// The archive is hostile. Nothing is written outside of the directory that it is
// unpacked to: every name is resolved element by element below the handle of
// that directory, and no symlink is followed, whoever made it. What it declares
// is compared with limits before it is believed.
package unpack
