// Package credential recognises credentials in configuration, code and command
// lines: by the key that a value is assigned to, by the shape of the value, and
// by the name of the file.
//
// It errs on the side of finding: a plain word such as changeme under a key such
// as password is a credential. It does not take references (${VAR}, $(cmd)),
// paths, switches (yes, no) and names of settings about passwords
// (PasswordAuthentication, PASS_MAX_DAYS) for one.
package credential

import (
	"fmt"
	"io"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
)

// Kind says what sort of credential was found.
type Kind string

// The kinds.
const (
	Password   Kind = "password"           // a value under a key such as password, secret, api_key
	Commented  Kind = "commented password" // the same in a comment, where it looks real
	Token      Kind = "token"              // the known shape of a provider's token, whatever the key
	PrivateKey Kind = "private key"        // PEM, OpenSSH, PuTTY or PGP
	URL        Kind = "password in a URL"  // scheme://user:password@host
	Hash       Kind = "password hash"      // crypt(5), htpasswd, LDAP
	Argument   Kind = "password argument"  // --password=x, mysql -px, IDENTIFIED BY 'x'
	KeyFile    Kind = "key file"           // by the file's name alone
)

// Value is a credential. Printing, logging and marshalling show
// [facts.Redacted]; only an explicit string(v) gives the bytes.
type Value string

// Format implements [fmt.Formatter] for every verb.
func (v Value) Format(s fmt.State, _ rune) { io.WriteString(s, facts.Redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (v Value) MarshalText() ([]byte, error) { return []byte(facts.Redacted), nil }

// Found is one occurrence.
type Found struct {
	Line       int // counts from 1; 0 when the whole file is meant
	Kind       Kind
	Key        string // what the value was assigned to; "" when only its shape tells
	Value      Value  // "" for a private key
	Confidence claim.Confidence
}

// Redact gives the value as a fact may hold it: value itself, value with the
// password of a URL replaced, or [facts.Redacted] when key or value say that it
// is a credential. secret tells whether anything was replaced.
func Redact(key, value string) (redacted string, secret bool) {
	if s := keyStrength(key); s != none && isCredential(s, value) {
		return facts.Redacted, true
	}
	redacted = RedactCommand(value)
	return redacted, redacted != value
}
