package credential_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
)

func TestLooksSecret(t *testing.T) {
	for key, want := range map[string]bool{
		"password": true, "DB_PASSWORD": true, "dbPassword": true, "DBPassword": true, "db.pass": true, "WORDPRESS_DB_PASS": true,
		"requirepass": true, "masterauth": true, "AuthLDAPBindPassword": true, "clientSecret": true, "client_secret": true,
		"API_KEY": true, "apiKey": true, "AUTH_KEY": true, "SECURE_AUTH_SALT": true, "LOGGED_IN_KEY": true, "NONCE_SALT": true,
		"aws_secret_access_key": true, "PGPASSWORD": true, "TALLYD_TOKEN": true, "authToken": true, "passwd": true, "bindpw": true,
		"dbpass": true, "secret_key_base": true, "smtp.passphrase": true, "password2": true, "rocommunity": true,
		"blowfish_secret": true, "JWT_SECRET": true, "mail.smtp.password": true, "psk": true, "APP_KEY": true,
		"PasswordAuthentication": false, "PermitEmptyPasswords": true, // its value is a switch
		"PASS_MAX_DAYS": false, "password_file": false, "ssl_password_file": false, "proxy_pass": false, "ProxyPass": false,
		"ProxyPassReverse": false, "fastcgi_pass": false, "server_tokens": false, "ServerTokens": false, "max_tokens": false,
		"password_hash_algorithm": false, "password_encryption": false, "token_url": false, "secretName": false,
		"keyboard": false, "primary_key": false, "key": false, "key_buffer_size": false, "bypass": false, "SSLCertificateKeyFile": false,
		"author": false, "NOPASSWD": false, "path": false, "": false, "compass": false, "passive": false, "password_timeout": false,
	} {
		if got := credential.LooksSecret(key); got != want {
			t.Errorf("LooksSecret(%q) = %v, want %v", key, got, want)
		}
	}
}

func TestRedactCommand(t *testing.T) {
	const r = facts.Redacted
	tests := [][2]string{
		{"mysqldump -uroot -pS3cret --all-databases | gzip > /var/backups/a.sql.gz", "mysqldump -uroot -p" + r + " --all-databases | gzip > /var/backups/a.sql.gz"},
		{"/usr/bin/mysql --password=changeme -e 'select 1'", "/usr/bin/mysql --password=" + r + " -e 'select 1'"},
		{"mysql --password='a b c' x", "mysql --password='" + r + "' x"},
		{"tool --token abcdef --name x", "tool --token " + r + " --name x"},
		{"PGPASSWORD=hunter2 pg_dump -h db x", "PGPASSWORD=" + r + " pg_dump -h db x"},
		{"curl -u bob:hunter2 http://registry.example/", "curl -u bob:" + r + " http://registry.example/"},
		{"curl --user bob:hunter2x http://bob:hunter2@registry.example/x", "curl --user bob:hunter2x http://bob:" + r + "@registry.example/x"},
		{"curl -H 'Authorization: Bearer abc123def' http://x.example", "curl -H 'Authorization: Bearer " + r + "' http://x.example"},
		{"sudo -u www-data redis-cli -a 'foo bar' ping", "sudo -u www-data redis-cli -a '" + r + "' ping"},
		{"sshpass -p geheim ssh host", "sshpass -p " + r + " ssh host"},
		{`mysql -e "CREATE USER x IDENTIFIED BY 'topsecret'"`, `mysql -e "CREATE USER x IDENTIFIED BY '` + r + `'"`},
		{"openssl enc -pass pass:geheim -in x", "openssl enc -pass pass:" + r + " -in x"},
		{"DSN=Server=db;Password=abc;Port=1 app", "DSN=Server=db;Password=" + r + ";Port=1 app"},
		{"a ghp_0123456789abcdefghijABCDEFGHIJ012345 b", "a " + r + " b"},
		// left alone
		{"mkdir -p /var/lib/x", "mkdir -p /var/lib/x"},
		{"mysql -p", "mysql -p"},
		{"mysql -p $PASS", "mysql -p $PASS"},
		{"mysql --password=${DB_PASS} x", "mysql --password=${DB_PASS} x"},
		{"x --password-file=/etc/x/pw", "x --password-file=/etc/x/pw"},
		{"nginx -p /etc/nginx -c nginx.conf", "nginx -p /etc/nginx -c nginx.conf"},
		{"a --key-file /etc/key --user www", "a --key-file /etc/key --user www"},
		{"17 2 * * * root mysqldump -pabc x", "17 2 * * * root mysqldump -p" + r + " x"},
		{"mysqldump -pSECRET99 db", "mysqldump -p" + r + " " + r},
		{"find /var/lib/mysql -path x -prune", "find /var/lib/mysql -path x -prune"},
		{"openssl req -keyout k.pem", "openssl req -keyout k.pem"},
		{"docker run -p 80:80 x", "docker run -p 80:80 x"},
		{"wget -q https://x.example/a?b=c", "wget -q https://x.example/a?b=c"},
		{"", ""},
	}
	for _, tt := range tests {
		if got := credential.RedactCommand(tt[0]); got != tt[1] {
			t.Errorf("RedactCommand(%q)\n got %q\nwant %q", tt[0], got, tt[1])
		}
	}
}

func TestRedact(t *testing.T) {
	tests := []struct {
		key, value, want string
		secret           bool
	}{
		{"mysqld.password", "changeme", facts.Redacted, true},
		{"DB_PASSWORD", "${X}", "${X}", false},
		{"datadir", "/var/lib/mysql", "/var/lib/mysql", false},
		{"PasswordAuthentication", "yes", "yes", false},
		{"DATABASE_URL", "mysql://app:s3cr3t@db:3306/x", "mysql://app:" + facts.Redacted + "@db:3306/x", true},
		{"SESSION_TOKEN", "basic", "basic", false},
		{"ServerTokens", "OS", "OS", false},
		{"x", "$6$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789", facts.Redacted, true},
	}
	for _, tt := range tests {
		got, secret := credential.Redact(tt.key, tt.value)
		if got != tt.want || secret != tt.secret {
			t.Errorf("Redact(%q, %q) = %q, %v, want %q, %v", tt.key, tt.value, got, secret, tt.want, tt.secret)
		}
	}
}

// found is a finding in words.
func found(t *testing.T, name, text string) []string {
	t.Helper()
	var out []string
	for f, err := range credential.ScanFile(name, strings.NewReader(text), 1<<20) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%d %s %s=%s", f.Line, f.Kind, f.Key, string(f.Value)))
	}
	return out
}

func TestScan(t *testing.T) {
	tests := []struct {
		name, file, text string
		want             []string
	}{
		{"env", "x.env", "A=1\nexport DB_PASSWORD=changeme\nTOKEN=tk_93ja8Hq2\nPASS=\nPASSWORD=\"$DB\"\n",
			[]string{"2 password DB_PASSWORD=changeme", "3 password TOKEN=tk_93ja8Hq2"}},
		{"ini", "my.cnf", "[client]\npassword = a#b;c\n#password = old_Pass_1234\n; password = your_password\npassword_file = /etc/x\n",
			[]string{"2 password password=a#b;c", "3 commented password password=old_Pass_1234"}},
		{"php constants", "wp-config.php", "<?php\ndefine('DB_PASSWORD', 'password');\ndefine( \"AUTH_KEY\", 'x8!kd9Lq0 #aZ' );\ndefine('DB_HOST', 'localhost');\n$x['user_pass'] = 'user_pass';\n$h = password_hash($p, PASSWORD_DEFAULT);\n$password = $_POST['password'];\n'password' => __('Password'),\n",
			[]string{"2 password DB_PASSWORD=password", "3 password AUTH_KEY=x8!kd9Lq0 #aZ"}},
		{"php variables", "a.php", "<?php\n$dbpass = 'hunter2';\n$cfg['Servers'][$i]['password'] = 'root99';\n$c = ['password' => 'sesame1', 'user' => 'u'];\n$m = new mysqli('localhost', 'u', 'topsecret');\n",
			[]string{"2 password dbpass=hunter2", "3 password password=root99", "4 password password=sesame1", "5 password =topsecret"}},
		{"yaml", "a.yml", "db:\n  password: hunter2\n  secretName: web-tls\n  token: ${T}\nenv:\n- name: DB_PASSWORD\n  value: geheim\n- name: X\n  value: y\n",
			[]string{"2 password password=hunter2", "7 password DB_PASSWORD=geheim"}},
		{"json", "a.json", `{"user": "a", "password": "hunter2", "n": 1}` + "\n" + `  "apiKey": "k9J2x8Qa01"` + "\n",
			[]string{"1 password password=hunter2", "2 password apiKey=k9J2x8Qa01"}},
		{"xml", "a.xml", "<password>geheim</password>\n<add key=\"DbPassword\" value=\"abc\"/>\n<name>fs.s3.secret</name>\n<value>s3cr3t</value>\n<Resource username=\"u\" password=\"p1\"/>\n<password></password>\n",
			[]string{"1 password password=geheim", "2 password DbPassword=abc", "4 password fs.s3.secret=s3cr3t", "5 password password=p1"}},
		{"properties", "a.properties", "spring.datasource.password=abc\nspring.datasource.url=jdbc:mysql://db/x?user=a&password=zzz\n",
			[]string{"1 password spring.datasource.password=abc", "2 password password=zzz"}},
		{"apache", "x.conf", "SetEnv DB_PASSWORD hunter2\nAuthLDAPBindPassword \"a b\"\nServerTokens OS\nSSLCertificateKeyFile /etc/ssl/private/x.key\nProxyPass / http://127.0.0.1:8080/\n",
			[]string{"1 password DB_PASSWORD=hunter2", "2 password AuthLDAPBindPassword=a b"}},
		{"redis", "redis.conf", "# requirepass foobared\nrequirepass foo\nmasterauth bar\n",
			[]string{"2 password requirepass=foo", "3 password masterauth=bar"}},
		{"nginx", "site.conf", "  fastcgi_param DB_PASS geheim;\n  fastcgi_pass unix:/run/php.sock;\n  proxy_set_header Authorization \"Basic abc\";\n",
			[]string{"1 password DB_PASS=geheim"}},
		{"shell", "dump.sh", "#!/bin/sh\nPASS=$(cat /etc/x)\nmysqldump -uroot -pS3cret x\nmysql -p\"$PASS\" y\nread -p 'Password: ' x\n",
			[]string{"3 password argument =S3cret"}},
		{"keys", "x.pem", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----\nabc\n", []string{"4 private key ="}},
		{"openssh", "k", "-----BEGIN OPENSSH PRIVATE KEY-----\n", []string{"1 private key ="}},
		{"public", "k", "-----BEGIN PUBLIC KEY-----\nssh-rsa AAAA\n", nil},
		{"urls", "a.conf", "dsn = mysql://app:s3cr3t@db/x\nproxy=http://proxy.example:3128\nssh://git@host/x\nx=http://a:$PW@h/\n",
			[]string{"1 password in a URL =s3cr3t"}},
		{"tokens", "x.txt", "AKIAIOSFODNN7EXAMPLQ ghp_0123456789abcdefghijABCDEFGHIJ012345\n",
			[]string{"1 token =AKIAIOSFODNN7EXAMPLQ", "1 token =ghp_0123456789abcdefghijABCDEFGHIJ012345"}},
		{"htpasswd", ".htpasswd", "bob:$apr1$abcdefgh$0123456789abcdefghijkl\n", []string{"1 password hash =$apr1$abcdefgh$0123456789abcdefghijkl"}},
		{"pgpass", ".pgpass", "db:5432:*:app:gehe:im\n", []string{"1 password app=gehe:im"}},
		{"netrc", "netrc", "machine h login u password geheim\n", []string{"1 password password=geheim"}},
		{"unit", "x.service", "[Service]\nEnvironment=\"API_TOKEN=k9J2x8Qa01\" A=b\nExecStart=/bin/x --password=abc\n",
			[]string{"2 password API_TOKEN=k9J2x8Qa01", "3 password password=abc"}},
		{"host configuration", "any", "passwd:         files systemd\nPasswordAuthentication no\nPASS_MAX_DAYS 99999\nusepasswd yes\n%sudo ALL=(ALL) NOPASSWD: ALL\npassword\trequisite\tpam_deny.so\n@include common-password\npassword [success=1 default=ignore] pam_unix.so obscure\nhost all all 127.0.0.1/32 scram-sha-256\npassword_encryption = scram-sha-256\nThe password is asked for.\nPassword: see the manual\n", nil},
		{"binary", "x", "password=abc\x00\n", nil},
		{"code is not configuration", "a.js", "const password = options.password;\nif (password == 'x') {}\nlet passwordLabel = 'Password';\nfunction f(password, token) { return token; }\n<input type=\"password\" name=\"pass\" value=\"\">\n", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, found(t, tt.file, tt.text)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestScanLimit(t *testing.T) {
	text := strings.Repeat("# nothing\n", 100) + "password=abc\n"
	var last error
	for f, err := range credential.Scan(strings.NewReader(text), 500) {
		if err == nil {
			t.Errorf("found %v beyond the limit", f)
		}
		last = err
	}
	if !errors.Is(last, credential.ErrLimit) {
		t.Errorf("error %v, want ErrLimit", last)
	}
}

func TestValueIsNeverShown(t *testing.T) {
	f := credential.Found{Value: "hunter2", Confidence: claim.High}
	j, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(f), fmt.Sprintf("%+v %#v %q %s %x", f, f, f.Value, f.Value, f.Value), string(j)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "68756e") {
			t.Errorf("shown in %s", s)
		}
	}
}

func TestFileKind(t *testing.T) {
	for name, want := range map[string]bool{"/home/x/.ssh/id_rsa": true, "id_rsa.pub": false, "a.p12": true, ".htpasswd": true, "x.key": false, "/etc/ssl/certs/a.pem": false} {
		if _, got := credential.FileKind(name); got != want {
			t.Errorf("FileKind(%q) = %v", name, got)
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{"password=x", "define('DB_PASSWORD', 'x');", "<password>x</password>", "mysql -px", "a://b:c@d", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx.abcdefghijklmnop", "$6$a$", "- name: token\n  value: x", "\"password\": \"x\"", "\xff\xfe=\x01", "password='\\"} {
		f.Add("x.conf", s)
		f.Add("x.php", s)
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		lines := strings.Split(text, "\n")
		for found, err := range credential.ScanFile(name, strings.NewReader(text), 1<<20) {
			if err != nil {
				t.Fatal(err)
			}
			if found.Line < 1 || found.Line > len(lines) {
				t.Fatalf("line %d of %d", found.Line, len(lines))
			}
			if v := string(found.Value); !strings.Contains(lines[found.Line-1], v) {
				t.Fatalf("%q is not in line %q", v, lines[found.Line-1])
			}
		}
	})
}

func FuzzRedactCommand(f *testing.F) {
	for _, s := range []string{"mysql -px -u y", "A=b --password='c d' e", "curl -u a:b http://c:d@e/", "x 'unclosed", "\\", "-p", "redis-cli -a", "a=b=c;d=e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := credential.RedactCommand(s)
		if twice := credential.RedactCommand(once); twice != once {
			t.Fatalf("not stable:\n%q\n%q\n%q", s, once, twice)
		}
	})
}
