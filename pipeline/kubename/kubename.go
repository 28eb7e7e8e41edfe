// Package kubename makes names that Kubernetes accepts out of names of a host:
// labels (RFC 1123), keys of ConfigMaps and Secrets, names of ports. Equal
// input gives equal names, whatever the order in which they are asked for.
package kubename

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strconv"
	"strings"
)

// MaxLabel is the length of a DNS label (RFC 1123).
const MaxLabel = 63

// MaxKey is the length of a key in a ConfigMap or Secret.
const MaxKey = 253

// Label makes a DNS label of at most max bytes of s: lower-case letters,
// digits and inner dashes. What is too long ends in a part of its digest. It is
// never empty.
func Label(s string, max int) string {
	var b strings.Builder
	dash := false
	for _, c := range []byte(strings.ToLower(s)) {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteByte(c)
			continue
		}
		dash = true
	}
	label := b.String()
	switch {
	case label == "":
		return "x" + digest(s)
	case len(label) > max:
		return strings.TrimRight(label[:max-7], "-") + "-" + digest(s)
	}
	return label
}

// Scoped is a label for the name within a scope, where all scopes share one
// space of names: both are in it, and other pairs have other labels.
func Scoped(scope, name string, max int) string {
	return Label(scope+"-"+name, max-7) + "-" + digest(scope+"/"+name)
}

// Key makes a key of a ConfigMap or Secret out of a path: its slashes become
// underscores, and so does every byte that a key cannot hold. It is never empty
// and never starts with two dots, which Kubernetes keeps for itself.
func Key(p string) string {
	p = strings.Trim(path.Clean("/"+p), "/")
	b := []byte(p)
	for i, c := range b {
		if !keyByte(c) {
			b[i] = '_'
		}
	}
	key := string(b)
	if strings.HasPrefix(key, ".") {
		key = "_" + key
	}
	switch {
	case key == "":
		return "_"
	case len(key) > MaxKey:
		return key[:MaxKey-7] + "_" + digest(p)
	}
	return key
}

func keyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
}

// ValidKey reports whether Kubernetes takes s as a key.
func ValidKey(s string) bool {
	if s == "" || len(s) > MaxKey || s == "." || strings.HasPrefix(s, "..") {
		return false
	}
	for _, c := range []byte(s) {
		if !keyByte(c) {
			return false
		}
	}
	return true
}

// digest is short, and enough to tell the names of one host apart.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:3])
}

// Names hands out names that are unique among themselves. The zero Names is
// ready to use. It is for one goroutine.
type Names struct {
	taken map[string]string
}

// Unique returns name, or a variant of it of at most max bytes when something
// else has it. what identifies who asks: asking again gives the same name.
func (n *Names) Unique(name, what string, max int) string {
	if n.taken == nil {
		n.taken = map[string]string{}
	}
	try := name
	for i := 0; ; i++ {
		owner, ok := n.taken[try]
		if !ok {
			n.taken[try] = what
			return try
		}
		if owner == what {
			return try
		}
		salt := what
		if i > 0 {
			salt = what + "#" + strconv.Itoa(i)
		}
		try = strings.TrimRight(name[:min(len(name), max-7)], "-._") + "-" + digest(salt)
	}
}

// services are names of well-known ports (RFC 6335) that services of a host
// usually have.
var services = map[int]string{
	21: "ftp", 22: "ssh", 25: "smtp", 53: "domain", 80: "http", 110: "pop3", 119: "nntp", 143: "imap", 389: "ldap",
	443: "https", 465: "submissions", 587: "submission", 636: "ldaps", 873: "rsync", 993: "imaps", 995: "pop3s",
	1883: "mqtt", 3306: "mysql", 5222: "xmpp-client", 5432: "postgresql", 5672: "amqp", 6379: "redis", 8080: "http-alt",
	8443: "https-alt", 8883: "secure-mqtt", 9000: "cslistener", 11211: "memcache", 27017: "mongodb",
}

// Port names a port: the well-known name, else PROTOCOL-NUMBER. It is an
// IANA_SVC_NAME of at most 15 characters.
func Port(number int, protocol string) string {
	protocol = strings.ToLower(protocol)
	if name, ok := services[number]; ok {
		if protocol != "tcp" {
			return name[:min(len(name), 11)] + "-" + protocol
		}
		return name
	}
	return protocol + "-" + strconv.Itoa(number)
}
