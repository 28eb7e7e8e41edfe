package profile

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/statelift/statelift/pipeline/claim"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// Network is what has to change when an application and those that reach it
// stand in Pods of their own: neither its socket nor loopback is common to them
// any more. In texts {host} is the name of the server's Service, {port} its
// port, and {server} is both, without a port that is the usual one.
type Network struct {
	// Listen are settings of a server that keep it to its own host.
	Listen []Change `json:"listen,omitempty"`
	// Args are put behind the server's command, where no file can be changed.
	Args []string `json:"args,omitempty"`
	// Accounts let clients in that the server knows from its own host only.
	Accounts Accounts `json:"accounts,omitzero"`
	// Programs are what its own client programs (mariadb-dump, psql) are told.
	Programs Programs `json:"programs,omitzero"`
	// Reaches are settings of this application that name a server.
	Reaches []Reach `json:"reaches,omitempty"`
	// External says how its data come into a server outside the cluster.
	External External `json:"external,omitzero"`
}

// External is a way to read the databases in a server's files.
type External struct {
	Engine string `json:"engine,omitempty"` // mariadb, postgresql: see package transfer
	// Command starts the server on a socket only, in the foreground: as in
	// Run.Command, and {dir} is a private directory, with the socket and what the
	// engine puts there.
	Command []string `json:"command,omitempty"`
}

// Change is one setting that gets another value where it names the host itself.
type Change struct {
	// Settings are globs of setting keys, see [MatchKey].
	Settings []string `json:"settings,omitempty"`
	// Files and Pattern are for files of which no settings are read: globs, and
	// a regular expression whose first group is the value. Either Settings or
	// both of these are given.
	Files   []string `json:"files,omitempty"`
	Pattern string   `json:"pattern,omitempty"`
	Value   string   `json:"value"`
	// Flag is for a setting that is switched on by its presence.
	Flag bool `json:"flag,omitempty"`
	// Absent is the line that is added where none of the settings is, since the
	// application then keeps to its host; behind the first line that begins with
	// After, or at the end.
	Absent string `json:"absent,omitempty"`
	After  string `json:"after,omitempty"`
	Why    string `json:"why"`
}

// Reach is a Change of a client.
type Reach struct {
	Server string `json:"server"` // profile
	Change
	// User is the glob of the setting that names the client's account.
	User string `json:"user,omitempty"`
}

// Accounts says how clients of other Pods are let in. In its texts {network} is
// from where: what the user answered, else Network.
type Accounts struct {
	Network string `json:"network,omitempty"`
	// Path is a file that is made, with Text for each account, which Args name to
	// the server as {file}. In Text {user}, {network} and {locals} (the host's
	// own names, with commas) are string literals of SQL.
	Path string   `json:"path,omitempty"`
	Text string   `json:"text,omitempty"`
	Args []string `json:"args,omitempty"`
	// Needs is a file without which Text would not work; {setting:…} as in
	// Run.Command.
	Needs string `json:"needs,omitempty"`
	// Unless is the glob of a setting that stands in the way of Args.
	Unless string `json:"unless,omitempty"`
	// Files and Pattern are for lists of who may come in: each line that matches
	// is followed by a copy with {network} in the place of the first group.
	Files   []string `json:"files,omitempty"`
	Pattern string   `json:"pattern,omitempty"`
	Why     string   `json:"why,omitempty"`
}

// Programs are the clients that come with a server. They know it by what
// variables and option files say.
type Programs struct {
	Env []handoff.Env `json:"env,omitempty"`
	// Options are the groups of option files (the format mysql) that the
	// programs read, and the options in them.
	Options Options `json:"options,omitzero"`
	// Passwords are in files of their own, by host.
	Passwords Passwords `json:"passwords,omitzero"`
}

// Passwords says what a file of passwords looks like.
type Passwords struct {
	Home string `json:"home,omitempty"` // the file in a user's home
	// Pattern is a regular expression for a line that holds for the host itself;
	// its first group is the host's name, its second one the port, if it has one.
	Pattern string `json:"pattern,omitempty"`
}

// Options is where a client program finds server and account.
type Options struct {
	Groups []string `json:"groups,omitempty"` // globs
	Host   string   `json:"host,omitempty"`
	User   string   `json:"user,omitempty"`
	// Home is the option file in a user's home.
	Home string `json:"home,omitempty"`
}

func (n Network) validate() error {
	var faults []error
	for _, c := range n.Listen {
		faults = append(faults, c.validate("network.listen"))
	}
	for _, r := range n.Reaches {
		faults = append(faults, r.validate("network.reaches"))
		if r.Server == "" {
			faults = append(faults, errors.New("network.reaches: server is missing"))
		}
	}
	a := n.Accounts
	if a.Path != "" {
		faults = append(faults, checkPaths([]string{a.Path}))
	}
	if (a.Path == "") != (a.Text == "") || (a.Path == "") != (len(a.Args) == 0) {
		faults = append(faults, errors.New("network.accounts: path, text and args belong together"))
	}
	if (a.Path != "" || a.Pattern != "") && (a.Network == "" || a.Why == "") {
		faults = append(faults, errors.New("network.accounts wants network and why"))
	}
	if (n.External.Engine == "") != (len(n.External.Command) == 0) {
		faults = append(faults, errors.New("network.external: engine and command belong together"))
	}
	if w := n.Programs.Passwords; w != (Passwords{}) {
		faults = append(faults, checkPattern("network.programs.passwords", []string{"/" + w.Home}, w.Pattern))
	}
	return errors.Join(append(faults, checkPattern("network.accounts", a.Files, a.Pattern))...)
}

func (c Change) validate(where string) error {
	switch {
	case (len(c.Settings) == 0) == (c.Pattern == ""):
		return fmt.Errorf("%s: exactly one of settings and pattern must be given", where)
	case c.Value == "" || c.Why == "":
		return fmt.Errorf("%s: value and why are wanted", where)
	case c.Absent != "" && strings.Contains(c.Absent, "\n"):
		return fmt.Errorf("%s: absent is one line", where)
	case c.Absent == "" && c.After != "":
		return fmt.Errorf("%s: after is for absent", where)
	}
	return checkPattern(where, c.Files, c.Pattern)
}

func checkPattern(where string, files []string, pattern string) error {
	if (pattern == "") != (len(files) == 0) {
		return fmt.Errorf("%s: files and pattern belong together", where)
	}
	if pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	if re.NumSubexp() < 1 {
		return fmt.Errorf("%s: the pattern has no group", where)
	}
	return checkPaths(files)
}

// Opens reports whether the profile knows how its server is reached from
// elsewhere.
func (n Network) Opens() bool { return len(n.Listen) > 0 || len(n.Args) > 0 }

// In reports whether one of the globs matches the path.
func In(globs []string, path hostpath.Path) bool {
	for _, g := range globs {
		if claim.MatchGlob(hostpath.Path(g), path) {
			return true
		}
	}
	return false
}
