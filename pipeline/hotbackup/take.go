package hotbackup

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statelift/statelift/pipeline/bytesize"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/profile"
	"github.com/statelift/statelift/pipeline/quiesce"
)

// place is where the copies are on the source.
const place hostpath.Path = "/var/lib/statelift/backups"

// Taker makes the copies on a source.
type Taker struct {
	Runner   quiesce.Runner
	Profiles []profile.Profile
	// Show is told each command that changes the source before it is run; nil shows
	// nothing.
	Show func(quiesce.Command)
	// Identity tells the copies of one workspace from those of others: small letters
	// and digits.
	Identity string
}

// Copy is a database that was copied.
type Copy struct {
	Survey
	Began, Ended time.Time
}

// Take copies the databases that run, one after the other. What an earlier call left
// behind is removed first. The caller removes the copies, after a failure Take does.
func (t *Taker) Take(ctx context.Context, list []handoff.Database) (_ []Copy, err error) {
	var out []Copy
	for _, d := range list {
		s, err := Ask(ctx, t.Runner, d, t.Profiles)
		if err != nil {
			return nil, err
		}
		out = append(out, Copy{Survey: s})
	}
	if err := t.Remove(ctx); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.Remove(context.WithoutCancel(ctx)))
		}
	}()
	if err := t.prepare(ctx, out); err != nil {
		return nil, err
	}
	for i := range out {
		if err := t.take(ctx, t.dir().Join(strconv.Itoa(i+1)), &out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t *Taker) dir() hostpath.Path { return place.Join(t.Identity) }

//go:embed prepare.sh
var prepareScript string

// ErrNoRoom is wrapped when the source has no room for the copies.
var ErrNoRoom = errors.New("no room on the source for the copies of its databases")

func (t *Taker) prepare(ctx context.Context, list []Copy) error {
	argv := []string{"sh", "-c", prepareScript, "prepare", string(place), string(t.dir())}
	for _, c := range list {
		argv = append(argv, string(c.Database.Path))
	}
	argv = append(argv, "--")
	for _, c := range list {
		for _, d := range c.Dirs {
			argv = append(argv, string(d.Live))
		}
	}
	out, err := t.run(ctx, quiesce.Command{What: "make a private directory for copies of its databases", Argv: argv})
	if err != nil {
		return err
	}
	need, free, err := room(out)
	if err != nil {
		return err
	}
	if free < need {
		return fmt.Errorf("%w: %s wants %s, and %s are free", ErrNoRoom, place, bytesize.Text(need), bytesize.Text(free))
	}
	return nil
}

// room reads what prepare.sh printed last: two numbers of KiB.
func room(out []byte) (need, free int64, err error) {
	lines := strings.Split(strings.TrimSpace(string(bytes.TrimSpace(out))), "\n")
	words := strings.Fields(lines[len(lines)-1])
	if len(words) != 2 {
		return 0, 0, fmt.Errorf("how much room the source has cannot be read: %.200q", out)
	}
	var errs [2]error
	need, errs[0] = strconv.ParseInt(words[0], 10, 53)
	free, errs[1] = strconv.ParseInt(words[1], 10, 53)
	if err := errors.Join(errs[:]...); err != nil || need < 0 || free < 0 {
		return 0, 0, fmt.Errorf("how much room the source has cannot be read: %.200q", out)
	}
	return need << 10, free << 10, nil
}

func (t *Taker) take(ctx context.Context, dir hostpath.Path, c *Copy) error {
	c.Dirs = slices.Clone(c.Dirs)
	for i := range c.Dirs {
		c.Dirs[i].Copy = dir.Join(string(c.Dirs[i].Copy))
	}
	argv := append(slices.Clone(c.Method.Command), string(c.Database.Path), string(dir))
	c.Began = time.Now().UTC().Truncate(time.Second)
	_, err := t.run(ctx, quiesce.Command{What: fmt.Sprintf("copy %s by %s while it runs", c.Database.Path, c.Method.Tool), Argv: argv})
	c.Ended = time.Now().UTC().Truncate(time.Second)
	return err
}

//go:embed remove.sh
var removeScript string

// removeTime is how long the clean-up may take when nothing else ends it.
const removeTime = 5 * time.Minute

// Remove ends what still makes a copy for this workspace, and removes the copies.
func (t *Taker) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	_, err := t.run(ctx, quiesce.Command{What: "remove the copies of its databases", Argv: []string{"sh", "-c", removeScript, "remove", string(t.dir())}})
	return err
}

func (t *Taker) run(ctx context.Context, c quiesce.Command) ([]byte, error) {
	if t.Show != nil {
		t.Show(c)
	}
	out, err := t.Runner.Run(ctx, c.Argv)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.What, err)
	}
	return out, nil
}
