package settings_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/stages/scan/settings"
)

// inHost runs a program of the host in it, read-only.
func inHost(t *testing.T, root string, args ...string) string {
	t.Helper()
	const script = `r=$1; shift; mount --bind "$r" "$r" && mount -o remount,ro,bind "$r" && mount -t tmpfs tmpfs "$r/tmp" && exec chroot "$r" "$@"`
	out, err := exec.Command("unshare", append([]string{"-m", "sh", "-c", script, "inhost", root}, args...)...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return string(out)
}

// TestApacheAgainstItself compares with the configuration as Apache has it in
// memory: every directive with its file and line.
func TestApacheAgainstItself(t *testing.T) {
	root := filepath.Join(hosts.WordPress(t), "root")
	dump := inHost(t, root, "sh", "-c", `. /etc/apache2/envvars; exec apache2 -C "LoadModule info_module /usr/lib/apache2/modules/mod_info.so" -t -D DUMP_CONFIG`)
	want := map[string]bool{}
	file, line := "", ""
	for l := range strings.Lines(dump) {
		l = strings.TrimSpace(l)
		switch {
		case strings.HasPrefix(l, "# In file: "):
			p, err := filepath.EvalSymlinks(filepath.Join(root, strings.TrimPrefix(l, "# In file: ")))
			if err != nil {
				t.Fatal(err)
			}
			file = strings.TrimPrefix(p, root)
		case strings.HasPrefix(l, "#"):
			line = strings.Trim(l, "# :")
		case l == "" || strings.HasPrefix(l, "</"):
		default:
			name, _, _ := strings.Cut(strings.TrimPrefix(l, "<"), " ")
			want[fmt.Sprintf("%s:%s %s", file, line, name)] = true
		}
	}
	if len(want) < 60 {
		t.Fatalf("Apache told only %d directives", len(want))
	}
	list, problems := collected(t, root, settings.Source{Profile: "apache2", Format: "apache", Files: []string{"/etc/apache2/apache2.conf"}})
	if len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
	got := map[string]bool{}
	for _, s := range list {
		text, err := os.ReadFile(filepath.Join(root, string(s.Path)))
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimLeft(strings.Split(string(text), "\n")[s.Line-1], " \t<")
		name = strings.FieldsFunc(name, func(r rune) bool { return r == ' ' || r == '\t' || r == '>' })[0]
		got[fmt.Sprintf("%s:%d %s", s.Path, s.Line, name)] = true
	}
	for w := range want {
		if !got[w] {
			t.Errorf("missing: %s", w)
		}
	}
	for g := range got {
		name := g[strings.LastIndexByte(g, ' ')+1:]
		// What is carried out while it is read is not in the dump.
		if !want[g] && !slices.Contains([]string{"LoadModule", "Listen", "Define", "SetEnvIf", "LogFormat", "Mutex", "DefaultRuntimeDir", "Protocols", "SSLRandomSeed"}, name) {
			t.Errorf("not in Apache's own: %s", g)
		}
	}
}

// TestMySQLAgainstItself compares with my_print_defaults, the reader of option
// files itself.
func TestMySQLAgainstItself(t *testing.T) {
	root := filepath.Join(hosts.WordPress(t), "root")
	list, problems := collected(t, root, settings.Source{Profile: "mariadb", Format: "mysql", Files: []string{"/etc/mysql/my.cnf"}})
	if len(problems) > 0 {
		t.Errorf("problems %v", problems)
	}
	groups := map[string][]string{}
	for _, s := range list {
		group, option, _ := strings.Cut(s.Key, ".")
		value := ""
		if s.Value != "" {
			value = "=" + s.Value
		}
		groups[group] = append(groups[group], option+value)
	}
	if len(groups) < 3 {
		t.Fatalf("groups %v", groups)
	}
	for group, got := range groups {
		var want []string
		for l := range strings.Lines(inHost(t, root, "my_print_defaults", "--defaults-file=/etc/mysql/my.cnf", group)) {
			name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(l), "--"), "=")
			name = strings.ReplaceAll(name, "-", "_")
			if ok {
				name += "=" + value
			}
			want = append(want, name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("[%s]: -my_print_defaults +got\n%s", group, diff)
		}
	}
}

// TestPHPAgainstItself compares with what PHP has after it ran the file.
func TestPHPAgainstItself(t *testing.T) {
	root := filepath.Join(hosts.WordPress(t), "root")
	const file = "/etc/wordpress/config-blog.example.org.php"
	out := inHost(t, root, "php", "-r", `require "`+file+`"; foreach (get_defined_constants(true)["user"] as $k => $v) echo "$k=", is_bool($v) ? ($v ? "true" : "false") : $v, "\0";`)
	want := map[string]string{}
	for pair := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		k, v, _ := strings.Cut(pair, "=")
		want[k] = v
	}
	list, _ := collected(t, root, settings.Source{Profile: "wordpress", Format: "php", Files: []string{file}})
	got := map[string]string{}
	for _, s := range list {
		if s.Secret {
			if s.Value != facts.Redacted || want[s.Key] == "" {
				t.Errorf("%+v", s)
			}
			want[s.Key] = s.Value
		}
		got[s.Key] = s.Value
	}
	for k := range got {
		if _, ok := want[k]; !ok { // variables such as $table_prefix
			delete(got, k)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-php +got\n%s", diff)
	}
	for _, k := range []string{"DB_PASSWORD", "AUTH_KEY", "NONCE_SALT"} {
		if got[k] != facts.Redacted {
			t.Errorf("%s is not redacted", k)
		}
	}
}
