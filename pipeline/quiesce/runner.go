package quiesce

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/statelift/statelift/pipeline/shellwords"
)

// Runner runs a command on the source and returns what it printed, both streams.
// A command that ended with another status than 0 is an [*ExitError]; any other
// error says that it could not be run, or that nobody knows how it ended.
type Runner interface {
	Run(ctx context.Context, argv []string) (output []byte, err error)
}

// ExitError is a command that ended with a status.
type ExitError struct {
	Argv   []string
	Status int
	Output string // the end of what it printed
}

func (e *ExitError) Error() string {
	text := fmt.Sprintf("on the source, %s ended with status %d", brief(e.Argv), e.Status)
	if said := strings.TrimSpace(e.Output); said != "" {
		text += ": " + said
	}
	return text
}

// brief is a command without the text of its script.
func brief(argv []string) string {
	if len(argv) > 3 && argv[1] == "-c" {
		argv = argv[3:]
	}
	return strings.Join(argv, " ")
}

// OnSource is the runner behind a prefix of shell words: "ssh root@host", "sudo",
// an nsenter(1) command; without words commands run on this machine. A command is
// given to the prefix's sh(1) as its standard input, so that it means the same
// whether the prefix passes its arguments on as they are or, as ssh(1), to a
// shell. The prefix has no terminal to ask at: it needs a key or an agent.
func OnSource(prefix string) (Runner, error) {
	words, err := shellwords.Shell(prefix)
	if err != nil {
		return nil, fmt.Errorf("--on-source: %w", err)
	}
	var p prefixed
	for _, w := range words {
		if w.Operator {
			return nil, fmt.Errorf("--on-source: %q: it is one command, without operators of the shell", prefix)
		}
		p = append(p, w.Text)
	}
	return p, nil
}

type prefixed []string

// script runs a command so that a service which it starts, and which keeps its
// standard output open, keeps nobody waiting; and so that its status is told from
// that of a prefix that failed.
const script = `statelift_out=$(mktemp) || statelift_out=/dev/null
%s </dev/null >"$statelift_out" 2>&1
statelift_status=$?
tail -c %d "$statelift_out"
[ "$statelift_out" = /dev/null ] || rm -f "$statelift_out"
printf '\nstatelift-status=%%d\n' "$statelift_status"
`

// maxOutput is how much of what a command printed is kept, its end.
const maxOutput = 4 << 20

// Run runs one command.
func (p prefixed) Run(ctx context.Context, argv []string) ([]byte, error) {
	full := append([]string(p), "sh", "-s")
	cmd := exec.CommandContext(ctx, full[0], full[1:]...)
	cmd.Stdin = strings.NewReader(fmt.Sprintf(script, Quote(argv), maxOutput))
	// The signals of this program's terminal are not the command's: a stop is not
	// left half done by them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	out, said := &bounded{max: maxOutput + 1<<10}, &bounded{max: 16 << 10}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("on the source: %s: %w", brief(argv), context.Cause(ctx))
	}
	text, status, ok := cutStatus(out.kept)
	switch {
	case !ok:
		return nil, fmt.Errorf("on the source: %s could not be run (%s): %w: %s", brief(argv), strings.Join(p, " "), errors.Join(err, errNoStatus), bytes.TrimSpace(said.kept))
	case status != 0:
		return text, &ExitError{Argv: argv, Status: status, Output: tail(string(text), 2000)}
	}
	return text, nil
}

var errNoStatus = errors.New("nothing says how it ended")

// cutStatus takes the last line off, which says how the command ended.
func cutStatus(out []byte) (text []byte, status int, ok bool) {
	const mark = "\nstatelift-status="
	i := bytes.LastIndex(out, []byte(mark))
	if i < 0 {
		return nil, 0, false
	}
	status, err := strconv.Atoi(strings.TrimSpace(string(out[i+len(mark):])))
	return out[:i], status, err == nil
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + strings.ToValidUTF8(s[len(s)-n:], "")
	}
	return s
}

// bounded keeps the first bytes and takes the rest without keeping it.
type bounded struct {
	kept []byte
	max  int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.kept = append(b.kept, p[:min(len(p), max(0, b.max-len(b.kept)))]...)
	return len(p), nil
}

// Quote writes a command as sh(1) reads it.
func Quote(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		words[i] = quoteWord(a)
	}
	return strings.Join(words, " ")
}

func quoteWord(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-@:=+,%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
