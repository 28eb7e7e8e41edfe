// Package delta takes a volume from one state to the next: what changed at the
// live source since the last confirmed round, and nothing else, as an OCI
// artifact beside the seed, and the reconciliation of a directory with a seed
// and all deltas since.
//
// # The format
//
// A delta is an image index. Its first manifest has the artifact type of
// [ArtifactType], a JSON document ([Config]) as its config, and as its layers the
// list of changes (zstd) and the blobs of patches. The other manifests are seeds
// (package seed) of nothing but the files whose content travels as a whole.
//
// The list of changes has a line for each path that changed, in the order of a
// listing (package tree), each with a kind and a tab (0x09) before it:
//
//   - PATH	is not there any more, in the escape of [hostpath.Quote]
//   - LINE	is as this line of a listing says
//     ~	JSON	how the content of the file in the line before comes about ([Patch])
//
// The listing with the changes is that of the new state, whose tree digest the
// config has. The content of a file is found by its SHA-256, wherever it is: at
// another path of the volume, in a delta, in the seed. So a rename moves nothing.
//
// # At the source
//
// A directory of the volume keeps the state of the last confirmed round (package
// snapshot). A path with the same inode, size, mtime and ctime is not read. Of a
// large file the SHA-256 of each block of 1 MiB is kept, and only blocks with
// another one travel.
//
// # In the volume
//
// See [Apply]. A receipt has a mark, a moment of the clock of the volume's file
// system: what has an older ctime was not touched since. That clock is trusted
// not to go back, also when the volume moves to another machine; without a proof,
// everything is read.
package delta
