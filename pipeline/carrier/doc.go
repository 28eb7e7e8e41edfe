// Package carrier is how seeds travel: a place from which their blobs are read
// by digest, and to which they are put.
//
// There are three. A registry holds the blobs of all seeds in one repository,
// and each seed's manifest under its digest, its short digest and the name of
// its volume as tags, so that
//
//	skopeo copy docker://HOST/PREFIX/seeds:VOLUME oci:DIR:VOLUME
//
// takes a seed along. A bucket holds them as objects seeds/blobs/sha256/HEX,
// manifests too: what a public tool downloads below seeds/ is an OCI image
// layout (image-layout.md) with the seeds of the last run in its index.json. A
// directory with a layout is the third; it is only read.
//
// Reading verifies: content ends with io.EOF only when its digest was right.
// Faults that pass are tried again, and a download that breaks goes on where it
// was, a bounded number of times.
package carrier
