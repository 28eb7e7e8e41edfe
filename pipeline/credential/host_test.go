package credential_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline/credential"
)

// TestPlantedSecrets looks for every secret that the builder of the WordPress
// host planted in a text file, and for nothing in what it left harmless.
func TestPlantedSecrets(t *testing.T) {
	dir := hosts.WordPress(t)
	list, err := os.ReadFile(filepath.Join(dir, "secrets.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for line := range strings.Lines(string(list)) {
		f := strings.SplitN(strings.TrimRight(line, "\n"), "\t", 3)
		if len(f) != 3 || strings.HasPrefix(line, "#") {
			continue
		}
		name, place, secret := f[0], f[1], f[2]
		data, err := os.ReadFile(filepath.Join(dir, "root", place))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 {
			continue // a database
		}
		looked++
		found := false
		for x, err := range credential.ScanFile(place, bytes.NewReader(data), 1<<20) {
			if err != nil {
				t.Fatal(err)
			}
			v := string(x.Value)
			found = found || x.Kind == credential.PrivateKey || v != "" && (strings.Contains(secret, v) || strings.Contains(v, secret))
		}
		if !found {
			t.Errorf("%s in %s is not found", name, place)
		}
	}
	if looked < 15 {
		t.Errorf("only %d secrets were looked for", looked)
	}
	for _, harmless := range []string{
		"/etc/apache2/apache2.conf", "/etc/apache2/sites-available/blog.example.org.conf", "/etc/mysql/mariadb.conf.d/50-server.cnf", "/etc/ssh/sshd_config",
		"/etc/login.defs", "/etc/nsswitch.conf", "/etc/pam.d/common-password", "/etc/services", "/etc/php/8.2/apache2/php.ini", "/etc/default/tallyd",
		"/etc/sudoers", "/etc/init.d/gatelog", "/var/lib/wordpress/wp-content/plugins/gallery-lite/gallery-lite.php", "/usr/share/wordpress/wp-login.php",
	} {
		data, err := os.ReadFile(filepath.Join(dir, "root", harmless))
		if err != nil {
			t.Fatal(err)
		}
		for x, err := range credential.ScanFile(harmless, bytes.NewReader(data), 1<<20) {
			if err != nil {
				t.Fatal(err)
			}
			t.Errorf("%s:%d is no %s", harmless, x.Line, x.Kind)
		}
	}
}
