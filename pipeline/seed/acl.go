package seed

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// aclText turns the value of a system.posix_acl_* attribute into the text that
// tar programs keep in SCHILY.acl.access and SCHILY.acl.default, with numeric
// identities (linux/posix_acl_xattr.h, acl(5) "short text form"). ok is false
// for a value that is no such list.
func aclText(value []byte) (text string, ok bool) {
	const version, none = 2, 0xffffffff
	if len(value) < 4 || (len(value)-4)%8 != 0 || binary.LittleEndian.Uint32(value) != version {
		return "", false
	}
	tags := map[uint16]string{0x01: "user", 0x02: "user", 0x04: "group", 0x08: "group", 0x10: "mask", 0x20: "other"}
	var out []string
	for e := value[4:]; len(e) > 0; e = e[8:] {
		tag, known := tags[binary.LittleEndian.Uint16(e)]
		perm := binary.LittleEndian.Uint16(e[2:])
		if !known || perm > 7 {
			return "", false
		}
		who := ""
		if id := binary.LittleEndian.Uint32(e[4:]); id != none {
			who = fmt.Sprint(id)
		}
		letters := []byte("---")
		for bit, c := range "rwx" {
			if perm&(4>>bit) != 0 {
				letters[bit] = byte(c)
			}
		}
		out = append(out, tag+":"+who+":"+string(letters))
	}
	return strings.Join(out, ","), true
}
