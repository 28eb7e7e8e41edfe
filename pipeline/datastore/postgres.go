package datastore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"

	"github.com/statelift/statelift/pipeline/rootfs"
)

// The control file: src/include/catalog/pg_control.h of PostgreSQL. It is in the
// byte order of the host.
const (
	controlSize  = 8192
	controlState = 16 // offset
	// The checksum stands behind the last field, whose offset differs between
	// versions and within these bounds.
	controlSumFrom, controlSumTo = 200, 504
)

// control is what a control file says.
type control struct {
	version uint32 // of the format
	state   uint32
	why     string // it is not known, or broken
}

// Versions of the format, PostgreSQL 9.6 to 18; since 9.5 the checksum is CRC-32C.
const controlOldest, controlNewest = 942, 1800

// dbState is enum DBState.
func dbState(n uint32) (words string, clean bool) {
	switch n {
	case 0:
		return "starting up", false
	case 1:
		return "shut down", true
	case 2:
		return "shut down in recovery", true
	case 3:
		return "shutting down", false
	case 4:
		return "in crash recovery", false
	case 5:
		return "in archive recovery", false
	case 6:
		return "in production", false
	}
	return fmt.Sprintf("state %d", n), false
}

func parseControl(b []byte) control {
	if len(b) < controlSumTo+4 {
		return control{why: fmt.Sprintf("%d bytes are no control file", len(b))}
	}
	var order binary.ByteOrder = binary.LittleEndian
	if v := order.Uint32(b[8:]); v < controlOldest || v > controlNewest {
		order = binary.BigEndian
	}
	c := control{version: order.Uint32(b[8:]), state: order.Uint32(b[controlState:])}
	if c.version < controlOldest || c.version > controlNewest {
		c.why = fmt.Sprintf("a control file of a version that is not known (%d)", order.Uint32(b[8:]))
		return c
	}
	sum := crc32.Checksum(b[:controlSumFrom], castagnoli)
	for at := controlSumFrom; at <= controlSumTo; at += 4 {
		if sum == order.Uint32(b[at:]) {
			return c
		}
		sum = crc32.Update(sum, castagnoli, b[at:at+4])
	}
	c.why = "a control file that does not fit its checksum"
	return c
}

func judgePostgres(root *rootfs.Root, v *Verdict) error {
	name := v.Dir.Join("global/pg_control")
	data, err := root.ReadFile(name, controlSize)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, rootfs.ErrTooLarge):
		v.note(Unknown, name, "it is longer than a control file")
		return nil
	case err != nil:
		return err
	}
	c := parseControl(data)
	words, clean := dbState(c.state)
	switch {
	case c.why != "":
		v.note(Unknown, name, "%s", c.why)
	case clean:
		v.note(Clean, name, "the cluster is %s", words)
	default:
		v.note(Unclean, name, "the cluster is %s: it was not shut down", words)
	}
	for _, left := range []struct{ name, fact string }{
		{"postmaster.pid", "a server that was shut down removes it"},
		{"backup_label", "a backup that is being made, or was brought back: the server has to recover it from the write-ahead log"},
	} {
		p := v.Dir.Join(left.name)
		found, err := exists(root, p)
		if err != nil {
			return err
		}
		if found {
			v.note(Unclean, p, "%s", left.fact)
		}
	}
	return v.tablespaces(root)
}

// tablespaces finds links that lead nowhere: the files behind them are part of the
// cluster.
func (v *Verdict) tablespaces(root *rootfs.Root) error {
	dir := v.Dir.Join("pg_tblspc")
	list, err := root.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, link := range list {
		p := dir.Join(link.Name())
		if found, err := exists(root, p); err != nil {
			return err
		} else if !found {
			v.note(Unknown, p, "the tablespace that it names is not there")
		}
	}
	return nil
}
