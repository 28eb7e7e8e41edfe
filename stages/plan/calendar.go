package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// errNoCron is wrapped when a time cannot be said in five fields of cron.
var errNoCron = errors.New("cannot be said in five fields of cron")

// fromCalendar translates a calendar event of systemd.time(7) to five fields of
// cron, with the time zone when the event names one.
func fromCalendar(event string) (schedule, timeZone string, err error) {
	fail := func(why string) (string, string, error) {
		return "", "", fmt.Errorf("OnCalendar=%s %w: %s", event, errNoCron, why)
	}
	if s, ok := map[string]string{
		"minutely": "* * * * *", "hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *",
		"yearly": "0 0 1 1 *", "annually": "0 0 1 1 *", "quarterly": "0 0 1 1,4,7,10 *", "semiannually": "0 0 1 1,7 *",
	}[strings.ToLower(strings.TrimSpace(event))]; ok {
		return s, "", nil
	}
	weekday, date, clock := "*", "", ""
	for i, f := range strings.Fields(event) {
		switch {
		case i == 0 && isWeekdays(f):
			if weekday, err = weekdays(f); err != nil {
				return fail(err.Error())
			}
		case strings.Contains(f, ":"):
			clock = f
		case date == "" && clock == "" && strings.ContainsAny(f, "-~*"):
			date = f
		case i > 0 && (f == "UTC" || strings.Contains(f, "/")):
			timeZone = f
		default:
			return fail("unknown part " + strconv.Quote(f))
		}
	}
	month, day := "*", "*"
	if date != "" {
		parts := strings.Split(date, "-")
		if len(parts) == 3 {
			if parts[0] != "*" {
				return fail("it names a year")
			}
			parts = parts[1:]
		}
		if len(parts) != 2 || strings.Contains(date, "~") {
			return fail("it counts from the end of the month, or is no date")
		}
		if month, err = component(parts[0], 1, 12); err != nil {
			return fail(err.Error())
		}
		if day, err = component(parts[1], 1, 31); err != nil {
			return fail(err.Error())
		}
	}
	if day != "*" && weekday != "*" {
		return fail("systemd wants both the day and the weekday to match, cron either")
	}
	hour, minute := "0", "0"
	if clock != "" {
		parts := strings.Split(clock, ":")
		if len(parts) == 3 && strings.Trim(parts[2], "0") != "" {
			return fail("it names seconds")
		}
		if len(parts) > 3 {
			return fail("it is no time")
		}
		if hour, err = component(parts[0], 0, 23); err != nil {
			return fail(err.Error())
		}
		if minute, err = component(parts[1], 0, 59); err != nil {
			return fail(err.Error())
		}
	}
	return strings.Join([]string{minute, hour, day, month, weekday}, " "), timeZone, nil
}

var dayNames = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func isWeekdays(f string) bool {
	return len(f) >= 3 && slices.Contains(dayNames, strings.ToLower(f[:3]))
}

// weekdays lists days as numbers, since Kubernetes knows no range over Sunday.
func weekdays(f string) (string, error) {
	var days []int
	for part := range strings.SplitSeq(strings.TrimSuffix(strings.ToLower(f), ","), ",") {
		from, to, ranged := strings.Cut(part, "..")
		if !ranged {
			from, to, ranged = strings.Cut(part, "-")
		}
		a, err := dayNumber(from)
		if err != nil {
			return "", err
		}
		b := a
		if ranged {
			if b, err = dayNumber(to); err != nil {
				return "", err
			}
		}
		for d := a; ; d = (d + 1) % 7 {
			days = append(days, d)
			if d == b {
				break
			}
		}
	}
	slices.Sort(days)
	return joinDays(slices.Compact(days)), nil
}

func dayNumber(s string) (int, error) {
	full := []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	if i := max(slices.Index(full, s), slices.Index(dayNames, s)); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is no weekday", s)
}

func joinDays(days []int) string {
	if len(days) == 7 {
		return "*"
	}
	contiguous := len(days) > 2
	for i := range days {
		contiguous = contiguous && days[i] == days[0]+i
	}
	if contiguous {
		return fmt.Sprintf("%d-%d", days[0], days[len(days)-1])
	}
	text := make([]string, len(days))
	for i, d := range days {
		text[i] = strconv.Itoa(d)
	}
	return strings.Join(text, ",")
}

// component translates one number, list, range or repetition of a calendar
// event.
func component(s string, low, high int) (string, error) {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		body, step, repeated := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(body, "..")
		if body == "*" {
			if !repeated {
				return "*", nil
			}
			from = strconv.Itoa(low)
		}
		a, err := number(from, low, high)
		if err != nil {
			return "", err
		}
		b := a
		if ranged {
			if b, err = number(to, a, high); err != nil {
				return "", err
			}
		}
		switch {
		case repeated:
			n, err := number(step, 1, high)
			if err != nil {
				return "", err
			}
			if !ranged {
				b = high
			}
			if a == low && b == high {
				out = append(out, fmt.Sprintf("*/%d", n))
			} else {
				out = append(out, fmt.Sprintf("%d-%d/%d", a, b, n))
			}
		case ranged:
			out = append(out, fmt.Sprintf("%d-%d", a, b))
		default:
			out = append(out, strconv.Itoa(a))
		}
	}
	return strings.Join(out, ","), nil
}

func number(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is no number from %d to %d", s, low, high)
	}
	return n, nil
}

// every translates an interval (OnUnitActiveSec=) where cron can say it.
func every(d time.Duration) (string, error) {
	switch minutes := int(d / time.Minute); {
	case d%time.Minute != 0 || minutes == 0:
	case minutes < 60 && 60%minutes == 0:
		return fmt.Sprintf("*/%d * * * *", minutes), nil
	case minutes == 60:
		return "0 * * * *", nil
	case minutes%60 == 0 && minutes < 24*60 && 24*60%minutes == 0:
		return fmt.Sprintf("0 */%d * * *", minutes/60), nil
	case minutes == 24*60:
		return "0 0 * * *", nil
	case minutes == 7*24*60:
		return "0 0 * * 0", nil
	}
	return "", fmt.Errorf("an interval of %s %w", d, errNoCron)
}

// fromCron adapts five fields of crontab(5) to what Kubernetes reads: Sunday is
// 0 there and never 7.
func fromCron(schedule string) (string, error) {
	f := strings.Fields(schedule)
	if len(f) != 5 {
		return "", fmt.Errorf("%q has no five fields", schedule)
	}
	var days []string
	for part := range strings.SplitSeq(f[4], ",") {
		body, step, stepped := strings.Cut(part, "/")
		from, to, ranged := strings.Cut(body, "-")
		switch {
		case body == "7":
			part = "0"
		case ranged && (to == "7" || strings.EqualFold(to, "sun")) && from != "0" && !stepped:
			a, err := strconv.Atoi(from)
			if err != nil {
				if a, err = dayNumber(strings.ToLower(from)); err != nil {
					return "", fmt.Errorf("%q: %w", schedule, err)
				}
			}
			part = "0"
			if a > 0 && a < 7 {
				part = fmt.Sprintf("%d-6,0", a)
			}
		case ranged && to == "7" && !stepped:
			part = "*"
		case stepped && ranged && to == "7":
			part = fmt.Sprintf("%s-6/%s", from, step)
		}
		days = append(days, part)
	}
	f[4] = strings.Join(days, ",")
	return strings.Join(f, " "), nil
}

// timeSpan reads a time span of systemd.time(7): "5min 20s", "90" (seconds),
// "infinity" (a negative one).
func timeSpan(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if s == "infinity" {
		return -1, nil
	}
	units := map[string]time.Duration{
		"": time.Second, "s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
		"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
		"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
		"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
		"w": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour, "weeks": 7 * 24 * time.Hour,
		"ms": time.Millisecond, "msec": time.Millisecond, "us": time.Microsecond, "usec": time.Microsecond,
	}
	var total time.Duration
	for rest := s; rest != ""; rest = strings.TrimSpace(rest) {
		n := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if n < 0 {
			n = len(rest)
		}
		value, err := strconv.ParseFloat(rest[:n], 64)
		if err != nil {
			return 0, fmt.Errorf("time span %q: %w", s, errBadSpan)
		}
		rest = strings.TrimSpace(rest[n:])
		n = strings.IndexFunc(rest, func(r rune) bool { return r < 'a' || r > 'z' })
		if n < 0 {
			n = len(rest)
		}
		unit, ok := units[rest[:n]]
		if !ok || value > 1e7 {
			return 0, fmt.Errorf("time span %q: %w", s, errBadSpan)
		}
		total += time.Duration(value * float64(unit))
		rest = rest[n:]
		if rest != "" && n == 0 && !strings.HasPrefix(rest, " ") {
			if rest[0] < '0' || rest[0] > '9' {
				return 0, fmt.Errorf("time span %q: %w", s, errBadSpan)
			}
		}
	}
	if s == "" {
		return 0, fmt.Errorf("time span: %w", errBadSpan)
	}
	return total, nil
}

var errBadSpan = errors.New("is not of systemd.time(7)")
