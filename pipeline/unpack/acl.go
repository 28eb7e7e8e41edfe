package unpack

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// The tags of an ACL entry in the attributes system.posix_acl_access and
// _default (linux/posix_acl.h).
const (
	aclUserObj  = 0x01
	aclUser     = 0x02
	aclGroupObj = 0x04
	aclGroup    = 0x08
	aclMask     = 0x10
	aclOther    = 0x20
	aclVersion  = 2
	noID        = math.MaxUint32
)

type aclEntry struct {
	tag, perm uint16
	id        uint32
}

// names finds the numbers of users and groups.
type names interface {
	user(name string) (uint32, bool)
	group(name string) (uint32, bool)
}

// encodeACL turns the text of acl(5), entries apart by commas or newlines, into
// the attribute's value. star adds a fourth field, the number.
func encodeACL(text string, who names) ([]byte, error) {
	var list []aclEntry
	for part := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
		part, _, _ = strings.Cut(part, "#")
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e, err := parseACL(strings.TrimPrefix(part, "default:"), who)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	if len(list) == 0 {
		return nil, errors.New("an empty ACL")
	}
	slices.SortFunc(list, func(a, b aclEntry) int { return cmp.Or(cmp.Compare(a.tag, b.tag), cmp.Compare(a.id, b.id)) })
	out := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, e := range list {
		out = binary.LittleEndian.AppendUint16(out, e.tag)
		out = binary.LittleEndian.AppendUint16(out, e.perm)
		out = binary.LittleEndian.AppendUint32(out, e.id)
	}
	return out, nil
}

// parseACL reads tag:name:permissions, or tag:permissions for mask and other.
func parseACL(s string, who names) (aclEntry, error) {
	wrong := fmt.Errorf("not an entry of an ACL: %s", hostpath.Quote(s))
	f := strings.Split(s, ":")
	if len(f) < 2 {
		return aclEntry{}, wrong
	}
	tag := f[0]
	if len(f) == 2 {
		f = []string{tag, "", f[1]}
	}
	perm, ok := permissions(f[2])
	if !ok || len(f) > 4 {
		return aclEntry{}, wrong
	}
	e := aclEntry{perm: perm, id: noID}
	find := who.user
	switch tag {
	case "user", "u":
		e.tag = aclUserObj
		if f[1] != "" {
			e.tag = aclUser
		}
	case "group", "g":
		e.tag, find = aclGroupObj, who.group
		if f[1] != "" {
			e.tag = aclGroup
		}
	case "mask", "m":
		e.tag = aclMask
	case "other", "o":
		e.tag = aclOther
	default:
		return aclEntry{}, wrong
	}
	if e.tag != aclUser && e.tag != aclGroup {
		if f[1] != "" {
			return aclEntry{}, wrong
		}
		return e, nil
	}
	number := f[1]
	if len(f) == 4 {
		number = f[3]
	}
	if n, err := strconv.ParseUint(number, 10, 32); err == nil && n != noID {
		e.id = uint32(n)
		return e, nil
	}
	if e.id, ok = find(f[1]); !ok {
		return aclEntry{}, fmt.Errorf("the ACL names %s %s, which the archive's own /etc/passwd and /etc/group do not have", tag, hostpath.Quote(f[1]))
	}
	return e, nil
}

func permissions(s string) (uint16, bool) {
	var perm uint16
	for _, c := range s {
		switch c {
		case 'r':
			perm |= 4
		case 'w':
			perm |= 2
		case 'x':
			perm |= 1
		case '-':
		default:
			return 0, false
		}
	}
	return perm, s != ""
}
