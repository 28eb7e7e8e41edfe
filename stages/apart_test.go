package stages_test

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/statelift/statelift/fixtures/hosts"
	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
	"github.com/statelift/statelift/stages/manifests"
)

const databaseApart = "workloads:\n- name: database\n  units: [mariadb.service]\n  split: true\n"

// apart is the WordPress host with its database in a Pod of its own.
type apart struct {
	ws    workspace.Workspace
	root  string
	plan  handoff.Plan
	files map[string]string // what ConfigMaps and Secrets hold, by the path where it is mounted
}

func liftApart(t *testing.T, decisions string) apart {
	t.Helper()
	a := apart{root: filepath.Join(hosts.WordPress(t), "root"), files: map[string]string{}}
	var err error
	if a.ws, err = lifted(t, a.root, decisions, "report", ""); err != nil {
		t.Fatal(err)
	}
	src, err := pipeline.Read(a.ws, handoff.SourceKey)
	if err != nil {
		t.Fatal(err)
	}
	if a.plan, err = pipeline.Read(a.ws, handoff.PlanKey); err != nil {
		t.Fatal(err)
	}
	env := &pipeline.Env{Log: slog.New(slog.DiscardHandler), Workspace: a.ws}
	if _, err := writeManifests(t, env, src, a.plan); err != nil {
		t.Fatal(err)
	}
	for _, set := range a.plan.Configs {
		var cm corev1.ConfigMap
		a.read(t, "configmap-"+a.plan.ObjectName(set.Name), &cm)
		for _, f := range set.Files {
			if f.Variable == "" {
				a.files[string(f.Path)] = cm.Data[f.Key]
			}
		}
	}
	for _, set := range a.plan.Secrets {
		var s corev1.Secret
		a.read(t, "secret-"+a.plan.ObjectName(set.Name), &s)
		for _, f := range set.Files {
			if f.Variable == "" {
				a.files[string(f.Path)] = string(s.Data[f.Key])
			}
		}
	}
	return a
}

func (a apart) read(t *testing.T, name string, v any) {
	t.Helper()
	data, err := os.ReadFile(a.ws.Path(workspace.Manifests, name+".yaml"))
	if err == nil {
		err = yaml.UnmarshalStrict(data, v)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// The user's choice to split database and web: what must be rewritten is found
// with path and line, shown, and done.
func TestDatabaseApart(t *testing.T) {
	a := liftApart(t, databaseApart)
	kinds := map[string]handoff.WorkloadKind{}
	for _, w := range a.plan.Workloads {
		kinds[w.Name] = w.Kind
	}
	if kinds["database"] != handoff.StatefulSet || kinds["apache2"] == "" {
		t.Errorf("workloads: %v", kinds)
	}
	var got []string
	for _, r := range a.plan.Rewrites {
		got = append(got, fmt.Sprintf("%s %s:%d %s %q→%q in %s", strings.Join(r.For, "+"), r.Path, r.Line, r.What, r.Old, r.New, r.In))
		if r.Why == "" {
			t.Errorf("no reason: %+v", r)
		}
	}
	want := []string{
		`apache2/apache2+wp-cron/wp-cron /etc/wordpress/config-blog.example.org.php:6 DB_HOST "localhost"→"atlas-database" in Secret atlas-shared-secret`,
		`database/mariadb :0 account wordpress "'wordpress'@'localhost'"→"'wordpress'@'%'" in ConfigMap atlas-database-config`,
		`database/mariadb :0 command ""→"--init-file=/etc/statelift/accounts.sql" in `,
		`database/mariadb /etc/mysql/mariadb.conf.d/50-server.cnf:27 mysqld.bind_address "127.0.0.1"→"*" in ConfigMap atlas-database-config`,
		`site-dump/site-dump /etc/mysql/dump.cnf:4 host "localhost"→"atlas-database" in Secret atlas-site-dump-secret`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rewrites (-want +got):\n%s", diff)
	}
	t.Run("service", func(t *testing.T) {
		var svc corev1.Service
		a.read(t, "service-atlas-database", &svc)
		if len(svc.Spec.Ports) != 1 || svc.Spec.Ports[0].Port != 3306 {
			t.Errorf("ports: %+v", svc.Spec.Ports)
		}
		var policy networkingv1.NetworkPolicy
		a.read(t, "networkpolicy-atlas-database", &policy)
		var clients []string
		for _, rule := range policy.Spec.Ingress {
			for _, from := range rule.From {
				clients = append(clients, from.PodSelector.MatchLabels["app.kubernetes.io/name"])
			}
		}
		if len(policy.Spec.Ingress) != 1 || !slices.Contains(clients, "apache2") || !slices.Contains(clients, "site-dump") || len(clients) != 3 {
			t.Errorf("the port of the database is open to %v by %d rules", clients, len(policy.Spec.Ingress))
		}
	})
	t.Run("no socket is shared", func(t *testing.T) {
		for _, v := range a.plan.Volumes {
			if strings.HasPrefix(v.Name, "socket-") {
				t.Errorf("volume %s: %s", v.Name, v.Reason)
			}
		}
		for _, w := range a.plan.Workloads {
			if w.Near == "database" {
				t.Errorf("%s must run on the node of the database", w.Name)
			}
		}
	})
	t.Run("nothing else is changed", func(t *testing.T) {
		for path, data := range a.files {
			before, err := os.ReadFile(filepath.Join(a.root, path))
			if os.IsNotExist(err) || data == "" {
				continue
			}
			diff := 0
			was, is := strings.Split(string(before), "\n"), strings.Split(data, "\n")
			for i := range min(len(was), len(is)) {
				if was[i] != is[i] {
					diff++
				}
			}
			rewritten := 0
			for _, r := range a.plan.Rewrites {
				if string(r.Path) == path {
					rewritten++
				}
			}
			if len(was) != len(is) || diff != rewritten {
				t.Errorf("%s: %d lines differ, %d are said to", path, diff, rewritten)
			}
		}
	})
	t.Run("report", func(t *testing.T) {
		for _, name := range []string{"plan.yaml", "report.md", "report.html", "report.json"} {
			data, err := os.ReadFile(a.ws.Path(name))
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"config-blog.example.org.php", "atlas-database", "wordpress&#39;@&#39;%"} {
				plain := strings.NewReplacer("&#39;", "'", `\_`, "_").Replace(string(data))
				if !strings.Contains(plain, strings.ReplaceAll(word, "&#39;", "'")) && !strings.Contains(plain, strings.ReplaceAll(word, "&#39;", "''")) {
					t.Errorf("%s does not tell %s", name, word)
				}
			}
		}
	})
	a.checkWithSoftware(t)
}

// checkWithSoftware lets the host's own PHP and MariaDB tell what they make of
// the rewritten files, in a copy of the host with a network of its own.
func (a apart) checkWithSoftware(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"/etc/wordpress/config-blog.example.org.php", "/etc/mysql/mariadb.conf.d/50-server.cnf", "/etc/mysql/dump.cnf", "/etc/statelift/accounts.sql"} {
		name := filepath.Join(dir, "files", path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(a.files[path]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var command []string
	for _, w := range a.plan.Workloads {
		for _, c := range w.Containers {
			if c.Name == "mariadb" {
				command = c.Command
			}
		}
	}
	for _, d := range []string{"upper", "work", "host"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.CommandContext(t.Context(), "unshare", append([]string{"-m", "-n", "-p", "-f", "--kill-child", "--mount-proc", "bash", "-c", askSoftware, "ask", a.root, dir}, command...)...)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok {
			got[key] = value
		}
	}
	for key, want := range map[string]string{
		"before":       "Host '10.99.0.1' is not allowed", // the control
		"lint":         "No syntax errors detected in /etc/wordpress/config-blog.example.org.php",
		"bind-address": "*",
		"login":        "wordpress@% from wordpress@10.99.0.1, 200 posts",
		"php":          "atlas-database, 200 posts",
		"dump":         "Dump completed",
		"others":       "ERROR 1142", // the accounts see what they saw, and nothing else
		"accounts":     "%,localhost",
		"again":        "%,localhost",
		"kept":         "changed",
		"local":        "200",
	} {
		if !strings.HasPrefix(got[key], want) {
			t.Errorf("%s: %q, want %q", key, got[key], want)
		}
	}
	if t.Failed() {
		t.Logf("%s", out)
	}
}

const askSoftware = `
set -eu
lower=$1 dir=$2; shift 2
host=$dir/host
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work" "$host"
mount -t proc proc "$host/proc"
mount --rbind /dev "$host/dev"
ip link set lo up
ip addr add 10.99.0.1/32 dev lo
echo '10.99.0.1 atlas-database' >>"$host/etc/hosts"
install -d -o "$(stat -c %u "$lower/var/lib/mysql")" "$host/run/mysqld"
on() { chroot "$host" "$@"; }
start() {
	chroot "$host" "$@" >>"$dir/mariadb.log" 2>&1 & pid=$!
	for i in $(seq 300); do on mariadb-admin ping >/dev/null 2>&1 && return; kill -0 $pid || break; sleep 0.1; done
	cat "$dir/mariadb.log" "$host/var/log/mysql/error.log"; exit 1
}
stop() { kill $pid; wait $pid || true; }
sql() { on mariadb -N -e "$@"; }
hosts() { sql "SELECT GROUP_CONCAT(Host ORDER BY Host) FROM mysql.global_priv WHERE User = 'wordpress'"; }
posts="SELECT COUNT(*) FROM wp_posts WHERE post_type = 'post' AND post_status = 'publish'"

# What the host has does not let the client in, also when the server listens for it.
start /usr/sbin/mariadbd --user=mysql '--bind-address=*'
echo "before: $(on mariadb --defaults-file=/etc/mysql/dump.cnf -h 10.99.0.1 wordpress -e 'SELECT 1' 2>&1 | sed -n "s/.*\(Host '10.99.0.1' is not allowed\).*/\1/p")"
stop

cp -rT "$dir/files" "$host"
echo "lint: $(on php -l /etc/wordpress/config-blog.example.org.php | tail -n 1)"
echo "bind-address: $(on mariadbd --help --verbose 2>/dev/null | sed -n 's/^bind-address *//p')"
start "$@"
echo "accounts: $(hosts)"
# dump.cnf names the server and holds the old password.
echo "login: $(on mariadb --defaults-file=/etc/mysql/dump.cnf -N wordpress -e "SELECT CONCAT(CURRENT_USER(), ' from ', USER(), ', ', ($posts), ' posts')" 2>&1)"
echo "php: $(on php -r 'require "/etc/wordpress/config-blog.example.org.php"; $c = mysqli_connect(DB_HOST, DB_USER, DB_PASSWORD, DB_NAME); echo DB_HOST, ", ", $c->query($argv[1])->fetch_row()[0], " posts";' "$posts" 2>&1)"
echo "dump: $(on mariadb-dump --defaults-extra-file=/etc/mysql/dump.cnf --single-transaction --no-tablespaces wordpress 2>&1 | tail -n 1 | sed 's/^-- //')"
echo "others: $(on mariadb --defaults-file=/etc/mysql/dump.cnf wordpress -e 'SELECT * FROM mysql.global_priv' 2>&1 | grep ERROR)"
# Later changes of the copy are the administrator's, and the old way in is as it was.
sql "ALTER USER 'wordpress'@'%' IDENTIFIED BY 'new'"
stop
start "$@"
echo "again: $(hosts)"
on mariadb -h 10.99.0.1 -u wordpress -pnew wordpress -e 'SELECT 1' >/dev/null && echo "kept: changed"
echo "local: $(on mariadb --defaults-file=/etc/mysql/dump.cnf -h localhost -N wordpress -e "$posts" 2>&1)"
stop
`

func writeManifests(t *testing.T, env *pipeline.Env, src handoff.Source, plan handoff.Plan) (handoff.Manifests, error) {
	return manifests.New(manifests.Options{}).Run(t.Context(), env, src, plan, handoff.Images{}, handoff.Seeds{}, handoff.Upload{})
}
