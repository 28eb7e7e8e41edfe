package cron

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/stages/scan/collect/collecttest"
)

// debianCrontab is /etc/crontab of Debian 12.
const debianCrontab = `SHELL=/bin/sh
# comment
17 *	* * *	root	cd / && run-parts --report /etc/cron.hourly
25 6	* * *	root	test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }
47 6	* * 7	root	test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.weekly; }
52 6	1 * *	root	test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.monthly; }
`

func TestCollect(t *testing.T) {
	dir := collecttest.Plant(t, map[string]string{
		"etc/crontab": debianCrontab + "@reboot root /usr/local/bin/boot\n",
		"etc/cron.d/dump": `MAILTO=root
DB_PASSWORD=hunter2hunter2
 URL = "https://example.org/x y"
15 2 * * mon-fri  backup  mysqldump -phunter2hunter2 db | gzip > /var/backups/db-$(date +\%F).gz
61 * * * * root never
* * * *
*/5 * * * * root
@sometimes root x
`,
		"etc/cron.d/php.dpkg-old":        "* * * * * root ignored\n",
		"etc/cron.d/.placeholder":        "# none\n",
		"etc/cron.daily/logrotate":       "#!/bin/sh\n",
		"etc/cron.daily/linked":          "-> /opt/job",
		"etc/cron.daily/not-executable":  "echo\n",
		"etc/cron.daily/with.dot":        "#!/bin/sh\n",
		"etc/cron.yearly/nobody-runs-it": "#!/bin/sh\n",
		"opt/job":                        "#!/bin/sh\n",
		"var/spool/cron/crontabs/marta":  "# DO NOT EDIT\n0 4 * * 0 mail -s hi marta%Hello,%100\\% done\n-1,31 8-18/2 1 jan * x\n",
		"var/spool/cron/crontabs/tmp.xx": "* * * * * x\n",
	})
	found := collecttest.Run(t, Collector{}, dir)
	at := func(p string, line int) facts.Source { return facts.Source{Path: hostpath.Path(p), Line: line} }
	want := []facts.Cron{
		{Name: "cron.d/dump:4", Schedule: "15 2 * * mon-fri", User: "backup",
			Command: "mysqldump -p" + facts.Redacted + " db | gzip > /var/backups/db-$(date +%F).gz",
			Env:     map[string]string{"MAILTO": "root", "URL": "https://example.org/x y"}, Source: at("/etc/cron.d/dump", 4)},
		{Name: "crontab:7", Schedule: "@reboot", User: "root", Command: "/usr/local/bin/boot",
			Env: map[string]string{"SHELL": "/bin/sh"}, Source: at("/etc/crontab", 7)},
		{Name: "crontabs/marta:2", Schedule: "0 4 * * 0", User: "marta", Command: "mail -s hi marta",
			Input: "Hello,\n100% done\n", Source: at("/var/spool/cron/crontabs/marta", 2)},
		{Name: "crontabs/marta:3", Schedule: "1,31 8-18/2 1 jan *", User: "marta", Command: "x",
			Source: at("/var/spool/cron/crontabs/marta", 3)},
		{Name: "cron.daily/linked", Schedule: "25 6 * * *", User: "root", Command: "/etc/cron.daily/linked",
			Env: map[string]string{"SHELL": "/bin/sh"}, Source: at("/etc/cron.daily/linked", 0)},
		{Name: "cron.daily/logrotate", Schedule: "25 6 * * *", User: "root", Command: "/etc/cron.daily/logrotate",
			Env: map[string]string{"SHELL": "/bin/sh"}, Source: at("/etc/cron.daily/logrotate", 0)},
	}
	if diff := cmp.Diff(want, collecttest.Data[facts.Cron](found)); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
	problems := []string{"/etc/cron.d/dump:5", "/etc/cron.d/dump:6", "/etc/cron.d/dump:7", "/etc/cron.d/dump:8"}
	if diff := cmp.Diff(problems, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestAnacrontabSaysWhenScriptsRun(t *testing.T) {
	dir := collecttest.Plant(t, map[string]string{
		"etc/anacrontab": `START_HOURS_RANGE=3-22
1	5	cron.daily		nice run-parts /etc/cron.daily
7 10 job.weekly /usr/bin/weekly
@monthly 45 m /usr/bin/monthly
x 1 y z
`,
		"etc/cron.daily/a": "#!/bin/sh\n",
	})
	found := collecttest.Run(t, Collector{}, dir)
	var got []string
	for _, c := range collecttest.Data[facts.Cron](found) {
		got = append(got, c.Name+" "+c.Schedule+" "+c.Command)
	}
	want := []string{"anacrontab:3 0 3 * * 0 /usr/bin/weekly", "anacrontab:4 0 3 1 * * /usr/bin/monthly", "cron.daily/a 0 3 * * * /etc/cron.daily/a"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/etc/anacrontab:5"}, collecttest.Problems(found)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// The examples of crontab(5), and what its rules exclude.
func TestSchedule(t *testing.T) {
	for line, want := range map[string]string{
		"5 0 * * * x":                 "5 0 * * *",
		"15 14 1 * * x":               "15 14 1 * *",
		"0 22 * * 1-5 x":              "0 22 * * 1-5",
		"23 0-23/2 * * * x":           "23 0-23/2 * * *",
		"5 4 * * sun x":               "5 4 * * sun",
		"0 4 8-14 * * x":              "0 4 8-14 * *",
		"*/20\t1-9/3,22  * JAN,feb 7": "*/20 1-9/3,22 * JAN,feb 7",
		"0 0 * * fri-sun x":           "0 0 * * fri-sun",
		"@daily x":                    "0 0 * * *",
		"@Midnight x":                 "0 0 * * *",
		"@weekly x":                   "0 0 * * 0",
		"@annually x":                 "0 0 1 1 *",
		"@reboot x":                   "@reboot",
		"60 * * * * x":                "",
		"* 24 * * * x":                "",
		"* * 0 * * x":                 "",
		"* * * 13 * x":                "",
		"* * * * 8 x":                 "",
		"5-1 * * * * x":               "",
		"*/0 * * * * x":               "",
		"+5 * * * * x":                "",
		"1,,2 * * * * x":              "",
		"@every 5m x":                 "",
		"* * *":                       "",
	} {
		got, _, fault := parseSchedule(line)
		if got != want || (fault == "") != (want != "") {
			t.Errorf("%q: %q, %q; want %q", line, got, fault, want)
		}
	}
}

func FuzzTable(f *testing.F) {
	for line := range strings.Lines(debianCrontab) {
		f.Add(line)
	}
	f.Add("@reboot root x%y\\%z")
	f.Add("A = \"b\"")
	f.Add("1 5 cron.daily run-parts /etc/cron.daily")
	f.Fuzz(func(t *testing.T, line string) {
		for _, kind := range []place{system, personal, anacron} {
			env := map[string]string{}
			j, fault := parseLine(line, kind, env)
			if j != nil && (fault != "" || len(env) != 0) {
				t.Errorf("%q is a job, and also %q, %v", line, fault, env)
			}
			if j == nil {
				continue
			}
			if n := len(strings.Fields(j.schedule)); n != 5 && j.schedule != "@reboot" {
				t.Errorf("%q: schedule %q", line, j.schedule)
			}
			if kind == system && j.user == "" {
				t.Errorf("%q: no user", line)
			}
			_ = j.found("x", facts.Source{})
		}
	})
}
