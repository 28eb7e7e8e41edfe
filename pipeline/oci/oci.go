// Package oci is a directory of blobs in the form of an OCI image layout
// (image-layout.md of the OCI image specification 1.1): oci-layout, index.json
// and blobs/sha256/HEX. Public tools read it: skopeo, crane, oras.
package oci

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Media types of the specification.
const (
	MediaManifest = "application/vnd.oci.image.manifest.v1+json"
	MediaIndex    = "application/vnd.oci.image.index.v1+json"
)

// RefName is the annotation that names an entry of index.json.
const RefName = "org.opencontainers.image.ref.name"

// Digest is the name of a blob: "sha256:" and 64 lower-case hexadecimal digits.
type Digest string

// ErrDigest is wrapped for a text that is no digest of this kind.
var ErrDigest = errors.New("not a sha256 digest")

// DigestOf makes a digest of the sum.
func DigestOf(sum [32]byte) Digest { return Digest("sha256:" + hex.EncodeToString(sum[:])) }

// Hex checks the digest and returns its digits.
func (d Digest) Hex() (string, error) {
	digits, ok := strings.CutPrefix(string(d), "sha256:")
	if !ok || len(digits) != 64 || strings.Trim(digits, "0123456789abcdef") != "" {
		return "", fmt.Errorf("%q: %w", string(d), ErrDigest)
	}
	return digits, nil
}

// Descriptor names a blob (descriptor.md).
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      Digest            `json:"digest"`
	Size        int64             `json:"size"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Manifest is an image manifest (manifest.md), here of an artifact.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Index is an image index (image-index.md).
type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Manifests     []Descriptor      `json:"manifests"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// MaxManifest bounds a manifest or an index: registries accept 4 MiB
// (distribution specification, "Pushing Manifests").
const MaxManifest = 4 << 20

// Marshal writes a document as it is stored: the same value gives the same bytes.
func Marshal(v any) ([]byte, error) { return json.Marshal(v) }

// ErrDamaged is wrapped when a blob is not what its digest says; the error is a
// [*Damaged].
var ErrDamaged = errors.New("damaged")

// Damaged names a blob that is not what its digest says.
type Damaged struct {
	Digest Digest
	How    string
}

func (d *Damaged) Error() string { return fmt.Sprintf("blob %s is damaged: %s", d.Digest, d.How) }

// Unwrap gives ErrDamaged.
func (d *Damaged) Unwrap() error { return ErrDamaged }
