// Package mountcifs reads the files that mount.cifs(8) takes credentials from.
package mountcifs

import "strings"

// The options of a credentials file, by the names that CSI drivers for SMB give
// their keys.
const (
	Username = "username"
	Password = "password"
	Domain   = "domain"
)

// maxLine is the longest line that mount.cifs reads whole.
const maxLine = 4096

// Credentials reads a credentials file: lines of name=value, blanks before the
// name do not count and those of the value do; of the name only its beginning
// (user, pass, dom) matters, in either case. Whatever else there is, is ignored.
func Credentials(data []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		name, value, ok := strings.Cut(line, "=")
		if !ok || len(line) > maxLine {
			continue
		}
		name = strings.ToLower(name)
		for prefix, option := range map[string]string{"user": Username, "pass": Password, "dom": Domain} {
			if strings.HasPrefix(name, prefix) {
				out[option] = value
			}
		}
	}
	return out
}
