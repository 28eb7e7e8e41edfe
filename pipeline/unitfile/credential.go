package unitfile

import (
	"strings"

	"github.com/statelift/statelift/pipeline/shellwords"
)

// Credentials is below what the manager keeps the credentials of each unit, in a
// directory of the unit's name: $CREDENTIALS_DIRECTORY and %d (systemd.exec(5),
// "CREDENTIALS").
const Credentials = "/run/credentials"

// CredentialStores are the directories in which LoadCredential= looks for a name
// that is no absolute path, in their order.
func CredentialStores() []string {
	return []string{"/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"}
}

// ParseCredential splits a value of LoadCredential= or SetCredential= into the
// credential's name and the rest: a path, by default the name itself, or the
// escaped data.
func ParseCredential(value string) (id, rest string, ok bool) {
	id, rest, ok = strings.Cut(value, ":")
	valid := id != "" && id != "." && id != ".." && !strings.ContainsAny(id, "/\x00") && len(id) <= 255
	return id, rest, ok && valid
}

// SetCredential is the data of the last SetCredential= of that name, as it is
// written there, in a unit file or drop-in. An escape that is none makes the
// manager ignore the line.
func SetCredential(data []byte, id string) (value string, ok bool) {
	list, _ := Parse(data)
	for _, a := range list {
		if a.Section != "Service" || a.Key != "SetCredential" {
			continue
		}
		if a.Value == "" { // forgets what came before
			value, ok = "", false
			continue
		}
		name, rest, valid := ParseCredential(a.Value)
		if !valid || name != id {
			continue
		}
		if text, err := shellwords.Unescape(rest); err == nil {
			value, ok = text, true
		}
	}
	return value, ok
}
