package decisions

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline"
	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/kubename"
	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Load reads the file at name; a file that is not there decides nothing. What is
// wrong with it is a *pipeline.InputError that names every line at fault.
func Load(name string) (Decisions, error) {
	file := filepath.Base(name)
	f, err := os.Open(name)
	if errors.Is(err, os.ErrNotExist) {
		return Decisions{File: file}, nil
	}
	if err != nil {
		return Decisions{}, &pipeline.InputError{What: file, Err: err}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1))
	if err != nil {
		return Decisions{}, &pipeline.InputError{What: file, Err: err}
	}
	d, err := Parse(file, data)
	if err != nil {
		return Decisions{}, &pipeline.InputError{What: "your decisions", Err: err}
	}
	return d, nil
}

// Parse reads the content of a file that errors and evidence call file.
func Parse(file string, data []byte) (Decisions, error) {
	d := Decisions{}
	if err := strictyaml.Decode(file, data, &d); err != nil {
		return Decisions{}, err
	}
	d.File = file
	c := checker{file: file}
	c.names(d)
	c.paths(d)
	c.units(d)
	c.workloads(d)
	c.volumes(d)
	c.images(d)
	c.smoke(d)
	if err := errors.Join(c.faults...); err != nil {
		return Decisions{}, err
	}
	return d, nil
}

// checker finds contradictions and values that no host could make right.
type checker struct {
	file   string
	faults []error
}

func (c *checker) fault(line strictyaml.Line, format string, args ...any) {
	c.faults = append(c.faults, &strictyaml.Error{File: c.file, Line: max(int(line), 1), Text: fmt.Sprintf(format, args...)})
}

func (c *checker) names(d Decisions) {
	for key, value := range map[string]string{"name": d.Name, "namespace": d.Namespace} {
		if value != "" && value != kubename.Label(value, kubename.MaxLabel) {
			c.fault(1, "%s %q is no DNS label (a-z, 0-9 and -)", key, value)
		}
	}
	slices.SortFunc(c.faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	for _, off := range d.Profiles.Off {
		for unit, use := range d.Profiles.Use {
			if use == off {
				c.fault(d.Profiles.Line, "profile %q is off, and used for %s", off, unit)
			}
		}
	}
}

func (c *checker) paths(d Decisions) {
	type key struct {
		path  hostpath.Path
		reach claim.Reach
	}
	seen := map[key]Path{}
	for _, p := range d.Paths {
		reach := p.Reaches()
		switch {
		case p.Path == "":
			c.fault(p.Line, "path is missing")
			continue
		case p.Class == "":
			c.fault(p.Line, "class is missing for %s", p.Path)
		case p.Class == claim.Unreadable:
			c.fault(p.Line, "%s: what can be read is not unreadable (to do without a path that cannot, see accept)", p.Path)
		case reach != claim.Exact && reach != claim.Tree && reach != claim.Glob:
			c.fault(p.Line, "unknown reach %q (exact, tree, glob)", p.Reach)
		case p.Path == hostpath.Root && reach == claim.Tree:
			c.fault(p.Line, "/ with everything below it cannot be of one class")
		}
		if reach == claim.Glob {
			if err := claim.CheckGlob(p.Path); err != nil {
				c.fault(p.Line, "%s", err)
			}
		}
		k := key{p.Path, reach}
		if first, twice := seen[k]; twice {
			if first.Class == p.Class {
				c.fault(p.Line, "%s is given twice, first in line %d", p.Path, first.Line)
			} else {
				c.fault(p.Line, "%s is %s here and %s in line %d", p.Path, p.Class, first.Class, first.Line)
			}
			continue
		}
		seen[k] = p
	}
	accepted := map[hostpath.Path]strictyaml.Line{}
	for _, a := range d.Accept {
		if a.Path == "" || a.Path == hostpath.Root {
			c.fault(a.Line, "accept wants a path below /")
		}
		if line, twice := accepted[a.Path]; twice {
			c.fault(a.Line, "%s is accepted twice, first in line %d", a.Path, line)
		}
		accepted[a.Path] = a.Line
	}
}

func (c *checker) units(d Decisions) {
	seen := map[string]Unit{}
	for _, u := range d.Units {
		switch {
		case u.Unit == "":
			c.fault(u.Line, "unit is missing")
			continue
		case u.LeaveOut == u.Keep:
			c.fault(u.Line, "%s: exactly one of leaveOut: true and keep: true", u.Unit)
		}
		if first, twice := seen[u.Unit]; twice {
			c.fault(u.Line, "unit %s is given twice, first in line %d", u.Unit, first.Line)
		}
		seen[u.Unit] = u
	}
}

func (c *checker) workloads(d Decisions) {
	names, units := map[string]strictyaml.Line{}, map[string]Workload{}
	left := map[string]bool{}
	for _, u := range d.Units {
		left[u.Unit] = u.LeaveOut
	}
	for _, w := range d.Workloads {
		switch {
		case w.Name == "":
			c.fault(w.Line, "a workload wants a name")
		case w.Name != kubename.Label(w.Name, kubename.MaxLabel):
			c.fault(w.Line, "workload %q is no DNS label (a-z, 0-9 and -)", w.Name)
		case w.Together && w.Split:
			c.fault(w.Line, "workload %s is together and split", w.Name)
		case w.Kind != "" && !slices.Contains([]string{"StatefulSet", "Deployment"}, w.Kind):
			c.fault(w.Line, "unknown kind %q (StatefulSet, Deployment; what a timer or cron starts is a CronJob)", w.Kind)
		case w.Replicas != nil && *w.Replicas < 0:
			c.fault(w.Line, "workload %s cannot have %d replicas", w.Name, *w.Replicas)
		}
		if line, twice := names[w.Name]; twice {
			c.fault(w.Line, "workload %s is given twice, first in line %d", w.Name, line)
		}
		c.externalize(w)
		names[w.Name] = w.Line
		for _, u := range w.Units {
			if other, twice := units[u]; twice {
				c.fault(w.Line, "unit %s is in workload %s here and in %s in line %d", u, w.Name, other.Name, other.Line)
			}
			if left[u] {
				c.fault(w.Line, "unit %s is left out, and in workload %s", u, w.Name)
			}
			units[u] = w
		}
	}
}

func (c *checker) volumes(d Decisions) {
	seen, names := map[hostpath.Path]strictyaml.Line{}, map[string]strictyaml.Line{}
	for _, v := range d.Volumes {
		switch {
		case v.Path == "" || v.Path == hostpath.Root:
			c.fault(v.Line, "a volume wants a path below /")
		case v.Name != "" && v.Name != kubename.Label(v.Name, kubename.MaxLabel):
			c.fault(v.Line, "volume %q is no DNS label (a-z, 0-9 and -)", v.Name)
		case v.AccessMode != "" && !slices.Contains([]string{"ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany", "ReadOnlyMany"}, v.AccessMode):
			c.fault(v.Line, "unknown accessMode %q", v.AccessMode)
		case v.Headroom < 0 || v.Headroom > 100 || v.Headroom != v.Headroom:
			c.fault(v.Line, "headroom %v is not between 0 and 100", v.Headroom)
		case v.Consistent != "" && v.Consistent != "snapshot":
			c.fault(v.Line, "unknown consistent %q (snapshot)", v.Consistent)
		case v.Size > 0 && v.Headroom > 0:
			c.fault(v.Line, "size and headroom contradict each other")
		}
		if line, twice := seen[v.Path]; twice {
			c.fault(v.Line, "volume %s is given twice, first in line %d", v.Path, line)
		}
		if line, twice := names[v.Name]; twice && v.Name != "" {
			c.fault(v.Line, "volume name %s is given twice, first in line %d", v.Name, line)
		}
		seen[v.Path], names[v.Name] = v.Line, v.Line
		for _, p := range d.Paths {
			if p.Path == v.Path && p.Reaches() == claim.Tree && p.Class != claim.Volume {
				c.fault(v.Line, "%s is a volume here and %s in line %d", v.Path, p.Class, p.Line)
			}
		}
	}
}
