package sysv

import (
	"strings"

	"github.com/statelift/statelift/pipeline/credential"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/shellwords"
)

// read makes the fact of one script; the caller adds name and run levels.
func read(r *rootfs.Root, p hostpath.Path, text string) facts.Script {
	s := facts.Script{Path: p}
	header(text, &s)
	sh := follow(r, p, text)
	s.Reads = sh.reads
	s.Paths = sh.paths()
	for _, words := range sh.calls {
		if c := sh.call(words); c.complete() {
			c.fill(&s)
			break
		}
	}
	sh.fallback(&s)
	s.Args = credential.RedactCommand(s.Args)
	return s
}

// paths are the variables whose value is one absolute path.
func (sh *shell) paths() map[string]hostpath.Path {
	out := map[string]hostpath.Path{}
	for name, v := range sh.Vars {
		if name == "0" || len(v) < 2 || v[0] != '/' || strings.ContainsAny(v, "$`*?:;|\n\"' \t") {
			continue
		}
		out[name] = hostpath.Clean(v)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// fallback fills from variables with usual names what no call said.
func (sh *shell) fallback(s *facts.Script) {
	path := func(to *hostpath.Path, names ...string) {
		for _, n := range names {
			if p, ok := s.Paths[n]; ok && *to == "" {
				*to = p
			}
		}
	}
	path(&s.Daemon, "DAEMON", "daemon", "exec", "EXEC", "BIN", "PROG", "prog", "BINARY", "COMMAND")
	path(&s.PIDFile, "PIDFILE", "pidfile", "PID_FILE", "PID", "PIDPATH")
	for _, n := range []string{"DAEMON_ARGS", "DAEMON_OPTS", "OPTIONS", "OPTS", "ARGS", "DAEMONOPTS", "EXTRA_OPTS"} {
		if v := sh.Vars[n]; s.Args == "" && v != "" {
			s.Args = v
		}
	}
	for _, n := range []string{"DAEMON_USER", "DAEMONUSER", "USER", "RUNAS", "RUN_AS", "RUNASUSER", "RUN_AS_USER", "SERVICE_USER"} {
		if v := sh.Vars[n]; s.User == "" && v != "" && !strings.ContainsAny(v, "$` ") {
			s.User, _, _ = strings.Cut(v, ":")
		}
	}
}

// call is what one command says about the service that it starts.
type call struct {
	daemon, user, pidFile string
	args                  []string
}

func (c call) complete() bool {
	return strings.HasPrefix(c.daemon, "/") && !strings.Contains(c.daemon, "$")
}

func (c call) fill(s *facts.Script) {
	s.Daemon = hostpath.Clean(c.daemon)
	s.User, _, _ = strings.Cut(c.user, ":")
	if strings.Contains(s.User, "$") {
		s.User = ""
	}
	if strings.HasPrefix(c.pidFile, "/") && !strings.Contains(c.pidFile, "$") {
		s.PIDFile = hostpath.Clean(c.pidFile)
	}
	quoted := make([]string, len(c.args))
	for i, a := range c.args {
		quoted[i] = quote(a)
	}
	s.Args = strings.Join(quoted, " ")
}

func quote(word string) string {
	if word != "" && !strings.ContainsAny(word, " \t\n\"'\\;&|<>()") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// call expands the words of a command and reads its options.
func (sh *shell) call(words []shellwords.Word) call {
	var list []string
	for _, w := range words {
		if w.Operator {
			break
		}
		text := sh.Expand(w)
		if !w.Quoted && text != w.Text { // an expansion outside of quotes is split
			list = append(list, strings.Fields(text)...)
			continue
		}
		list = append(list, text)
	}
	switch name := list[0][strings.LastIndexByte(list[0], '/')+1:]; name {
	case "start-stop-daemon":
		return startStopDaemon(list[1:])
	case "su", "runuser", "sudo":
		return switchUser(name, list[1:])
	}
	return lsbDaemon(list[1:])
}

// startStopDaemon reads the options of start-stop-daemon(8).
func startStopDaemon(args []string) call {
	var c call
	start := false
	for i := 0; i < len(args); i++ {
		option, value, attached := strings.Cut(args[i], "=")
		if !strings.HasPrefix(option, "--") {
			option, attached = args[i], false
		}
		next := func() string {
			if attached {
				return value
			}
			if i+1 < len(args) {
				i++
				return args[i]
			}
			return ""
		}
		switch option {
		case "--start", "-S":
			start = true
		case "--test", "-t", "--stop", "-K", "--status", "-T":
			return call{}
		case "--exec", "-x":
			if v := next(); c.daemon == "" {
				c.daemon = v
			}
		case "--startas", "-a":
			c.daemon = next()
		case "--pidfile", "-p":
			c.pidFile = next()
		case "--chuid", "-c":
			c.user = next()
		case "--user", "-u":
			if v := next(); c.user == "" {
				c.user = v
			}
		case "--name", "-n", "--group", "-g", "--signal", "-s", "--chroot", "-r", "--chdir", "-d", "--nicelevel", "-N",
			"--procsched", "-P", "--iosched", "-I", "--umask", "-k", "--ppid", "--notify-timeout", "--output", "-O", "--retry", "-R":
			next()
		case "--":
			c.args = args[i+1:]
			i = len(args)
		default:
			start = start || len(option) > 1 && option[0] == '-' && option[1] != '-' && strings.Contains(option, "S")
		}
	}
	if !start {
		return call{}
	}
	return c
}

// lsbDaemon reads "daemon" of Red Hat's functions and start_daemon of LSB:
// options, then the program and its arguments.
func lsbDaemon(args []string) call {
	var c call
	for i := 0; i < len(args); i++ {
		option, value, attached := strings.Cut(args[i], "=")
		next := func() string {
			if !attached && i+1 < len(args) {
				i++
				value = args[i]
			}
			return value
		}
		switch {
		case option == "--user" || option == "-u":
			c.user = next()
		case option == "--pidfile" || option == "-p":
			c.pidFile = next()
		case option == "--check" || option == "-n":
			next()
		case strings.HasPrefix(args[i], "-"), strings.HasPrefix(args[i], "+"):
		default:
			words := strings.Fields(args[i]) // the program may come with its arguments in one word
			if len(words) == 0 {
				return call{}
			}
			c.daemon, c.args = words[0], append(words[1:], args[i+1:]...)
			return c
		}
	}
	return call{}
}

// switchUser reads su - USER -c "COMMAND", runuser -u USER -- COMMAND and
// sudo -u USER COMMAND.
func switchUser(name string, args []string) call {
	var c call
	for i := 0; i < len(args); i++ {
		switch a := args[i]; {
		case (a == "-c" || a == "--command") && i+1 < len(args) && name != "sudo":
			words, err := shellwords.Shell(args[i+1])
			if err != nil {
				return call{}
			}
			c.command(words)
			i++
		case (a == "-u" || a == "--user") && i+1 < len(args):
			i++
			c.user = args[i]
		case (a == "-s" || a == "--shell" || a == "-g") && i+1 < len(args):
			i++
		case a == "--" || strings.HasPrefix(a, "-"):
		case c.user == "" && name != "sudo":
			c.user = a
		case c.daemon == "":
			c.daemon, c.args = a, args[i+1:]
			return c
		}
	}
	return c
}

// command takes the first program of a command line.
func (c *call) command(words []shellwords.Word) {
	for _, w := range words {
		switch {
		case w.Operator && c.daemon != "":
			return
		case w.Operator, w.Text == "exec", w.Text == "nohup", w.Text == "cd" && c.daemon == "":
			c.daemon, c.args = "", nil
		case c.daemon == "" && strings.HasPrefix(w.Text, "/"):
			c.daemon = w.Text
		case c.daemon != "":
			c.args = append(c.args, w.Text)
		}
	}
}
