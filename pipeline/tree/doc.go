// Package tree describes file trees: one entry per path with everything that a
// faithful copy must bring along, the canonical listing of a tree, and the
// digest over it.
//
// # The listing
//
// A listing has one line for each path, depth first with siblings in the order
// of their bytes ([hostpath.Compare]), so the root "/" comes first and a
// directory right before what is in it. Each path occurs once, and each parent
// is a directory of the listing. A line ends in a newline (0x0a) and has these
// eleven fields, with a tab (0x09) between them:
//
//	type    f d l p s b c, as find(1) -printf %y prints it
//	mode    permissions with setuid, setgid and sticky: four octal digits
//	uid     decimal
//	gid     decimal
//	size    bytes of a regular file, length of a symlink's target, else 0
//	mtime   nanoseconds since the epoch, decimal, may be negative
//	device  MAJOR:MINOR of a device, else -
//	link    the first path in the listing that is a hard link to the same
//	        inode, when this is not it, else -
//	xattrs  NAME=VALUE separated by commas, in the order of the bytes of the
//	        names, else -
//	sha256  of the content of a regular file, 64 lower-case hexadecimal digits,
//	        also of a second link; else -
//	path    and for a symlink another tab and the target
//
// path, link, target and the names of attributes are in the escape of
// [hostpath.Quote], in names also "=" and "," as \x3d and \x2c; values are base64
// (RFC 4648 section 4, padded). A number has no superfluous zeros.
//
// There is exactly one listing for a tree. The tree's digest is the SHA-256 of
// its listing: sha256sum(1) on the file prints it.
//
// Not in a listing: times other than the modification time, sizes of
// directories, inode numbers, how a file's holes lie (they read as zeros), and
// inode flags (chattr(1)).
package tree
