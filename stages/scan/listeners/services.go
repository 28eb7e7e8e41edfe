package listeners

import (
	"context"
	"iter"
	"strings"

	"github.com/statelift/statelift/pipeline/envfile"
	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/pipeline/shellwords"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// maxEnvironment is far above any file of variables.
const maxEnvironment = 1 << 20

// ofServices reads command lines of services with the environment that the
// units give them, and those of init scripts.
func (d *deriver) ofServices(ctx context.Context, r *rootfs.Root, units []facts.Unit, scripts []facts.Script) error {
	for _, u := range units {
		if err := ctx.Err(); err != nil {
			return err
		}
		if u.Type != "service" || u.Masked || unitfile.Name(u.Name).IsTemplate() {
			continue
		}
		vars := environment(r, u)
		found := ofUnit(u, vars)
		if len(found) == 0 {
			found = ofVariables(unitfile.Name(u.Name).Prefix(), vars)
		}
		if len(found) == 0 {
			found = ofFiles(r, u, vars)
		}
		for _, l := range found {
			l.Unit = u.Name
			d.add(l)
		}
	}
	for _, s := range scripts {
		words, err := shellwords.Shell(s.Args)
		if err != nil {
			continue
		}
		args := []word{{text: string(s.Daemon)}}
		for _, w := range words {
			args = append(args, word{text: w.Text, from: facts.Source{Path: s.Path}})
		}
		for _, l := range ofCommand(args) {
			l.Unit = s.Name + ".service"
			d.add(l)
		}
	}
	return nil
}

// environment are the variables of a service, each with the line that set it.
func environment(r *rootfs.Root, u facts.Unit) map[string]word {
	out := map[string]word{}
	for _, v := range u.Values("Service", "Environment") {
		words, err := shellwords.Systemd(v.Value)
		if err != nil {
			continue
		}
		for _, w := range words {
			if name, value, ok := strings.Cut(w, "="); ok {
				out[name] = word{text: expand(value, u), from: v.Source}
			}
		}
	}
	for _, v := range u.Values("Service", "EnvironmentFile") {
		file := expand(strings.TrimPrefix(v.Value, "-"), u)
		if !strings.HasPrefix(file, "/") {
			continue
		}
		p, err := r.Resolve(hostpath.Clean(file))
		if err != nil {
			continue
		}
		data, err := r.ReadFile(p, maxEnvironment)
		if err != nil {
			continue
		}
		for _, a := range envfile.Parse(string(data)) {
			out[a.Name] = word{text: a.Value, from: facts.Source{Path: p, Line: a.Line}}
		}
	}
	return out
}

func expand(value string, u facts.Unit) string {
	text, err := unitfile.Expand(value, unitfile.Name(u.Name), string(u.Path), unitfile.Host{})
	if err != nil {
		return value
	}
	return text
}

// started yields the commands of the ExecStart= lines, and where each was read;
// what is no command line starts nothing.
func started(u facts.Unit) iter.Seq2[unitfile.Command, facts.Source] {
	return func(yield func(unitfile.Command, facts.Source) bool) {
		for _, v := range u.Values("Service", "ExecStart") {
			commands, err := unitfile.ParseExec(expand(v.Value, u))
			if err != nil {
				continue
			}
			for _, c := range commands {
				if !yield(c, v.Source) {
					return
				}
			}
		}
	}
}

// lookup finds variables as [unitfile.ExpandVariables] asks for them.
func lookup(vars map[string]word) func(name string) (string, bool) {
	return func(name string) (string, bool) { w, ok := vars[name]; return w.text, ok }
}

// ofUnit reads the ExecStart= lines.
func ofUnit(u facts.Unit, vars map[string]word) []facts.Listener {
	var out []facts.Listener
	for c, line := range started(u) {
		args := []word{{text: c.Path, from: line}}
		for i, a := range c.Args {
			if i == 0 {
				continue
			}
			from := source(a, vars, line)
			for _, text := range unitfile.ExpandVariables([]string{"", a}, lookup(vars))[1:] {
				args = append(args, word{text: text, from: from})
			}
		}
		out = append(out, ofCommand(args)...)
	}
	return out
}

// source is where the last variable of a word was set, or else the command
// line itself.
func source(arg string, vars map[string]word, line facts.Source) facts.Source {
	i := strings.LastIndexByte(arg, '$')
	if i < 0 {
		return line
	}
	name := strings.TrimPrefix(arg[i+1:], "{")
	name, _, _ = strings.Cut(name, "}")
	if w, ok := vars[name]; ok {
		return w.from
	}
	return line
}
