package plan

import (
	"errors"
	"testing"
	"time"
)

func TestFromCalendar(t *testing.T) {
	for in, want := range map[string]string{
		"daily": "0 0 * * *", "Weekly": "0 0 * * 1", "Mon 06:30": "30 6 * * 1", "*-*-* 02:15:00": "15 2 * * *",
		"*:0/15": "*/15 * * * *", "*:5/15": "5-59/15 * * * *", "Mon..Fri 22:30": "30 22 * * 1-5", "Sat,Sun 3:00": "0 3 * * 0,6",
		"Fri..Mon 03:00": "0 3 * * 0,1,5,6", "*-*-01 04:00": "0 4 1 * *", "*-01,07-01": "0 0 1 1,7 *", "01-01 00:00:00": "0 0 1 1 *",
		"*-*-* 6,18:00": "0 6,18 * * *", "*-*-* 00/6:00:00": "0 */6 * * *", "8..17:00": "0 8-17 * * *", "Wednesday": "0 0 * * 3",
	} {
		if got, zone, err := fromCalendar(in); got != want || zone != "" || err != nil {
			t.Errorf("%q = %q %q %v, want %q", in, got, zone, err, want)
		}
	}
	if got, zone, err := fromCalendar("*-*-* 03:00 Europe/Stockholm"); got != "0 3 * * *" || zone != "Europe/Stockholm" || err != nil {
		t.Errorf("with zone: %q %q %v", got, zone, err)
	}
	for _, in := range []string{"2025-01-01", "*-*~1", "Mon *-*-01", "*:*:30", "*:70", "foo", "Foo 1:00", "1:2:3:4"} {
		if got, _, err := fromCalendar(in); !errors.Is(err, errNoCron) {
			t.Errorf("%q = %q, %v: want an error", in, got, err)
		}
	}
}

func TestFromCron(t *testing.T) {
	for in, want := range map[string]string{
		"15 2 * * *": "15 2 * * *", "0 0 * * 7": "0 0 * * 0", "0 0 * * 5-7": "0 0 * * 5-6,0", "0 0 * * fri-sun": "0 0 * * 5-6,0",
		"0 0 * * 0-7": "0 0 * * *", "0 0 * * 1-7/2": "0 0 * * 1-6/2", "0 0 1,15 * mon": "0 0 1,15 * mon", "*/5  *\t* * *": "*/5 * * * *",
	} {
		if got, err := fromCron(in); got != want || err != nil {
			t.Errorf("%q = %q %v, want %q", in, got, err, want)
		}
	}
	if got, err := fromCron("@reboot"); err == nil {
		t.Errorf("@reboot = %q", got)
	}
}

func TestEvery(t *testing.T) {
	for d, want := range map[time.Duration]string{
		15 * time.Minute: "*/15 * * * *", time.Hour: "0 * * * *", 6 * time.Hour: "0 */6 * * *", 24 * time.Hour: "0 0 * * *",
		7 * time.Minute: "", 30 * time.Second: "", 5 * time.Hour: "",
	} {
		if got, err := every(d); got != want || (err == nil) != (want != "") {
			t.Errorf("%s = %q %v, want %q", d, got, err, want)
		}
	}
}

func TestTimeSpan(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90": 90 * time.Second, "5min 20s": 320 * time.Second, "1min30s": 90 * time.Second, "1.5h": 90 * time.Minute,
		"infinity": -1, "300ms": 300 * time.Millisecond, "2 days": 48 * time.Hour,
	} {
		if got, err := timeSpan(in); got != want || err != nil {
			t.Errorf("%q = %s %v, want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "x", "5 foo", "-5", "5s;"} {
		if got, err := timeSpan(in); err == nil {
			t.Errorf("%q = %s, want an error", in, got)
		}
	}
}
