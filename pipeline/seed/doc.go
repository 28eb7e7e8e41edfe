// Package seed makes and reads seeds: the initial content of a volume as an OCI
// artifact, whose blobs are addressed by SHA-256.
//
// # The format
//
// A seed is an image manifest with the artifact type of [ArtifactType]. Its
// config is a JSON document ([Config]). Its layers are
//
//  1. the listing of the tree (package tree), zstd: the authority on every path
//     and its metadata, and on the SHA-256 of each file's content;
//  2. the map, zstd: JSON lines ([Unit]), in the order of the listing. Each says
//     for the next so many lines of the listing in which blobs their content is;
//  3. packs and parts, each once, in the order in which the map names them.
//
// A pack is a PAX tar archive, zstd, with the paths of its unit that are no
// large files and no sockets (tar has no such thing), as PATH relative to the
// volume: owners, modes, times in nanoseconds, extended attributes
// (SCHILY.xattr.*), ACLs (SCHILY.acl.*), hard links, devices. Attributes that PAX cannot express
// (those with "=" in the name, or of more than 256 KiB together) are in the
// listing only. A name that is not UTF-8 is stored as it is, with hdrcharset
// BINARY (pax(1)). A unit ends after 8 MiB of small files or 2,048 paths, then at the first
// path that a hash of its name and size picks, so that a change in one place
// leaves the other packs as they are.
//
// A large file ([Limits.LargeFrom]) is cut into parts of [Limits.PartSize] bytes,
// each a blob of its own, compressed where a sample says that this halves it. A part of
// zeros has no blob. Files with holes at the source are marked sparse: their
// blocks of 4,096 zeros become holes again. (Where exactly the holes lay is not
// part of the seed, since that differs between file systems.)
//
// The same tree gives the same digests on every run and every machine.
//
// A manifest of more than 4,096 layers ([Limits.PageBlobs]) would be too large
// for registries. Then the seed is an image index: its first manifest is as above
// with the first of them, the others ([PageType]) hold nothing but the rest.
//
// With public tools:
//
//	skopeo inspect --raw oci:seeds:VOLUME | jq
//	for d in $(… | jq -r '.layers[]|select(.mediaType|endswith("pack.v1.tar+zstd")).digest'); do
//	  zstd -dc blobs/sha256/${d#sha256:} | tar --xattrs --acls --numeric-owner -xpC DIR; done
package seed
