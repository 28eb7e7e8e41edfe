package cron

import (
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/hostpath"
)

// parseLine reads one line of a table (crontab(5)). It is nil for a comment, an
// empty line, and an assignment, which it adds to env.
func parseLine(line string, kind place, env map[string]string) (_ *job, fault string) {
	line = strings.TrimLeft(line, " \t")
	if line == "" || line[0] == '#' {
		return nil, ""
	}
	if name, value, ok := assignment(line); ok {
		env[name] = value
		return nil, ""
	}
	if strings.ContainsRune(line, 0) {
		return nil, "a NUL byte"
	}
	if kind == anacron {
		return parseAnacron(line, env)
	}
	// A hyphen tells some crons not to log the job.
	schedule, rest, fault := parseSchedule(strings.TrimPrefix(line, "-"))
	if fault != "" {
		return nil, fault
	}
	j := &job{schedule: schedule, env: maps.Clone(env)}
	if kind == system {
		if j.user, rest = word(rest); rest == "" {
			return nil, "no user or no command"
		}
	}
	if rest == "" {
		return nil, "no command"
	}
	j.command, j.input = splitInput(strings.TrimRight(rest, " \t"))
	return j, ""
}

// assignment reads NAME = value, where blanks around the sign do not count and
// quotes keep those at the ends of name and value.
func assignment(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, "=")
	if !ok {
		return "", "", false
	}
	name, value = unquote(strings.TrimSpace(name)), unquote(strings.TrimSpace(value))
	if name == "" || strings.ContainsAny(name, " \t*@") || name[0] >= '0' && name[0] <= '9' {
		return "", "", false
	}
	return name, value, true
}

func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		return s[1 : len(s)-1]
	}
	return s
}

// splitInput undoes what crontab(5) does with the percent sign: the first one
// ends the command and begins its standard input, the others are newlines, and
// one after a backslash is itself.
func splitInput(s string) (command, input string) {
	var parts []string
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '%':
			b.WriteByte('%')
			i++
		case s[i] == '%':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(s[i])
		}
	}
	parts = append(parts, b.String())
	command = strings.TrimRight(parts[0], " \t")
	if len(parts) > 1 {
		input = strings.Join(parts[1:], "\n") + "\n"
	}
	return command, input
}

var keywords = map[string]string{
	"@reboot": "@reboot", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
	"@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// parseSchedule takes the schedule off a line, in five fields or as @reboot.
func parseSchedule(line string) (schedule, rest, fault string) {
	if strings.HasPrefix(line, "@") {
		w, rest := word(line)
		schedule, ok := keywords[strings.ToLower(w)]
		if !ok {
			return "", "", "not a schedule: " + hostpath.Quote(w)
		}
		return schedule, rest, ""
	}
	var fields [5]string
	rest = line
	for i, limit := range limits {
		fields[i], rest = word(rest)
		if err := limit.check(fields[i]); err != nil {
			return "", "", fmt.Sprintf("not a schedule: %s %q: %v", limit.name, fields[i], err)
		}
	}
	return strings.Join(fields[:], " "), rest, ""
}

// limit is what one field may hold.
type limit struct {
	name     string
	min, max int
	names    []string // of the values from min on
}

var limits = [5]limit{
	{"minute", 0, 59, nil},
	{"hour", 0, 23, nil},
	{"day of month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// check reads a list of values, ranges and steps.
func (l limit) check(field string) error {
	if field == "" {
		return fmt.Errorf("missing")
	}
	for part := range strings.SplitSeq(field, ",") {
		span, step, stepped := strings.Cut(part, "/")
		if stepped {
			if n, err := strconv.Atoi(step); err != nil || n < 1 || n > l.max+1 {
				return fmt.Errorf("a step of %q", step)
			}
		}
		if span == "*" {
			continue
		}
		from, to, ranged := strings.Cut(span, "-")
		if !ranged {
			from, to, ranged = strings.Cut(span, "~") // cronie: some time in between
		}
		a, err := l.value(from)
		if err != nil {
			return err
		}
		if !ranged {
			continue
		}
		b, err := l.value(to)
		if err != nil {
			return err
		}
		if b < a && !(l.max == 7 && b == 0) {
			return fmt.Errorf("the range ends before it begins")
		}
	}
	return nil
}

func (l limit) value(s string) (int, error) {
	for i, name := range l.names {
		if strings.EqualFold(s, name) {
			return l.min + i, nil
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil || s[0] == '+' || s[0] == '-' {
		return 0, fmt.Errorf("not a number")
	}
	if n < l.min || n > l.max {
		return 0, fmt.Errorf("not in %d-%d", l.min, l.max)
	}
	return n, nil
}

// parseAnacron reads a line of anacrontab(5): a period in days or by name, a
// delay in minutes, a name, a command. The time of day is the first hour that
// anacron may start jobs at.
func parseAnacron(line string, env map[string]string) (_ *job, fault string) {
	period, rest := word(line)
	delay, rest := word(rest)
	name, rest := word(rest)
	if _, err := strconv.Atoi(delay); err != nil || name == "" || rest == "" {
		return nil, "not a line of anacrontab"
	}
	hour := "0"
	if from, _, ok := strings.Cut(env["START_HOURS_RANGE"], "-"); ok {
		if n, err := strconv.Atoi(strings.TrimSpace(from)); err == nil && n >= 0 && n <= 23 {
			hour = strconv.Itoa(n)
		}
	}
	j := &job{user: "root", env: maps.Clone(env), command: strings.TrimRight(rest, " \t")}
	switch period {
	case "1", "@daily":
		j.schedule = "0 " + hour + " * * *"
	case "7", "@weekly":
		j.schedule = "0 " + hour + " * * 0"
	case "30", "31", "@monthly":
		j.schedule = "0 " + hour + " 1 * *"
	case "@yearly", "@annually", "365", "366":
		j.schedule = "0 " + hour + " 1 1 *"
	default:
		n, err := strconv.Atoi(period)
		if err != nil || n < 1 || n > 31 {
			return nil, "not a period: " + hostpath.Quote(period)
		}
		j.schedule = fmt.Sprintf("0 %s */%d * *", hour, n)
	}
	return j, ""
}

// word takes the first word off a line.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}
