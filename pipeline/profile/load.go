package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/strictyaml"
)

// Load reads every *.yaml directly in fsys, in the order of their names. All
// faults of all files are in the error, each with file and line.
func Load(fsys fs.FS) ([]Profile, error) {
	var out []Profile
	err := each(fsys, func(file string, data []byte) error {
		p := Profile{File: file}
		if err := strictyaml.Decode(file, data, &p); err != nil {
			return err
		}
		if err := p.validate(); err != nil {
			return err
		}
		out = append(out, p)
		return nil
	})
	if err == nil {
		err = references(out)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// rulesFile is one file under templates/rules.
type rulesFile struct {
	Authority string     `json:"authority,omitempty"` // of rules that name none
	When      string     `json:"when,omitempty"`      // likewise
	Paths     []Rule     `json:"paths,omitempty"`
	Units     []UnitRule `json:"units,omitempty"`
}

// LoadRules reads every *.yaml directly in fsys.
func LoadRules(fsys fs.FS) (Rules, error) {
	var out Rules
	err := each(fsys, func(file string, data []byte) error {
		var f rulesFile
		if err := strictyaml.Decode(file, data, &f); err != nil {
			return err
		}
		if err := f.validate(file); err != nil {
			return err
		}
		name := strings.TrimSuffix(file, ".yaml")
		for _, r := range f.Paths {
			r.File = name
			r.Authority = first(r.Authority, f.Authority)
			r.When = first(r.When, f.When)
			out.Paths = append(out.Paths, r)
		}
		for _, r := range f.Units {
			r.File = name
			out.Units = append(out.Units, r)
		}
		return nil
	})
	if err != nil {
		return Rules{}, err
	}
	return out, nil
}

func each(fsys fs.FS, read func(file string, data []byte) error) error {
	list, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	var faults []error
	for _, f := range list {
		if f.IsDir() || path.Ext(f.Name()) != ".yaml" {
			continue
		}
		data, err := readLimited(fsys, f.Name())
		if err == nil {
			err = read(f.Name(), data)
		}
		if err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func readLimited(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	if info.Size() > strictyaml.MaxSize || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("profiles: %s is not a file of at most %d bytes", name, strictyaml.MaxSize)
	}
	return fs.ReadFile(fsys, name)
}

// references checks that profiles name profiles that exist, each name once.
func references(profiles []Profile) error {
	names := map[string]bool{}
	for _, p := range profiles {
		names[p.Name] = true
	}
	var faults []error
	for _, p := range profiles {
		var servers []string
		for _, r := range p.Network.Reaches {
			servers = append(servers, r.Server)
		}
		for _, n := range slices.Concat(p.Run.PartOf, p.Run.Uses, servers) {
			if !names[n] {
				faults = append(faults, p.fault(p.Line, "there is no profile %q", n))
			}
		}
	}
	return errors.Join(faults...)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
