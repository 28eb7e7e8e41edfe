package transfer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// server is the one on the files, a child of this process.
type server struct {
	cmd    *exec.Cmd
	signal syscall.Signal // that ends it in good order
	done   chan struct{}
	err    error // of its end
}

// patience is how long the server may recover before it answers; what it has to
// replay after a crash depends on its log's size.
const patience = 30 * time.Minute

// mayTake is how long its shutdown may take.
const mayTake = 10 * time.Minute

// startServer starts it. It has its own process group, so that a signal for this
// process does not end it before its time.
func startServer(argv []string, dir string, end syscall.Signal) (*server, error) {
	for i := range argv {
		argv[i] = strings.ReplaceAll(argv[i], "{dir}", dir)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = withPath(os.Environ())
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the server on the files: %w", err)
	}
	s := &server{cmd: cmd, signal: end, done: make(chan struct{})}
	go func() {
		s.err = cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// await waits until the server answers.
func (s *server) await(ctx context.Context, ask func(context.Context) error) error {
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-s.done:
			return fmt.Errorf("the server on the files ended before it answered (its log is above): %w", errors.Join(s.err, err))
		case <-ctx.Done():
			return fmt.Errorf("the server on the files does not answer: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// stop ends it as its unit would, so that its files are clean.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(s.signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the server on the files: %w", err)
	}
	timer := time.NewTimer(mayTake)
	defer timer.Stop()
	select {
	case <-s.done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("the server on the files does not end within %s", mayTake), s.cmd.Process.Kill())
	}
}

// withPath gives a process the places of programs when nobody does.
func withPath(env []string) []string {
	for _, v := range env {
		if strings.HasPrefix(v, "PATH=") {
			return env
		}
	}
	return append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}
