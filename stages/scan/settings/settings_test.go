package settings_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/tree"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
	"github.com/statelift/statelift/stages/scan/settings"
)

// collected walks the root as the scan does, and collects.
func collected(t testing.TB, root string, sources ...settings.Source) (list []facts.Setting, problems []facts.Problem) {
	t.Helper()
	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c := settings.New(sources)
	var paths []hostpath.Path
	err = filepath.WalkDir(filepath.Join(root, "etc"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		typ := tree.Regular
		switch {
		case d.IsDir():
			typ = tree.Directory
		case d.Type()&fs.ModeSymlink != 0:
			typ = tree.Symlink
		}
		if hp := hostpath.Clean(strings.TrimPrefix(p, strings.TrimSuffix(root, "/"))); c.Wants(hp, typ) {
			paths = append(paths, hp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(paths, hostpath.Compare)
	err = c.Collect(context.Background(), r, paths, func(f collect.Found) error {
		switch d := f.Data.(type) {
		case facts.Setting:
			if f.Kind != facts.KindSetting || f.Name != d.Key || f.Source != d.Source {
				t.Errorf("envelope %+v", f)
			}
			if d.Secret != strings.Contains(d.Value, facts.Redacted) {
				t.Errorf("secret is not told: %+v", d)
			}
			list = append(list, d)
		case facts.Problem:
			problems = append(problems, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, problems
}

func short(list []facts.Setting) []string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%s:%d %s=%s", s.Path.Base(), s.Line, s.Key, s.Value))
	}
	return out
}

func TestFormats(t *testing.T) {
	tests := []struct {
		name, format string
		files        map[string]string
		main         []string
		want         []string
		problems     []string
	}{
		{"ini", "ini", map[string]string{
			"etc/a.ini":         "; c\ntop = 1\n[PHP]\nmemory_limit = 128M ; how much\nerror_log = \"/var/log/x;y.log\" ; c\nempty =\n[Session]\nsession.save_path = \"/var/lib/php\"\n[www]\nlisten = /run/php.sock\nphp_admin_value[upload_tmp_dir] = /srv/tmp\ninclude=/etc/pool.d/*.conf\nextension=a\nextension=b\ndb_password = a;b#c\n[broken\n=x\n",
			"etc/pool.d/b.conf": "[b]\nuser = b\n", "etc/pool.d/a.conf": "[a]\nuser = a\n", "etc/pool.d/c.off": "[c]\nuser = c\n",
		}, []string{"/etc/a.ini"}, []string{
			"a.ini:2 top=1", "a.ini:4 PHP.memory_limit=128M", "a.ini:5 PHP.error_log=/var/log/x;y.log", "a.ini:6 PHP.empty=", "a.ini:8 session.save_path=/var/lib/php",
			"a.ini:10 www.listen=/run/php.sock", "a.ini:11 www.upload_tmp_dir=/srv/tmp", "a.conf:2 a.user=a", "b.conf:2 b.user=b", "a.ini:13 www.extension=a", "a.ini:14 www.extension=b",
			"a.ini:15 www.db_password=[redacted]",
		}, []string{"a.ini:16 section header has no end", "a.ini:17 line is no assignment"}},
		{"mysql", "mysql", map[string]string{
			"etc/mysql/my.cnf":                  "-> /etc/alternatives/my.cnf",
			"etc/alternatives/my.cnf":           "-> /etc/mysql/mariadb.cnf",
			"etc/mysql/mariadb.cnf":             "early=1\n[client-server]\nsocket = /run/mysqld/mysqld.sock # here\n!includedir /etc/mysql/conf.d/\n!includedir /etc/mysql/mariadb.conf.d/\n[client]\npassword = \"a#b\"\n",
			"etc/mysql/mariadb.conf.d/50-b.cnf": "[mysqld]\ndatadir=/var/lib/mysql\nskip-name-resolve\nloose-innodb-log-group-home-dir = '/srv/a\\sb'\n",
			"etc/mysql/mariadb.conf.d/60-c.cnf": "[mysqld]\ndatadir = /srv/mysql\n!include /etc/mysql/extra.cnf\n!include /etc/mysql/mariadb.cnf\nuser = mysql\n",
			"etc/mysql/mariadb.conf.d/README":   "[mysqld]\ndatadir = /no\n",
			"etc/mysql/extra.cnf":               "[mysqld]\nbind-address = 127.0.0.1\n",
		}, []string{"/etc/mysql/my.cnf"}, []string{
			"mariadb.cnf:3 client-server.socket=/run/mysqld/mysqld.sock",
			"50-b.cnf:2 mysqld.datadir=/var/lib/mysql", "50-b.cnf:3 mysqld.skip_name_resolve=", "50-b.cnf:4 mysqld.innodb_log_group_home_dir=/srv/a b",
			"60-c.cnf:2 mysqld.datadir=/srv/mysql", "extra.cnf:2 mysqld.bind_address=127.0.0.1", "60-c.cnf:5 mysqld.user=mysql",
			"mariadb.cnf:7 client.password=[redacted]",
		}, []string{"mariadb.cnf:1 option before the first group"}},
		{"apache", "apache", map[string]string{
			"etc/apache2/envvars":                 "unset HOME\nif [ \"${APACHE_CONFDIR##/etc/apache2-}\" != x ] ; then\n  SUFFIX=\"-x\"\nelse\n  SUFFIX=\nfi\nexport APACHE_LOG_DIR=/var/log/apache2\nexport APACHE_RUN_DIR=/var/run/apache2\n",
			"etc/apache2/apache2.conf":            "DefaultRuntimeDir ${APACHE_RUN_DIR}\nErrorLog ${APACHE_LOG_DIR}/error.log\nIncludeOptional mods-enabled/*.load\nInclude ports.conf\nDefine SITE blog\nIncludeOptional sites-enabled/*.conf\nInclude missing.conf\n<Directory /var/www/>\n\tOptions Indexes \\\n  FollowSymLinks\n</Directory>\n</Directory>\n",
			"etc/apache2/ports.conf":              "Listen 80\n<IfModule ssl_module>\n\tListen 443\n</IfModule>\n<IfModule mod_gnutls.c>\n\tListen 444\n\t<IfModule !x.c>\n\tListen 445\n</IfModule>\n</IfModule>\n<IfModule !mod_gnutls.c>\n\tListen 446\n</IfModule>\n<IfDefine NO>\nListen 447\n</IfDefine>\n",
			"etc/apache2/mods-enabled/ssl.load":   "-> ../mods-available/ssl.load",
			"etc/apache2/mods-available/ssl.load": "# Depends: x\nLoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so\n",
			"etc/apache2/sites-enabled/a.conf":    "-> ../sites-available/a.conf",
			"etc/apache2/sites-enabled/gone.conf": "-> ../sites-available/gone.conf",
			"etc/apache2/sites-available/a.conf":  "<VirtualHost *:443>\n  DocumentRoot \"/srv/${SITE}\"\n  Alias /x /srv/x\n  CustomLog ${APACHE_LOG_DIR}/a.log combined\n  ErrorLog logs/e.log\n  TransferLog \"|/usr/bin/rotatelogs /x 5\"\n  SetEnv DB_PASSWORD hunter2\n  SetEnv MODE live\n  SSLSessionCache \"shmcb:${APACHE_RUN_DIR}/scache(512000)\"\n  php_admin_value session.save_path /srv/sess\n  <Directory /srv/x>\n    AuthUserFile /etc/apache2/htpasswd\n  </Directory>\n  Define UNKNOWN_REF ${NO_SUCH}\n</VirtualHost>\n",
		}, []string{"/etc/apache2/apache2.conf"}, []string{
			"apache2.conf:1 DefaultRuntimeDir=/var/run/apache2", "apache2.conf:2 ErrorLog=/var/log/apache2/error.log",
			"ssl.load:2 LoadModule=ssl_module /usr/lib/apache2/modules/mod_ssl.so",
			"ports.conf:1 Listen=80", "ports.conf:3 Listen=443", "ports.conf:12 Listen=446",
			"apache2.conf:5 Define=SITE blog",
			"a.conf:1 VirtualHost=*:443", "a.conf:2 VirtualHost.DocumentRoot=/srv/blog", "a.conf:3 VirtualHost.Alias=/srv/x", "a.conf:4 VirtualHost.CustomLog=/var/log/apache2/a.log",
			"a.conf:5 VirtualHost.ErrorLog=/etc/apache2/logs/e.log", "a.conf:6 VirtualHost.TransferLog=|/usr/bin/rotatelogs /x 5",
			"a.conf:7 VirtualHost.SetEnv.DB_PASSWORD=[redacted]", "a.conf:8 VirtualHost.SetEnv.MODE=live", "a.conf:9 VirtualHost.SSLSessionCache=/var/run/apache2/scache",
			"a.conf:10 session.save_path=/srv/sess", "a.conf:11 VirtualHost.Directory=/srv/x", "a.conf:12 VirtualHost.Directory.AuthUserFile=/etc/apache2/htpasswd",
			"a.conf:14 VirtualHost.Define=UNKNOWN_REF ${NO_SUCH}",
			"apache2.conf:8 Directory=/var/www/", "apache2.conf:9 Directory.Options=Indexes FollowSymLinks",
		}, []string{"gone.conf:0 resolve: no such file or directory", "apache2.conf:7 included file /etc/apache2/missing.conf is missing", "apache2.conf:12 </Directory> closes nothing"}},
		{"nginx", "nginx", map[string]string{
			"etc/nginx/nginx.conf":        "user www-data;\npid /run/nginx.pid;\nhttp {\n  types { text/html html; }\n  map $a $b { default 1; }\n  access_log /var/log/nginx/access.log combined;\n  include sites-enabled/*;\n  include /etc/nginx/none.conf;\n}\n",
			"etc/nginx/sites-enabled/a":   "-> /etc/nginx/sites-available/a",
			"etc/nginx/sites-available/a": "server {\n  listen 80 default_server;\n  listen [::]:80; # c\n  root \"/srv/a b\";\n  set $token k9J2x8Qa01;\n  location ~ \\.php$ {\n    fastcgi_pass unix:/run/php.sock;\n    fastcgi_param DB_PASS geheim;\n    root /srv/${x}/y;\n  }\n}\n",
		}, []string{"/etc/nginx/nginx.conf"}, []string{
			"nginx.conf:1 user=www-data", "nginx.conf:2 pid=/run/nginx.pid", "nginx.conf:6 access_log=/var/log/nginx/access.log",
			"a:1 server=", "a:2 server.listen=80 default_server", "a:3 server.listen=[::]:80", "a:4 server.root=/srv/a b", "a:5 server.set.token=[redacted]",
			`a:6 server.location=~ \.php$`, "a:7 server.location.fastcgi_pass=unix:/run/php.sock", "a:8 server.location.fastcgi_param.DB_PASS=[redacted]", "a:9 server.location.root=/srv/${x}/y",
		}, []string{"nginx.conf:8 included file /etc/nginx/none.conf is missing"}},
		{"postgresql", "postgresql", map[string]string{
			"etc/postgresql/15/main/postgresql.conf": "data_directory = '/srv/pg'\t\t# here\nport = 5433 # c\nListen_Addresses 'localhost, *'\nlog_directory = 'log'\nsearch = 'it''s'\ninclude_dir = 'conf.d'\ninclude_if_exists = 'no.conf'\ninclude 'no.conf'\nthis is wrong\n",
			"etc/postgresql/15/main/conf.d/b.conf":   "work_mem = 4MB\n", "etc/postgresql/15/main/conf.d/a.conf": "ssl_key_file = '/etc/ssl/private/x.key'\n",
			"srv/pg/postgresql.auto.conf": "port = 5434\nprimary_conninfo = 'host=h password=geheim user=u'\n",
		}, []string{"/etc/postgresql/*/*/postgresql.conf"}, []string{
			"postgresql.conf:1 data_directory=/srv/pg", "postgresql.conf:2 port=5433", "postgresql.conf:3 listen_addresses=localhost, *", "postgresql.conf:4 log_directory=/srv/pg/log", "postgresql.conf:5 search=it's",
			"a.conf:1 ssl_key_file=/etc/ssl/private/x.key", "b.conf:1 work_mem=4MB",
			"postgresql.auto.conf:1 port=5434", "postgresql.auto.conf:2 primary_conninfo=host=h password=[redacted] user=u",
		}, []string{"postgresql.conf:8 included file no.conf is missing", "postgresql.conf:9 line is no setting"}},
		{"redis", "redis", map[string]string{
			"etc/redis/redis.conf": "# c\nbind 127.0.0.1 ::1\nport 6379\ndir \"/var/lib/re dis\"\nrequirepass geheim\nuser bob on >hunter2 ~* +@all\nuser eve on nopass\ninclude /etc/redis/local.conf\nsave \"\"\nbad \"x\n",
			"etc/redis/local.conf": "appendonly yes\ninclude /etc/redis/redis.conf\n",
		}, []string{"/etc/redis/redis.conf"}, []string{
			"redis.conf:2 bind=127.0.0.1 ::1", "redis.conf:3 port=6379", "redis.conf:4 dir=/var/lib/re dis", "redis.conf:5 requirepass=[redacted]", "redis.conf:6 user=bob on >[redacted] ~* +@all", "redis.conf:7 user=eve on nopass",
			"local.conf:1 appendonly=yes", "redis.conf:9 save=",
		}, []string{"redis.conf:10 line has unbalanced quotes"}},
		{"env as systemd", "env", map[string]string{"etc/default/x": "# c\nA=1\nB=\"two words\"\nAPI_TOKEN=k9J2x8Qa01\nC='x'\\\n\n"},
			[]string{"/etc/default/x"}, []string{"x:2 A=1", "x:3 B=two words", "x:4 API_TOKEN=[redacted]", "x:5 C=x"}, nil},
		{"env as a shell", "env", map[string]string{"etc/default/x": "export HOME_DIR=/srv/x\nDATA=\"${HOME_DIR}/data\"\nCMD=$(date)\n"},
			[]string{"/etc/default/x"}, []string{"x:1 HOME_DIR=/srv/x", "x:2 DATA=/srv/x/data", "x:3 CMD=$(date)"}, nil},
		{"php", "php", map[string]string{"etc/wp/config.php": `<?php
/** c: define('NO', 'x'); */
define( 'DB_NAME', 'wp' ); // c
define("DB_PASSWORD", 'it\'s');
define('WP_CONTENT_DIR', '/var/lib/wp' . '/content');
define('BASE', __DIR__); define('UP', dirname(__FILE__) . "/up"); define('SUB', BASE . '/sub');
define('DYN', getenv('X')); define('CAT', 'a' . $b);
const K = 5;
$table_prefix = 'wp_';
$cfg['Servers'][$i]['password'] = "geheim";
$cfg['Servers'][$i]['host'] = 'h';
$mixed = "a $b";
function f() { $x = 'no'; return ['y' => 'no']; }
class J { public $log_path = '/var/log/j'; }
$CONFIG = array (
  'datadirectory' => '/srv/nc', 'objectstore' => [ 'class' => 'S3', 'arguments' => ['secret' => 's3cr3t', 'on' => true, 'n' => -5] ],
  'trusted' => array('a', 'b'), 'dyn' => $z, 'after' => 'x',
);
$h = <<<EOT
define('NO2', 'x');
EOT;
return ['path' => '/r'];
?>
<b>define('NO3', 'x');</b>
`}, []string{"/etc/wp/config.php"}, []string{
			"config.php:3 DB_NAME=wp", "config.php:4 DB_PASSWORD=[redacted]", "config.php:5 WP_CONTENT_DIR=/var/lib/wp/content", "config.php:6 BASE=/etc/wp", "config.php:6 UP=/etc/wp/up", "config.php:6 SUB=/etc/wp/sub",
			"config.php:8 K=5", "config.php:9 table_prefix=wp_", "config.php:10 cfg.Servers.password=[redacted]", "config.php:11 cfg.Servers.host=h", "config.php:14 log_path=/var/log/j",
			"config.php:16 CONFIG.datadirectory=/srv/nc", "config.php:16 CONFIG.objectstore.class=S3", "config.php:16 CONFIG.objectstore.arguments.secret=[redacted]", "config.php:16 CONFIG.objectstore.arguments.on=true", "config.php:16 CONFIG.objectstore.arguments.n=-5",
			"config.php:17 CONFIG.after=x", "config.php:22 path=/r",
		}, nil},
		{"sshd", "sshd", map[string]string{
			"etc/ssh/sshd_config":          "Include /etc/ssh/sshd_config.d/*.conf\nPort 22\nPasswordAuthentication no\nHostKey=/etc/ssh/ssh_host_rsa_key\nMatch User bob\n  ChrootDirectory \"/srv/a b\"\nMatch all\nX11Forwarding yes\n",
			"etc/ssh/sshd_config.d/a.conf": "Port 2222\nMatch Group x\nBanner none\n",
		}, []string{"/etc/ssh/sshd_config"}, []string{
			"a.conf:1 Port=2222", "a.conf:2 Match=Group x", "a.conf:3 Match.Banner=none",
			"sshd_config:2 Port=22", "sshd_config:3 PasswordAuthentication=no", "sshd_config:4 HostKey=/etc/ssh/ssh_host_rsa_key", "sshd_config:5 Match=User bob", "sshd_config:6 Match.ChrootDirectory=/srv/a b", "sshd_config:7 Match=all", "sshd_config:8 X11Forwarding=yes",
		}, nil},
		{"java", "java", map[string]string{"etc/a.properties": "# c\n! c\na.b = 1\nkey:value\nlong one\\\n   two\ndb.password=geheim\nu\\ k=\\u00e4\\t\nlast=\\\n"},
			[]string{"/etc/a.properties"}, []string{"a.properties:3 a.b=1", "a.properties:4 key=value", "a.properties:5 long=onetwo", "a.properties:7 db.password=[redacted]", "a.properties:8 u k=ä\t", "a.properties:9 last="}, nil},
		{"xml", "xml", map[string]string{"etc/server.xml": "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<Server port=\"8005\" xmlns:x=\"y\">\n <Connector port=\"8080\"\n   keystorePass=\"geheim\"/>\n <dir>/srv/x</dir>\n <property><name>fs.secret</name><value>s3cr3t</value></property>\n <param name=\"password\" value=\"abc\"/>\n</Server>\n", "etc/bad.xml": "<a><b"},
			[]string{"/etc/server.xml", "/etc/bad.xml"}, []string{"server.xml:2 Server.port=8005", "server.xml:4 Server.Connector.port=8080", "server.xml:4 Server.Connector.keystorePass=[redacted]", "server.xml:5 Server.dir=/srv/x", "server.xml:6 fs.secret=[redacted]", "server.xml:7 Server.param.name=password", "server.xml:7 Server.param.value=[redacted]"}, []string{"bad.xml:1 is no XML"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, problems := collected(t, collecttest.Plant(t, tt.files), settings.Source{Profile: "p", Format: tt.format, Files: tt.main})
			if diff := cmp.Diff(tt.want, short(list)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			var got []string
			for _, p := range problems {
				got = append(got, fmt.Sprintf("%s:%d %s", p.Path.Base(), p.Line, p.What))
			}
			if diff := cmp.Diff(tt.problems, got); diff != "" {
				t.Errorf("problems: -want +got\n%s", diff)
			}
		})
	}
}

func TestSecretsOfTheProfile(t *testing.T) {
	list, _ := collected(t, collecttest.Plant(t, map[string]string{"etc/a.ini": "[x]\nodd = plain\nother = plain\n"}),
		settings.Source{Profile: "p", Format: "ini", Files: []string{"/etc/a.ini"}, Secrets: []string{"*.odd"}})
	if diff := cmp.Diff([]string{"a.ini:2 x.odd=[redacted]", "a.ini:3 x.other=plain"}, short(list)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestLimits(t *testing.T) {
	root := collecttest.Plant(t, map[string]string{
		"etc/big.ini":     strings.Repeat("#\n", 1<<20),
		"etc/bin.ini":     "a=1\x00",
		"etc/long.ini":    "a=" + strings.Repeat("x", 10000) + "\nb=1\n",
		"etc/loop.ini":    "-> loop.ini",
		"etc/out.ini":     "-> ../../../../../../../../etc/passwd",
		"etc/selfinc.ini": "include=/etc/selfinc.ini\na=1\n",
		"etc/fifo.ini/x":  "",
		"etc/bytes.ini":   "k\xff=v\xfe\n",
	})
	list, problems := collected(t, root, settings.Source{Profile: "p", Format: "ini", Files: []string{"/etc/*.ini"}})
	if diff := cmp.Diff([]string{`bytes.ini:1 k\xff=v\xfe`, "long.ini:2 b=1", "selfinc.ini:2 a=1"}, short(list)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Path.Base()+" "+p.What)
	}
	want := []string{"big.ini is too large for configuration", "bin.ini is no text", "long.ini assignment is too long", "loop.ini resolve: too many levels of symbolic links", "out.ini resolve: no such file or directory"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems: -want +got\n%s", diff)
	}
}

func TestWants(t *testing.T) {
	c := settings.New([]settings.Source{{Files: []string{"/etc/mysql/my.cnf", "/etc/php/*/apache2/conf.d/*.ini"}}})
	for p, want := range map[hostpath.Path]bool{"/etc/mysql/my.cnf": true, "/etc/php/8.2/apache2/conf.d/a.ini": true, "/etc/php/8.2/apache2/conf.d/a/b.ini": false, "/etc/mysql": false, "/etc/my.cnf": false} {
		if got := c.Wants(p, tree.Regular); got != want {
			t.Errorf("Wants(%s) = %v", p, got)
		}
	}
	if c.Wants("/etc/mysql/my.cnf", tree.FIFO) {
		t.Error("wants a FIFO")
	}
}

func FuzzFormats(f *testing.F) {
	formats := []string{"ini", "mysql", "apache", "nginx", "postgresql", "redis", "env", "php", "sshd", "java", "xml"}
	for i, text := range []string{
		"[a]\nb = \"c\" ; d\ninclude=/etc/f\n", "[a]\n!include /etc/f\n!includedir /etc\nb='\\s' # c\n", "<A b>\nInclude /etc/f\nDefine x ${x}\nB \"${x}\" \\\n</A>\n<IfModule !x>\n",
		"a { b ${c} \"d\"; include f; }", "include 'f'\na = 'b''c'\ninclude_dir '.'", "user a >b\ninclude /etc/f\n\"x", "export A=${B:-c}\nA='\n", "<?php define('A', 'b' . dirname(__FILE__)); $a['b'][] = [1, 'c' => [2]]; <<<X\nX;",
		"Match x\nInclude *\na=b", "a\\\n  b:c\\u00e4", "<a b='c'><name>d</name><value>e</value></a>",
	} {
		f.Add(i, text)
	}
	root := collecttest.Plant(f, map[string]string{"etc/f": ""})
	f.Fuzz(func(t *testing.T, format int, text string) {
		if err := os.WriteFile(filepath.Join(root, "etc/f"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		name := formats[uint(format)%uint(len(formats))]
		list, _ := collected(t, root, settings.Source{Profile: "p", Format: name, Files: []string{"/etc/f"}})
		n := strings.Count(text, "\n") + 1
		for _, s := range list {
			if s.Line < 1 || s.Line > n || s.Key == "" {
				t.Fatalf("%s: %+v of %d lines", name, s, n)
			}
		}
	})
}
