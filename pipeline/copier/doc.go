// Package copier fills a directory from a seed and proves the copy.
//
// It writes only below the directory that it was given: every path is opened
// element by element from that directory's handle without following a symlink
// (openat(2), O_NOFOLLOW), and the seed's listing has each path once, in order,
// below directories of its own only (see package seed).
//
// The proof reads every file back: right behind the writing, of a large one part by
// part, while it is still in memory, and once more with the rest only if its ctime
// says that somebody touched it since. (Whether it reached the disk is what the
// flush says, not what is read.)
//
// # Interruptions
//
// While a copy is under way the directory holds a [Marker] file, whose first
// line is the seed's digest. A later run that finds it goes on: a path whose
// type, owner, mode, size and times are those of the seed was finished, since
// times are set last; everything else is made anew. Of files in parts, the
// marker lists the parts that were written. None of this is taken on trust: the
// copy is read back as a whole, and when that finds a difference after a resumed
// run, everything is written again.
//
// A directory that is not empty and has no marker is left alone. If it is an
// equal copy of the seed already, it is proved and that is all; otherwise the
// run fails with [ErrOccupied]. The lost+found of a new ext4 file system does
// not count.
//
// # Shards
//
// Several shards ([CopyShard]) may write one copy side by side, also from several
// machines. Each deals all pieces of the seed to all shards in the same way, by
// weight, and does its own: the packs, and parts of large files, which several
// may write. A shard has a journal of its own beside the marker, so that none
// writes where another does. Shards only save time: the [Copy] that comes after
// them goes on with whatever they left, as after an interruption.
package copier
