package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Driver is what is known of a storage driver.
type Driver struct {
	Driver string `json:"driver"` // for people
	// Provisioners are the names that StorageClasses give; * is any text.
	Provisioners []string `json:"provisioners"`
	Ability
	// When holds what parameters of the class change; the first that fits
	// replaces the Ability.
	When []Case          `json:"when,omitempty"`
	Line strictyaml.Line `json:"line,omitempty"`
}

// Ability is what volumes of a driver can do.
type Ability struct {
	Modes    []string `json:"modes"`              // of new volumes with a file system
	Source   string   `json:"source"`             // address of the documentation that says so
	NoOwners string   `json:"noOwners,omitempty"` // why files there cannot keep their owners
	Notes    []string `json:"notes,omitempty"`
}

// Case is an Ability of classes with a parameter.
type Case struct {
	Parameter string   `json:"parameter"`
	Values    []string `json:"values"` // * is any text, "" an absent parameter
	Ability
	Line strictyaml.Line `json:"line,omitempty"`
}

// LoadDrivers reads every *.yaml directly in fsys, in the order of their names.
// All faults of all files are in the error, each with file and line.
func LoadDrivers(fsys fs.FS) ([]Driver, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("storage drivers: %w", err)
	}
	var out []Driver
	var faults []error
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("storage drivers: %w", err)
		}
		var file struct {
			Drivers []Driver `json:"drivers"`
		}
		if err := strictyaml.Decode(name, data, &file); err != nil {
			faults = append(faults, err)
			continue
		}
		for _, d := range file.Drivers {
			faults = append(faults, d.check(name)...)
		}
		out = append(out, file.Drivers...)
	}
	return out, errors.Join(faults...)
}

// check finds what a table must not say.
func (d Driver) check(file string) (faults []error) {
	fault := func(line strictyaml.Line, format string, args ...any) {
		faults = append(faults, &strictyaml.Error{File: file, Line: int(line), Text: fmt.Sprintf("driver %q: ", d.Driver) + fmt.Sprintf(format, args...)})
	}
	if d.Driver == "" || len(d.Provisioners) == 0 {
		fault(d.Line, "driver and provisioners must be given")
	}
	for _, p := range d.Provisioners {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, `?[\`) {
			fault(d.Line, "provisioner %q: only * stands for any text", p)
		}
	}
	ability := func(line strictyaml.Line, a Ability) {
		if len(a.Modes) == 0 {
			fault(line, "modes must be given")
		}
		for _, m := range a.Modes {
			if !slices.Contains(AccessModes(), m) {
				fault(line, "there is no access mode %q", m)
			}
		}
		if !strings.HasPrefix(a.Source, "https://") {
			fault(line, "source must be the https address of documentation")
		}
	}
	ability(d.Line, d.Ability)
	for _, c := range d.When {
		if c.Parameter == "" || len(c.Values) == 0 {
			fault(c.Line, "parameter and values must be given")
		}
		ability(c.Line, c.Ability)
	}
	return faults
}

// AccessModes are all that Kubernetes has.
func AccessModes() []string {
	return []string{"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"}
}

// FindDriver looks a provisioner up. ok is false for one that no driver names.
func FindDriver(drivers []Driver, provisioner string, parameters map[string]string) (name string, a Ability, ok bool) {
	for _, d := range drivers {
		if !slices.ContainsFunc(d.Provisioners, func(p string) bool { return fits(p, provisioner) }) {
			continue
		}
		for _, c := range d.When {
			value := parameters[c.Parameter]
			if slices.ContainsFunc(c.Values, func(v string) bool { return fits(v, value) && (v == "") == (value == "") }) {
				return d.Driver, c.Ability, true
			}
		}
		return d.Driver, d.Ability, true
	}
	return "", Ability{}, false
}

// fits reports whether text is the pattern, in which * stands for any text.
func fits(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	for i := 0; i <= len(text); i++ {
		if fits(rest, text[i:]) {
			return true
		}
	}
	return false
}
