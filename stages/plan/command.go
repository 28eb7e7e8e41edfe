package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// describeUnit reads what systemd would run, and how it would stop it.
func (p *planner) describeUnit(s *service) {
	spec := p.specifiers(s)
	main, before := p.execStart(s, spec)
	switch {
	case s.profile != nil && len(s.profile.Run.Command) > 0:
		s.box.Command = p.profileCommand(s, main)
		s.socketOnly = p.fillCommand(s, main, s.profile.Network.External.Command)
	case len(main.Words) == 0:
		// The service was kept although it has no command.
		p.risk("high", s.id, "has no command that could be read", "give it one by a profile")
	default:
		s.box.Command = p.putVariables(s, main)
		s.box.Before = before
		if p.unitType(s.unit) == "forking" {
			s.box.Command = p.foreground(s, s.box.Command)
		}
	}
	if d, ok := s.unit.Last("Service", "WorkingDirectory"); ok {
		dir := strings.TrimPrefix(spec.expand(d.Value), "-")
		if dir == "~" {
			dir = spec['h']
		}
		if path, ok := pathOf(dir); ok {
			s.box.WorkDir = path
			s.mentions = append(s.mentions, mention{path: path, how: "WorkingDirectory=", Source: d.Source})
		}
	}
	if s.profile != nil {
		s.box.StopSignal = s.profile.Run.StopSignal
	}
	if d, ok := s.unit.Last("Service", "KillSignal"); ok && s.box.StopSignal == "" {
		s.box.StopSignal = signalName(d.Value)
	}
	if s.box.StopSignal == "SIGTERM" {
		s.box.StopSignal = "" // what Kubernetes sends anyway
	}
	for _, key := range []string{"TimeoutSec", "TimeoutStopSec"} {
		if d, ok := s.unit.Last("Service", key); ok {
			if span, err := timeSpan(d.Value); err == nil {
				s.grace = int64(span.Seconds())
				if span <= 0 { // infinity; Kubernetes wants a number
					s.grace = 3600
				}
				s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: key + "=" + d.Value})
			}
		}
	}
}

func signalName(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return s
	}
	return "SIG" + strings.TrimPrefix(s, "SIG")
}

// execStart reads the commands of the unit: the one that is the service, and
// those that run before it.
func (p *planner) execStart(s *service, spec specifiers) (main command, before [][]string) {
	for _, key := range []string{"ExecStartPre", "ExecStart"} {
		for _, d := range s.unit.Values("Service", key) {
			commands, err := parseCommands(d.Value, spec)
			if err != nil {
				p.risk("high", s.id, fmt.Sprintf("%s:%d: %s= cannot be read: %v", d.Path, d.Line, key, err), "correct the line on the host")
				continue
			}
			for _, c := range commands {
				for _, w := range c.Words {
					for _, path := range pathsIn(w) {
						s.mentions = append(s.mentions, mention{path: path, how: key + "=", Source: d.Source})
					}
				}
				if key == "ExecStart" {
					if len(main.Words) > 0 { // oneshot units run one after the other
						before = append(before, p.putVariables(s, main))
					}
					main = c
					s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: d.Path, Line: d.Line, Fact: "ExecStart="})
					continue
				}
				if slices.ContainsFunc(c.Words, func(w string) bool { return strings.Contains(w, "systemctl") }) {
					continue // speaks to the manager of the host
				}
				words := p.putVariables(s, c)
				if c.MayFail {
					words = append([]string{"/bin/sh", "-c", `"$@" || :`, "sh"}, words...)
				}
				before = append(before, words)
			}
		}
	}
	return main, before
}

func (p *planner) putVariables(s *service, c command) []string {
	if c.NoVariables {
		out := make([]string, len(c.Words))
		for i, w := range c.Words {
			out[i] = escapeArgument(w)
		}
		return out
	}
	words, unsplit := withVariables(c.Words, s.env.variables())
	for _, name := range unsplit {
		p.risk("high", s.id, fmt.Sprintf("the variable $%s holds a credential and several words, which systemd splits and Kubernetes does not", name), "give each word a variable of its own")
	}
	return words
}

// pathsIn are the absolute paths in a word: all of it, or what follows the last
// of = , : in it.
func pathsIn(word string) []hostpath.Path {
	var out []hostpath.Path
	for part := range strings.FieldsFuncSeq(word, func(r rune) bool { return strings.ContainsRune("=,: \t\n\"'();|&<>`", r) }) {
		if path, ok := pathOf(strings.TrimRight(part, ".")); ok {
			out = append(out, path)
		}
	}
	return out
}

// profileCommand fills in the profile's foreground command.
func (p *planner) profileCommand(s *service, main command) []string {
	if answer := p.answer(questionID("foreground", s.base())); answer != "" {
		return p.answeredCommand(s, answer)
	}
	return p.fillCommand(s, main, s.profile.Run.Command)
}

// fillCommand puts what the unit runs into a command of its profile.
func (p *planner) fillCommand(s *service, main command, words []string) []string {
	var program string
	var args []string
	if words := p.putVariables(s, main); len(words) > 0 {
		program, args = words[0], words[1:]
	}
	if inside := programInside(s.profile.Recognise.Programs, main.Words); inside != "" {
		program, args = inside, nil // the shell around it is what the profile replaces
	}
	var out []string
	for _, w := range words {
		switch w {
		case "{exec}":
			out = append(out, program)
			continue
		case "{args}":
			out = append(out, args...)
			continue
		}
		if w, ok := p.placeholders(s, strings.ReplaceAll(escapeArgument(w), "{exec}", program)); ok {
			out = append(out, w)
		}
	}
	return out
}

// programInside is the application's program within a shell command of
// ExecStart=, "" when that is no shell command.
func programInside(programs, words []string) string {
	if len(words) < 3 || words[1] != "-c" && words[1] != "-ec" || !strings.HasSuffix(words[0], "sh") {
		return ""
	}
	for _, path := range pathsInText(words[2]) {
		if slices.ContainsFunc(programs, func(g string) bool { return glob(g, string(path)) }) {
			return string(path)
		}
	}
	return ""
}

// placeholders fills in {user}, {unit} and {setting:KEY} or
// {setting:KEY|FALLBACK}. It is false for a setting that is nowhere set: an
// option without its value is no option.
func (p *planner) placeholders(s *service, w string) (string, bool) {
	w = strings.ReplaceAll(w, "{user}", firstOf(p.host.userByID(s.box.UID).Name, strconv.Itoa(int(s.box.UID))))
	w = strings.ReplaceAll(w, "{unit}", s.id)
	for {
		i := strings.Index(w, "{setting:")
		if i < 0 {
			return w, true
		}
		n := strings.IndexByte(w[i:], '}')
		if n < 0 {
			return w, true
		}
		key, fallback, hasFallback := strings.Cut(w[i+len("{setting:"):i+n], "|")
		value, ok := p.setting(s, key)
		if !ok && !hasFallback {
			return "", false
		}
		if !ok {
			value = fallback
		}
		w = w[:i] + escapeArgument(value) + w[i+n+1:]
	}
}

// setting is the last value of a setting of the service's profile that is no
// credential.
func (p *planner) setting(s *service, key string) (string, bool) {
	value, ok := "", false
	for _, v := range p.host.settings {
		if s.profile != nil && v.Profile == s.profile.Name && !v.Secret && profile.MatchKey(key, v.Key) {
			value, ok = v.Value, true
		}
	}
	return value, ok
}

func (p *planner) answeredCommand(s *service, answer string) []string {
	words, err := shellwords.Systemd(answer)
	if err != nil || len(words) == 0 {
		p.risk("high", s.id, fmt.Sprintf("the answer foreground-%s is no command: %v", s.base(), err), "correct it in statelift.yaml")
		return s.box.Command
	}
	return words
}

// wrapper runs a program that goes into the background, and stays as long as
// anything of it runs: the container's own process table tells. It passes the
// signal to stop on to all of them.
const wrapper = `trap 'kill -%s -1' TERM INT; "$@" || exit; while set -- /proc/[0-9]*; [ $# -gt 1 ]; do sleep 1 & wait $!; done`

// foreground is for a service that forks and for which no profile knows how to
// keep it in the foreground.
func (p *planner) foreground(s *service, words []string) []string {
	signal := "TERM"
	if d, ok := s.unit.Last("Service", "KillSignal"); ok {
		signal = strings.TrimPrefix(signalName(d.Value), "SIG")
	}
	q := handoff.Question{
		ID: questionID("foreground", s.base()), About: s.id,
		Text:    fmt.Sprintf("%s goes into the background by itself. Until you say how it runs in the foreground, a small shell loop stays in its place as long as it runs: its exit code and, unless it logs to standard output, its log are lost.", s.id),
		Choices: []string{"wrapper", "its command line in the foreground"}, Default: "wrapper",
	}
	answer := firstOf(p.answer(q.ID), q.Default)
	p.plan.Questions = append(p.plan.Questions, q)
	if answer != "wrapper" {
		return p.answeredCommand(s, answer)
	}
	return append([]string{"/bin/sh", "-c", fmt.Sprintf(wrapper, signal), "sh"}, words...)
}

func (p *planner) describeScript(s *service) {
	sc := s.script
	s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: sc.Path, Fact: "init script"})
	for _, variable := range sortedKeys(sc.Paths) {
		s.mentions = append(s.mentions, mention{path: sc.Paths[variable], writes: true, how: variable + "=", Source: facts.Source{Path: sc.Path}})
	}
	for _, path := range sc.Reads {
		s.mentions = append(s.mentions, mention{path: path, how: "sourced", Source: facts.Source{Path: sc.Path}})
	}
	if s.profile != nil && len(s.profile.Run.Command) > 0 {
		words, err := shellwords.Systemd(sc.Args)
		if err != nil {
			words = nil
		}
		s.box.Command = p.profileCommand(s, command{Words: append([]string{string(sc.Daemon)}, words...)})
		return
	}
	s.box.Command = p.foreground(s, []string{string(sc.Path), "start"})
}

func (p *planner) describeCron(s *service) {
	c := s.cron
	s.box.Evidence = append(s.box.Evidence, claim.Evidence{Path: c.Path, Line: c.Line, Fact: c.Schedule})
	s.box.WorkDir = hostpath.Path(firstOf(s.env.vars["HOME"].value, "/"))
	shell := firstOf(s.env.vars["SHELL"].value, "/bin/sh")
	if c.Line == 0 { // a script of cron.daily and the like, which run-parts runs
		s.box.Command = []string{string(c.Path)}
		s.box.WorkDir = "/"
		s.mentions = append(s.mentions, mention{path: c.Path, how: "the job itself", Source: c.Source})
	} else if c.Input == "" {
		s.box.Command = []string{shell, "-c", escapeArgument(c.Command)}
	} else {
		s.box.Command = []string{"/bin/sh", "-c", `printf '%s\n' "$2" | exec "$0" -c "$1"`, shell, escapeArgument(c.Command), escapeArgument(c.Input)}
	}
	for _, name := range programsIn(c.Command) {
		s.addProgram(name, c.Command, c.Source)
	}
	home := s.env.vars["HOME"].value
	for word := range strings.FieldsSeq(c.Command) {
		word = strings.ReplaceAll(strings.ReplaceAll(word, "${HOME}", home), "$HOME", home)
		if strings.HasPrefix(word, "~/") {
			word = home + word[1:]
		}
		_, redirect, _ := strings.Cut(word, ">")
		for _, path := range pathsIn(word) {
			s.mentions = append(s.mentions, mention{path: path, writes: strings.Contains(redirect, string(path)), how: "its command", Source: c.Source})
		}
	}
	if to, ok := c.Env["MAILTO"]; ok && to != "" {
		p.risk("low", s.id, "cron mailed what it printed to "+to+"; a CronJob's output is in the log of its Pod", "watch failed Jobs with the cluster's monitoring")
	}
}

// settingMentions are the paths that the configuration of the service's
// applications names.
func (p *planner) settingMentions(s *service) {
	for _, q := range s.profiles() {
		for _, v := range p.host.settings {
			if v.Profile != q.Name || v.Secret {
				continue
			}
			for _, path := range pathsIn(v.Value) {
				s.mentions = append(s.mentions, mention{path: path, how: v.Key, Source: v.Source})
			}
		}
	}
}

// capabilitiesOfRoot are kept by a service that starts as root and of which
// nothing more is known: what changing to another user and writing in its
// directories takes.
func capabilitiesOfRoot() []string {
	return []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}
}

func capabilityName(s string) string { return strings.TrimPrefix(strings.ToUpper(s), "CAP_") }
