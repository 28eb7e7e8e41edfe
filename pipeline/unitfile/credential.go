package unitfile

import (
	"strings"

	"github.com/statelift/statelift/pipeline/shellwords"
)

// Credentials is below what the manager keeps the credentials of each unit, in a
// directory of the unit's name: $CREDENTIALS_DIRECTORY and %d (systemd.exec(5),
// "CREDENTIALS").
const Credentials = "/run/credentials"

// LoadCredential reads a value of LoadCredential= (or, when encrypted, of
// LoadCredentialEncrypted=): the credential's name, and the files that it may be
// in, the first that is there. A path that is not absolute, by default the name
// itself, is looked for in the credential stores.
func LoadCredential(value string, encrypted bool) (id string, files []string) {
	id, path, ok := strings.Cut(value, ":")
	if !ok || path == "" {
		path = id
	}
	if strings.HasPrefix(path, "/") {
		return id, []string{path}
	}
	for _, dir := range []string{"/etc/credstore", "/run/credstore", "/usr/local/lib/credstore", "/usr/lib/credstore"} {
		if encrypted {
			files = append(files, dir+".encrypted/"+path)
		}
		files = append(files, dir+"/"+path)
	}
	return id, files
}

// ParseCredential splits a value of SetCredential= into the credential's name and
// the escaped data.
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
