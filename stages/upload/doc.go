// Package upload brings the seeds to where a cluster finds them, and statelift
// itself as an image for the copy Jobs.
//
// It reads the hand-off seeds, and seeds/; it writes the hand-off upload, and
// run/copier/ with the image; it touches the registry or the bucket that carries
// the seeds, and nothing without one. It resumes by blob: the far side is asked
// for each before it is sent.
package upload
