package imageset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/statelift/statelift/pipeline/catalog"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/layer"
	"github.com/statelift/statelift/pipeline/layer/content"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
)

// The files of accounts: passwd(5), group(5), shadow(5), gshadow(5).
const (
	Passwd  hostpath.Path = "/etc/passwd"
	Group   hostpath.Path = "/etc/group"
	Shadow  hostpath.Path = "/etc/shadow"
	Gshadow hostpath.Path = "/etc/gshadow"
)

// Accounts are the users and groups of a host as images get them: the same
// names and numbers, every password locked.
type Accounts struct {
	Passwd, Group []byte
}

// maxAccounts bounds passwd and group.
const maxAccounts = 16 << 20

// ReadAccounts reads passwd and group of the source, as the scan saw them, and
// locks what passwords they hold. A host without them has none.
func ReadAccounts(ctx context.Context, c *catalog.Catalog, root *rootfs.Root) (*Accounts, error) {
	passwd, err := readSmall(ctx, c, root, Passwd)
	if err != nil {
		return nil, err
	}
	group, err := readSmall(ctx, c, root, Group)
	if err != nil {
		return nil, err
	}
	return &Accounts{Passwd: lock(passwd), Group: lock(group)}, nil
}

func readSmall(ctx context.Context, c *catalog.Catalog, root *rootfs.Root, p hostpath.Path) ([]byte, error) {
	e, err := c.Lookup(ctx, p)
	if errors.Is(err, catalog.ErrNoPath) || err == nil && e.Type != tree.Regular {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if e.Size > maxAccounts {
		return nil, fmt.Errorf("%s: %d bytes: %w", p, e.Size, rootfs.ErrTooLarge)
	}
	r := content.NewReader(root)
	defer r.Close()
	f, err := r.Open(e.Entry.Entry)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var buf bytes.Buffer
	if err := f.Copy(ctx, &buf); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// lock puts x, "see the shadow file", where a line of passwd or group holds
// anything that could be a password.
func lock(data []byte) []byte {
	var b strings.Builder
	for line := range strings.Lines(string(data)) {
		text, hasEnd := strings.CutSuffix(line, "\n")
		fields := strings.SplitN(text, ":", 3)
		if len(fields) > 1 && !isLocked(fields[1], true) {
			fields[1] = "x"
		}
		b.WriteString(strings.Join(fields, ":"))
		if hasEnd {
			b.WriteByte('\n')
		}
	}
	return []byte(b.String())
}

// isLocked reports whether a password field lets nobody in. Elsewhere is for
// passwd and group, where x says "see the shadow file".
func isLocked(field string, elsewhere bool) bool {
	return field == "*" || field == "!" || field == "!!" || elsewhere && field == "x"
}

// shadows makes shadow(5) or gshadow(5) with a locked password for every name
// of passwd or group: "*" is the result of no hash, and no password matches.
func shadows(data []byte, tail string) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(string(data)) {
		name, _, ok := strings.Cut(line, ":")
		if ok && name != "" && !strings.ContainsRune("+-#", rune(name[0])) { // + and - are of NIS
			b.WriteString(name + ":*:" + tail + "\n")
		}
	}
	return b.Bytes()
}

// makeAccounts puts the files of accounts into b instead of the host's own.
func (d *drawing) makeAccounts(ctx context.Context, b *bin) error {
	var passwd, group []byte
	if d.Accounts != nil {
		passwd, group = d.Accounts.Passwd, d.Accounts.Group
	}
	for _, f := range []struct {
		path hostpath.Path
		of   hostpath.Path // must be on the host
		data []byte
	}{
		{Passwd, Passwd, passwd},
		{Group, Group, group},
		{Shadow, Passwd, shadows(passwd, "::::::")},
		{Gshadow, Gshadow, shadows(group, ":")},
	} {
		e, ok, err := d.lookup(ctx, f.of)
		if err != nil {
			return err
		}
		if !ok || e.Type != tree.Regular {
			continue
		}
		i := layer.Item{Role: layer.Made, Any: d.Accounts == nil, Data: f.data, Entry: tree.Entry{
			Path: f.path, Type: tree.Regular, Mode: e.Mode, UID: e.UID, GID: e.GID,
			Size: int64(len(f.data)), Mtime: e.Mtime,
			// Not in the layer, but in the digest of its plan: the content is as old.
			Ctime: e.Ctime, Ino: e.Ino,
		}}
		if f.path == Shadow || f.path == Gshadow {
			i.Mode, i.UID, i.GID = d.shadowMode()
			if at, ok, err := d.lookup(ctx, Passwd); err == nil && ok {
				i.Mtime = at.Mtime
			}
		}
		b.want(i)
		d.replaced[f.path] = true
	}
	return nil
}

// shadowMode is the owner and mode of the shadow files: of the group shadow
// where the host has one, else for root alone.
func (d *drawing) shadowMode() (mode, uid, gid uint32) {
	for _, g := range d.groups {
		if g.Name == "shadow" {
			return 0o640, 0, g.GID
		}
	}
	return 0o600, 0, 0
}

// Locked fails when a file of accounts at path p of an image has a password
// that is not locked.
func Locked(p hostpath.Path, data []byte) error {
	if !accountFiles[p] {
		return nil
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(fields) < 2 {
			continue
		}
		if !isLocked(fields[1], p == Passwd || p == Group) {
			return fmt.Errorf("%s:%d: the password of %s is not locked", p, n, hostpath.Quote(fields[0]))
		}
	}
	return nil
}

// IsAccounts reports whether p is one of the files of accounts.
func IsAccounts(p hostpath.Path) bool { return accountFiles[p] }

var accountFiles = map[hostpath.Path]bool{Passwd: true, Group: true, Shadow: true, Gshadow: true}
