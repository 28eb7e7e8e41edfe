package sysv_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
	"github.com/statelift/statelift/stages/scan/sysv"
)

func collected(t testing.TB, root string) ([]facts.Script, []facts.Problem) {
	t.Helper()
	found := collecttest.Run(t, sysv.Collector{}, root)
	for _, f := range found {
		if d, ok := f.Data.(facts.Script); ok && (f.Kind != facts.KindScript || f.Name != d.Name) {
			t.Errorf("envelope %+v", f)
		}
	}
	return collecttest.Data[facts.Script](found), collecttest.Data[facts.Problem](found)
}

const skeleton = `#!/bin/sh
### BEGIN INIT INFO
# Provides:          foo foo-alias
# Default-Start:     2 3 4 5
# Short-Description: The foo
# Description:       Something long
#                    that goes on.
### END INIT INFO
PATH=/sbin:/usr/sbin
NAME=foo
DAEMON=/usr/sbin/$NAME
DAEMON_ARGS="--port 7"
PIDFILE=/run/$NAME.pid
DATADIR="/var/lib/${NAME}"
[ -x "$DAEMON" ] || exit 0
[ -r /etc/default/$NAME ] && . /etc/default/$NAME
. /lib/init/vars.sh
test -n "$DATADIR" || DATADIR=/never
do_start()
{
	start-stop-daemon --start --quiet --pidfile $PIDFILE --exec $DAEMON --test > /dev/null || return 1
	start-stop-daemon --start --quiet --pidfile $PIDFILE --chuid foo:foo --exec $DAEMON -- \
		$DAEMON_ARGS --data "$DATADIR" >/dev/null 2>&1 || return 2
}
do_stop()
{
	start-stop-daemon --stop --quiet --retry=TERM/30/KILL/5 --pidfile $PIDFILE --name $NAME
}
`

func TestCollect(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []facts.Script
	}{
		{"skeleton with defaults", map[string]string{
			"etc/init.d/foo": skeleton, "etc/default/foo": "# comment\nDAEMON_ARGS=\"--port 8 -v\"\nDATADIR='/srv/foo'\nTOKEN=k9J2x8Qa01\n",
			"etc/rc2.d/S01foo": "-> ../init.d/foo", "etc/rc3.d/S20foo": "-> ../init.d/foo", "etc/rc0.d/K01foo": "-> ../init.d/foo", "etc/rcS.d/S01other": "-> ../init.d/other",
		}, []facts.Script{{
			Name: "foo", Path: "/etc/init.d/foo", Provides: []string{"foo", "foo-alias"}, Description: "The foo", StartLevels: []string{"2", "3"},
			Daemon: "/usr/sbin/foo", Args: "--port 8 -v --data /srv/foo", User: "foo", PIDFile: "/run/foo.pid",
			Paths: map[string]hostpath.Path{"DAEMON": "/usr/sbin/foo", "PIDFILE": "/run/foo.pid", "DATADIR": "/srv/foo"},
			Reads: []hostpath.Path{"/etc/default/foo"},
		}}},
		{"units and masks go before", map[string]string{
			"etc/init.d/a": skeleton, "usr/lib/systemd/system/a.service": "[Service]\n",
			"etc/init.d/b.sh": skeleton, "etc/systemd/system/b.service": "-> /dev/null",
			"etc/init.d/README": "read me", "run/systemd/generator.late/c.service": "[Unit]\n", "etc/init.d/c": "#!/bin/sh\nDAEMON=/c\n",
		}, []facts.Script{{Name: "c", Path: "/etc/init.d/c", Daemon: "/c", Paths: map[string]hostpath.Path{"DAEMON": "/c"}}}},
		{"red hat", map[string]string{
			"etc/rc.d/init.d/app":   "#!/bin/bash\n#\n# app   Starts the app\n#\n# chkconfig: 2345 90 10\n# description: An old \\\n#              application\n# pidfile: /var/run/app.pid\n\n. /etc/rc.d/init.d/functions\nexec=/opt/app/bin/appd\nprog=appd\n[ -e /etc/sysconfig/$prog ] && . /etc/sysconfig/$prog\nstart() {\n    daemon --user=${USER:-appuser} --pidfile /var/run/app.pid \"$exec -f $CONF --password=hunter2\"\n}\n",
			"etc/sysconfig/appd":    "CONF=/etc/app.conf\n",
			"etc/rc.d/rc3.d/S90app": "-> ../init.d/app",
			"etc/init.d":            "-> rc.d/init.d",
		}, []facts.Script{{Name: "app", Path: "/etc/rc.d/init.d/app", Description: "An old application", StartLevels: []string{"3"}, Daemon: "/opt/app/bin/appd",
			Args: "-f /etc/app.conf --password=[redacted]", User: "appuser", PIDFile: "/var/run/app.pid",
			Paths: map[string]hostpath.Path{"exec": "/opt/app/bin/appd", "CONF": "/etc/app.conf"}, Reads: []hostpath.Path{"/etc/sysconfig/appd"}}}},
		{"written by hand", map[string]string{
			"etc/init.d/tomcat": "#!/bin/sh\nexport CATALINA_HOME=/opt/tomcat\n: ${LOGDIR:=/var/log/tomcat}\ncase $1 in\nstart)\n  su - tomcat -c \"$CATALINA_HOME/bin/startup.sh -x >/dev/null\"\n  ;;\nstop) kill `cat /run/t.pid` ;;\nesac\n",
		}, []facts.Script{{Name: "tomcat", Path: "/etc/init.d/tomcat", Daemon: "/opt/tomcat/bin/startup.sh", Args: "-x", User: "tomcat",
			Paths: map[string]hostpath.Path{"CATALINA_HOME": "/opt/tomcat", "LOGDIR": "/var/log/tomcat"}}}},
		{"what cannot be known stays", map[string]string{
			"etc/init.d/x": "#!/bin/sh\nDIR=$(cat /etc/x)\nDAEMON=$DIR/bin/x\nOPTS='-a $b'\nX=\"unclosed\n",
		}, []facts.Script{{Name: "x", Path: "/etc/init.d/x", Args: "-a $b"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, problems := collected(t, collecttest.Plant(t, tt.files))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if len(problems) > 0 {
				t.Errorf("problems %v", problems)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	scripts, problems := collected(t, collecttest.Plant(t, map[string]string{"etc/init.d/big": "#!/bin/sh\n" + strings.Repeat("#\n", 1<<20), "etc/init.d/ok": "#!/bin/sh\nDAEMON=/bin/ok\n"}))
	if len(scripts) != 1 || len(problems) != 1 || problems[0].Path != "/etc/init.d/big" {
		t.Errorf("scripts %v, problems %v", scripts, problems)
	}
}

// TestAgainstTheShell runs the skeleton and lets it call a start-stop-daemon
// that tells what it was called with.
func TestAgainstTheShell(t *testing.T) {
	root := collecttest.Plant(t, map[string]string{
		"etc/init.d/foo":        "#!/bin/sh\nNAME=foo\nDAEMON=/usr/sbin/$NAME\nPIDFILE=\"/run/${NAME}.pid\"\nA=\"one two\"\nB='$A'\nC=${NO:-x ${NAME} y}\nstart-stop-daemon --start --pidfile \"$PIDFILE\" --chuid u --exec $DAEMON -- $A \"$A\" $B '$A' a\\ b ${C} \\\n --last=\"q\"r\n",
		"bin/start-stop-daemon": "#!/bin/sh\nwhile [ \"$1\" != -- ]; do shift; done; shift\nprintf '%s\\0' \"$@\"\n",
	})
	if err := os.Chmod(filepath.Join(root, "bin/start-stop-daemon"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dash", filepath.Join(root, "etc/init.d/foo"))
	cmd.Env = []string{"PATH=" + filepath.Join(root, "bin") + ":/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	scripts, _ := collected(t, root)
	words, err := shellwords.Shell(scripts[0].Args)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range words {
		got = append(got, w.Text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-dash +got\n%s", diff)
	}
}

// TestFixture reads the script of the WordPress host.
func TestFixture(t *testing.T) {
	const dir = "../../../fixtures/hosts/wordpress/files/"
	files := map[string]string{}
	for _, name := range []string{"etc/init.d/gatelog", "etc/default/gatelog"} {
		data, err := os.ReadFile(dir + name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	scripts, _ := collected(t, collecttest.Plant(t, files))
	if len(scripts) != 1 {
		t.Fatalf("%d scripts", len(scripts))
	}
	s := scripts[0]
	if s.Daemon != "/usr/local/sbin/gatelogd" || s.User != "gatelog" || s.PIDFile != "/run/gatelog/gatelogd.pid" || s.Paths["GATELOG_DIR"] != "/var/lib/gatelog" ||
		s.Args != "-p 601 -d /var/lib/gatelog -P /run/gatelog/gatelogd.pid -L /var/log/gatelog.log" {
		t.Errorf("%+v", s)
	}
}

func FuzzScript(f *testing.F) {
	f.Add(skeleton, "A=b\n")
	f.Add("#!/bin/sh\nA=$A$A\nB=${B:-$B}\ndaemon --user\n", ". /etc/default/x\n")
	f.Add("su -c\nsu - x -c 'a b'\nstart-stop-daemon -S -x\n: ${X:=$(y)}\n", "'")
	root := collecttest.Plant(f, map[string]string{"etc/init.d/x": "", "etc/default/x": ""})
	f.Fuzz(func(t *testing.T, script, defaults string) {
		for name, text := range map[string]string{"etc/init.d/x": script, "etc/default/x": defaults} {
			if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		scripts, _ := collected(t, root)
		for _, s := range scripts {
			for name, p := range s.Paths {
				if p != hostpath.Clean(string(p)) {
					t.Errorf("%s=%q", name, p)
				}
			}
		}
	})
}
