package transfer

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// client runs the programs of an engine. Credentials are in private files, never
// in arguments.
type client struct {
	dirs []string // where programs are looked for before PATH
	env  []string
	// fault is what may be told of a line that a program says against something,
	// "" for nothing, where lines may hold rows or statements; nil tells all.
	fault func(line string) string
}

// maxSaid bounds what is kept of what a program says against something.
const maxSaid = 4 << 10

// find is the first of the programs that there is.
func (c *client) find(names ...string) (string, error) {
	for _, name := range names {
		for _, dir := range append(c.dirs, strings.Split("/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:"+os.Getenv("PATH"), ":")...) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("the image has no %s", strings.Join(names, " or "))
}

// process is a program to be run.
func (c *client) process(ctx context.Context, path string, args ...string) (*exec.Cmd, *said) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(withPath(os.Environ()), c.env...)
	words := &said{fault: c.fault}
	cmd.Stderr = words
	return cmd, words
}

// said keeps the beginning of the faults that a program tells, line by line.
type said struct {
	fault func(line string) string
	line  []byte // that has no end yet
	kept  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, ends := bytes.Cut(p, []byte("\n"))
		if left := maxSaid - len(s.line); left > 0 {
			s.line = append(s.line, part[:min(left, len(part))]...)
		}
		if p = rest; ends {
			s.endLine()
		}
	}
	return n, nil
}

func (s *said) endLine() {
	text := string(s.line)
	s.line = s.line[:0]
	if s.fault != nil {
		text = s.fault(text)
	}
	if text = strings.TrimSpace(text); text != "" && s.kept.Len()+len(text) < maxSaid {
		s.kept.WriteString(text + "\n")
	}
}

func (s *said) explain(path string, err error) error {
	if err == nil {
		return nil
	}
	s.endLine()
	return fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(s.kept.String()))
}

// errSecret stands for an error whose text could show a credential.
type errSecret struct{ about string }

func (e errSecret) Error() string { return e.about }

// pipe runs a dump into a restore and returns the dump's SHA-256 and size.
func (c *client) pipe(ctx context.Context, from, to []string) (sum string, size int64, err error) {
	return pipe(ctx, c, from, c, to)
}

func pipe(ctx context.Context, source *client, from []string, target *client, to []string) (sum string, size int64, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	dump, dumpSaid := source.process(ctx, from[0], from[1:]...)
	restore, restoreSaid := target.process(ctx, to[0], to[1:]...)
	out, err := dump.StdoutPipe()
	if err != nil {
		return "", 0, err
	}
	in, err := restore.StdinPipe()
	if err != nil {
		return "", 0, err
	}
	if err := restore.Start(); err != nil {
		return "", 0, err
	}
	if err := dump.Start(); err != nil {
		stop()
		return "", 0, errors.Join(err, restore.Wait())
	}
	hash := sha256.New()
	size, copyErr := io.Copy(io.MultiWriter(hash, in), out)
	if copyErr != nil {
		stop() // the restore has ended; nobody reads the dump any more
	}
	dumpErr := dumpSaid.explain(from[0], dump.Wait())
	if dumpErr != nil {
		stop() // before the restore takes a part for the whole
	}
	in.Close()
	restoreErr := restoreSaid.explain(to[0], restore.Wait())
	switch {
	case restoreErr != nil && copyErr != nil:
		return "", 0, restoreErr // the cause of the others
	case dumpErr != nil:
		return "", 0, dumpErr
	case restoreErr != nil:
		return "", 0, restoreErr
	case copyErr != nil:
		return "", 0, copyErr
	}
	return hex.EncodeToString(hash.Sum(nil)), size, nil
}

// first is that of the answers, of which there must be one.
func first(answers []string, err error) (string, error) {
	if err == nil && len(answers) == 0 {
		err = errors.New("no answer")
	}
	if err != nil {
		return "", err
	}
	return answers[0], nil
}

// maxLine bounds one line of a result.
const maxLine = 16 << 20

// rows runs a query that is given on standard input and splits each line of the
// result into its columns, whose escapes are undone.
func rows(cmd *exec.Cmd, words *said, query string, each func(columns []string) error) error {
	cmd.Stdin = strings.NewReader(query)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxLine)
	var fault error
	for fault == nil && lines.Scan() {
		columns := strings.Split(lines.Text(), "\t")
		for i := range columns {
			columns[i] = unescape(columns[i])
		}
		fault = each(columns)
	}
	if fault = errors.Join(fault, lines.Err()); fault != nil {
		_ = cmd.Process.Kill() // its output is not wanted any more; Wait tells no more than that
		_ = cmd.Wait()
		return fault
	}
	return words.explain(cmd.Path, cmd.Wait())
}

// unescape undoes the escapes of a column, which mariadb(1) --batch and COPY of
// PostgreSQL have in common.
func unescape(s string) string { return escapes.Replace(s) }

var escapes = strings.NewReplacer(
	`\t`, "\t", `\n`, "\n", `\r`, "\r", `\b`, "\b", `\f`, "\f", `\v`, "\v", `\0`, "\x00", `\\`, `\`,
)

// private writes a file for this process's user alone.
func private(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("private file: %w", err)
	}
	return path, nil
}

// password makes one that any rule about passwords takes.
func password() string { return "S7-" + rand.Text() + "-x" }
