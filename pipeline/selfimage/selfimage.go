// Package selfimage makes the container image in which statelift runs in a
// cluster: the program, certificates and nothing else.
//
// The same program and certificates give the same digest. The image follows the
// OCI image specification 1.1 (config.md, layer.md); its layer is gzip, which
// every runtime reads.
package selfimage

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/statelift/statelift/pipeline/oci"
)

// Entrypoint is where the program is in the image.
const Entrypoint = "/statelift"

const (
	mediaConfig = "application/vnd.oci.image.config.v1+json"
	mediaLayer  = "application/vnd.oci.image.layer.v1.tar+gzip"
	// certificates are where Go's crypto/x509 looks first.
	certificates = "/etc/ssl/certs/ca-certificates.crt"
)

// Options say what the image is made of.
type Options struct {
	Program      string // a static program; "" is the one that runs
	Certificates string // PEM file of authorities that the machine trusts; "" is the usual file, if there is one
}

// Image is what was made.
type Image struct {
	Digest string // of the manifest
	Arch   string // that the program is for, as GOARCH
	Size   int64  // of layer and config
}

// Make writes the image to an OCI image layout at dir, which it makes and keeps
// for itself. The error is ErrDynamic for a program that needs more than itself.
func Make(ctx context.Context, dir string, o Options) (Image, error) {
	if o.Program == "" {
		self, err := os.Executable()
		if err != nil {
			return Image{}, fmt.Errorf("image of statelift: %w", err)
		}
		o.Program = self
	}
	image, err := o.make(ctx, dir)
	if err != nil {
		return Image{}, fmt.Errorf("image of %s: %w", o.Program, err)
	}
	return image, nil
}

func (o Options) make(ctx context.Context, dir string) (Image, error) {
	program, err := os.Open(o.Program)
	if err != nil {
		return Image{}, err
	}
	defer program.Close()
	arch, err := architecture(program)
	if err != nil {
		return Image{}, err
	}
	roots, err := o.roots()
	if err != nil {
		return Image{}, err
	}
	layout, err := oci.Create(dir)
	if err != nil {
		return Image{}, err
	}
	layer, diff, err := writeLayer(ctx, layout, program, roots)
	if err != nil {
		return Image{}, err
	}
	return finish(layout, arch, layer, diff)
}

// roots are the authorities that the program in the image trusts. A machine
// without any makes an image without.
func (o Options) roots() ([]byte, error) {
	name := o.Certificates
	if name == "" {
		name = certificates
	}
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && o.Certificates == "" {
		return nil, nil
	}
	return data, err
}

// finish stores config and manifest.
func finish(layout *oci.Layout, arch string, layer oci.Descriptor, diff string) (Image, error) {
	hash, err := v1.NewHash("sha256:" + diff)
	if err != nil {
		return Image{}, err
	}
	epoch := v1.Time{Time: time.Unix(0, 0).UTC()}
	config, err := put(layout, mediaConfig, v1.ConfigFile{
		Architecture: arch, OS: "linux", Created: epoch,
		RootFS:  v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{hash}},
		History: []v1.History{{Created: epoch, CreatedBy: "statelift"}},
		Config: v1.Config{
			Entrypoint: []string{Entrypoint}, WorkingDir: "/", User: "0:0",
			Env:    []string{"PATH=/", "HOME=/tmp", "TMPDIR=/tmp"},
			Labels: map[string]string{"org.opencontainers.image.title": "statelift"},
		},
	})
	if err != nil {
		return Image{}, err
	}
	manifest, err := put(layout, oci.MediaManifest, oci.Manifest{
		SchemaVersion: 2, MediaType: oci.MediaManifest, Config: config, Layers: []oci.Descriptor{layer},
	})
	if err != nil {
		return Image{}, err
	}
	if err := layout.SetIndex([]oci.Descriptor{manifest}); err != nil {
		return Image{}, err
	}
	keep := map[oci.Digest]bool{manifest.Digest: true, config.Digest: true, layer.Digest: true}
	if err := layout.Prune(func(d oci.Digest) bool { return keep[d] }); err != nil {
		return Image{}, err
	}
	return Image{Digest: string(manifest.Digest), Arch: arch, Size: config.Size + layer.Size}, nil
}

func put(layout *oci.Layout, media string, v any) (oci.Descriptor, error) {
	data, err := oci.Marshal(v)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d, err := layout.Put(data)
	return oci.Descriptor{MediaType: media, Digest: d, Size: int64(len(data))}, err
}

// The accounts of the image: the copier is root, whatever else runs is nobody.
const (
	passwd = "root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	group  = "root:x:0:\nnogroup:x:65534:\n"
)

// writeLayer stores the one layer, and returns the SHA-256 of the archive in it.
func writeLayer(ctx context.Context, layout *oci.Layout, program *os.File, roots []byte) (_ oci.Descriptor, diff string, err error) {
	blob, err := layout.Begin()
	if err != nil {
		return oci.Descriptor{}, "", err
	}
	defer blob.Abort()
	zip, err := gzip.NewWriterLevel(blob, gzip.BestSpeed)
	if err != nil {
		return oci.Descriptor{}, "", err
	}
	sum := sha256.New()
	a := archive{ctx: ctx, tw: tar.NewWriter(io.MultiWriter(zip, sum))}
	a.dir("etc/", 0o755)
	a.file("etc/group", 0o644, []byte(group))
	a.file("etc/passwd", 0o644, []byte(passwd))
	if roots != nil {
		a.dir("etc/ssl/", 0o755)
		a.dir("etc/ssl/certs/", 0o755)
		a.file(certificates[1:], 0o644, roots)
	}
	a.program(Entrypoint[1:], program)
	a.dir("tmp/", 0o1777)
	if err := errors.Join(a.err, a.tw.Close(), zip.Close()); err != nil {
		return oci.Descriptor{}, "", err
	}
	digest, size, err := blob.Commit()
	return oci.Descriptor{MediaType: mediaLayer, Digest: digest, Size: size}, hex.EncodeToString(sum.Sum(nil)), err
}

// archive writes entries until one fails. Owners are root, times are the epoch.
type archive struct {
	ctx context.Context
	tw  *tar.Writer
	err error
}

func (a *archive) add(h tar.Header, content io.Reader) {
	if a.err == nil {
		a.err = a.ctx.Err()
	}
	if a.err != nil {
		return
	}
	h.Format, h.ModTime = tar.FormatUSTAR, time.Unix(0, 0)
	if a.err = a.tw.WriteHeader(&h); a.err == nil && content != nil {
		_, a.err = io.Copy(a.tw, content)
	}
}

func (a *archive) dir(name string, mode int64) {
	a.add(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}, nil)
}

func (a *archive) file(name string, mode int64, content []byte) {
	a.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, bytes.NewReader(content))
}

func (a *archive) program(name string, f *os.File) {
	fi, err := f.Stat()
	if err != nil {
		a.err = errors.Join(a.err, err)
		return
	}
	a.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o755, Size: fi.Size()}, io.NewSectionReader(f, 0, fi.Size()))
}
