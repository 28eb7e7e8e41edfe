package profile

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

func (p Profile) fault(line strictyaml.Line, format string, args ...any) error {
	return &strictyaml.Error{File: p.File, Line: max(int(line), 1), Text: fmt.Sprintf(format, args...)}
}

// validate finds what a well-formed file can still get wrong.
func (p Profile) validate() error {
	var faults []error
	check := func(line strictyaml.Line, err error) {
		if err != nil {
			faults = append(faults, p.fault(line, "%s", err))
		}
	}
	if p.Name != strings.TrimSuffix(p.File, ".yaml") {
		check(p.Line, fmt.Errorf("name is %q in a file of another name", p.Name))
	}
	if p.Title == "" {
		check(p.Line, errors.New("title is missing"))
	}
	for _, list := range [][]string{p.Recognise.Units, p.Recognise.Packages} {
		for _, pattern := range list {
			_, err := path.Match(pattern, "")
			check(p.Line, err)
		}
	}
	for _, s := range p.Settings {
		if !slices.Contains(Formats(), s.Format) {
			check(p.Line, fmt.Errorf("unknown format %q (one of %v)", s.Format, Formats()))
		}
		check(p.Line, checkPaths(s.Files))
	}
	check(p.Line, errors.Join(checkPaths(p.Recognise.Files), checkPaths(p.Recognise.Programs), checkPaths(p.Config),
		checkPaths(p.Secrets.Files), checkPaths(p.Rewrites)))
	for _, c := range p.Paths {
		check(c.Line, c.validate())
	}
	check(p.Line, p.Run.validate())
	check(p.Line, p.Network.validate())
	check(p.Line, errors.Join(p.Data.Quiesce.validate(), p.Data.Store.validate(), p.Data.Backup.validate()))
	if w := p.Data.Writers; w != "" && w != "one" && w != "many" {
		check(p.Line, fmt.Errorf("data.writers is %q (one or many)", w))
	}
	if s := p.Data.School; s != "" && !slices.Contains([]handoff.School{handoff.InCluster, handoff.Outside, handoff.Refactor, handoff.KeepOut}, s) {
		check(p.Line, fmt.Errorf("unknown data.school %q", s))
	}
	return errors.Join(faults...)
}

func (c Path) validate() error {
	switch {
	case (c.Path == "") == (c.Setting == ""):
		return errors.New("exactly one of path and setting must be given")
	case c.Class == "":
		return errors.New("class is missing")
	case c.Reason == "":
		return errors.New("reason is missing")
	case c.Default != "" && c.Setting == "":
		return errors.New("default is for a setting")
	case c.Code && c.Class != claim.Image && c.Class != claim.Volume:
		return errors.New("code trees are image or volume where evidence lacks")
	}
	if _, err := claim.ParseCondition(c.When); err != nil {
		return err
	}
	paths := slices.Clone(c.Unless)
	for _, s := range []string{c.Path, c.Default} {
		if s != "" {
			paths = append(paths, s)
		}
	}
	return errors.Join(checkPaths(paths), checkReach(c.Reach), checkConfidence(c.Confidence), checkExpanded(c.Reach, c.Path))
}

func (r Run) validate() error {
	var faults []error
	if r.Logs != "" && r.Logs != "stdout" && r.Logs != "link" {
		faults = append(faults, fmt.Errorf("run.logs is %q (stdout or link)", r.Logs))
	}
	for from, to := range r.LogLinks {
		if to != "/dev/stdout" && to != "/dev/stderr" {
			faults = append(faults, fmt.Errorf("run.logLinks: %s leads to %q", from, to))
		}
		if !strings.HasPrefix(from, "setting:") {
			faults = append(faults, checkPaths([]string{from}))
		}
	}
	for _, d := range r.Runtime {
		faults = append(faults, checkPaths([]string{d.Path}))
		if _, err := strconv.ParseUint(d.Mode, 8, 12); d.Mode != "" && err != nil {
			faults = append(faults, fmt.Errorf("run.runtime: mode %q is not octal", d.Mode))
		}
	}
	for _, c := range r.Capabilities {
		if strings.HasPrefix(c, "CAP_") || strings.ToUpper(c) != c {
			faults = append(faults, fmt.Errorf("run.capabilities: %q (as Kubernetes names them: NET_BIND_SERVICE)", c))
		}
	}
	for _, p := range r.Ports {
		if p.Number < 1 || p.Number > 65535 || p.Protocol != "TCP" && p.Protocol != "UDP" || p.Name == "" || len(p.Name) > 15 {
			faults = append(faults, fmt.Errorf("run.ports: %+v wants a name of at most 15 characters, a number and TCP or UDP", p))
		}
	}
	if r.SharedMemory != 0 && r.SharedMemory < 1<<20 {
		faults = append(faults, fmt.Errorf("run.sharedMemory is %d bytes (at least 1048576)", r.SharedMemory))
	}
	if r.StopSignal != "" && !strings.HasPrefix(r.StopSignal, "SIG") {
		faults = append(faults, fmt.Errorf("run.stopSignal is %q (SIGTERM)", r.StopSignal))
	}
	return errors.Join(faults...)
}

func (f rulesFile) validate(file string) error {
	var faults []error
	names := map[string]bool{}
	fault := func(line strictyaml.Line, err error) {
		if err != nil {
			faults = append(faults, &strictyaml.Error{File: file, Line: max(int(line), 1), Text: err.Error()})
		}
	}
	name := func(line strictyaml.Line, n, reason string) {
		switch {
		case n == "":
			fault(line, errors.New("name is missing"))
		case names[n]:
			fault(line, fmt.Errorf("a second rule %q", n))
		case reason == "":
			fault(line, errors.New("reason is missing"))
		}
		names[n] = true
	}
	for _, r := range f.Paths {
		name(r.Line, r.Name, r.Reason)
		if _, known := levels[first(r.Authority, f.Authority)]; !known {
			fault(r.Line, fmt.Errorf("authority is %q (default, package, host or safety)", first(r.Authority, f.Authority)))
		}
		if r.Class == "" || len(r.Paths) == 0 {
			fault(r.Line, errors.New("class and paths are wanted"))
		}
		for _, p := range r.Paths {
			fault(r.Line, checkExpanded(r.Reach, p))
		}
		_, err := claim.ParseCondition(r.When)
		fault(r.Line, errors.Join(err, checkPaths(r.Paths), checkReach(r.Reach), checkConfidence(r.Confidence)))
	}
	for _, r := range f.Units {
		name(r.Line, r.Name, r.Reason)
		if len(r.Units)+len(r.Jobs) == 0 {
			fault(r.Line, errors.New("units or jobs are wanted"))
		}
		for _, pattern := range slices.Concat(r.Units, r.Jobs) {
			_, err := path.Match(pattern, "")
			fault(r.Line, err)
		}
	}
	return errors.Join(faults...)
}

func checkPaths(paths []string) error {
	for _, p := range paths {
		if !strings.HasPrefix(p, "/") || string(hostpath.Clean(p)) != p {
			return fmt.Errorf("%q is no clean absolute path", p)
		}
		if err := claim.CheckGlob(hostpath.Path(p)); err != nil {
			return err
		}
	}
	return nil
}

// checkExpanded is about trees named by a pattern: each directory that matches is
// one, and ** would find them in one another.
func checkExpanded(reach claim.Reach, p string) error {
	if (reach == "" || reach == claim.Tree) && strings.Contains(p, "**") {
		return fmt.Errorf("%q: ** is for reach: glob", p)
	}
	return nil
}

func checkReach(r claim.Reach) error {
	switch r {
	case "", claim.Exact, claim.Tree, claim.Glob, claim.Every:
		return nil
	}
	return fmt.Errorf("unknown reach %q (exact, tree, glob, every)", r)
}

func checkConfidence(c claim.Confidence) error {
	switch c {
	case "", claim.High, claim.Medium, claim.Low:
		return nil
	}
	return fmt.Errorf("unknown confidence %q (high, medium, low)", c)
}
