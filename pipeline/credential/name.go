package credential

import (
	"path"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
)

// FileKind tells from the name of a file alone that it holds credentials,
// whatever its content: id_rsa, *.p12, .htpasswd, krb5.keytab. ok is false for
// all others; a name such as server.key says nothing before its content does.
func FileKind(name string) (kind Kind, ok bool) {
	base := path.Base(name)
	switch base {
	case "id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "id_ecdsa_sk", "id_ed25519_sk",
		"ssh_host_rsa_key", "ssh_host_dsa_key", "ssh_host_ecdsa_key", "ssh_host_ed25519_key", "secring.gpg":
		return PrivateKey, true
	case ".pgpass", ".netrc", "_netrc", ".git-credentials", ".htpasswd", ".mylogin.cnf", "shadow", "shadow-", "gshadow", "gshadow-", ".vault_pass", "chap-secrets", "pap-secrets":
		return KeyFile, true
	}
	switch strings.ToLower(path.Ext(base)) {
	case ".p12", ".pfx", ".jks", ".keystore", ".keytab", ".ppk", ".kdbx", ".jceks":
		return KeyFile, true
	}
	return "", false
}

// byName reads lines of files whose format has no keys.
func (s *scanner) byName(line string) []Found {
	switch s.name {
	case ".pgpass", "pgpass":
		f := strings.SplitN(line, ":", 5)
		if len(f) == 5 && !strings.HasPrefix(line, "#") && isCredential(strong, f[4]) {
			return []Found{{Kind: Password, Key: f[3], Value: Value(f[4]), Confidence: claim.High}}
		}
	case "chap-secrets", "pap-secrets":
		f := strings.Fields(line)
		if len(f) >= 3 && !strings.HasPrefix(line, "#") && isCredential(strong, f[2]) {
			return []Found{{Kind: Password, Key: f[0], Value: Value(unquote(f[2])), Confidence: claim.High}}
		}
	}
	return nil
}
