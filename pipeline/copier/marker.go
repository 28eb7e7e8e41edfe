package copier

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/oci"
)

// Marker is the file in the root of a directory that is being filled.
const Marker = ".statelift-copy"

const (
	markerPath = hostpath.Path("/" + Marker)
	unnamed    = Marker + ".new" // a marker that has no content yet
)

// ErrOccupied is wrapped when a directory holds something else than an
// interrupted or complete copy of the seed.
var ErrOccupied = errors.New("the directory is not empty, and no copy of this seed")

// condition is what a directory is found in.
type condition int

const (
	empty    condition = iota
	marked             // an interrupted copy of this seed
	occupied           // anything else
)

// inspect looks at the root of the directory only.
func inspect(root *os.File, seed oci.Digest) (condition, error) {
	fd, err := openat(int(root.Fd()), ".", dirFlags, 0)
	if err != nil {
		return 0, pathError("open", hostpath.Root, err)
	}
	dir := os.NewFile(uintptr(fd), root.Name())
	defer dir.Close()
	result := empty
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			switch name {
			case "lost+found", unnamed:
			case Marker:
				own, err := markerOf(root)
				if err != nil {
					return 0, err
				}
				if own != "" && own != seed {
					return 0, fmt.Errorf("%w: it is an interrupted copy of seed %s", ErrOccupied, own)
				}
				return marked, nil
			default:
				result = occupied
			}
		}
		if err == io.EOF {
			return result, nil
		}
		if err != nil {
			return 0, pathError("read", hostpath.Root, err)
		}
	}
}

func openMarker(root *os.File, flags int) (*os.File, error) {
	fd, err := openat(int(root.Fd()), Marker, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, pathError("open", markerPath, err)
	}
	return os.NewFile(uintptr(fd), Marker), nil
}

// markerOf reads which seed the marker is of. It is "" after a power cut before
// the content was flushed, while the name was: the journal of the file system
// keeps names in their order.
func markerOf(root *os.File) (oci.Digest, error) {
	f, err := openMarker(root, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", pathError("read", markerPath, err)
	}
	return oci.Digest(strings.TrimSuffix(line, "\n")), nil
}

// journal is the open marker of the copy that is under way. It is safe for
// concurrent use.
type journal struct {
	mu   sync.Mutex
	file *os.File
	done map[hostpath.Path]map[int]bool // parts that were written by runs before
}

// begin makes the marker. Its first line is written before it has its name, so
// that there is none without.
func begin(root *os.File, seed oci.Digest) (*journal, error) {
	fd := int(root.Fd())
	if err := unix.Unlinkat(fd, unnamed, 0); err != nil && err != unix.ENOENT {
		return nil, pathError("unlink", "/"+unnamed, err)
	}
	n, err := openat(fd, unnamed, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, pathError("create", markerPath, err)
	}
	f := os.NewFile(uintptr(n), Marker)
	if _, err = f.WriteString(string(seed) + "\n"); err == nil {
		err = unix.Renameat(fd, unnamed, fd, Marker)
	}
	if err != nil {
		f.Close()
		return nil, pathError("write", markerPath, err)
	}
	return &journal{file: f}, nil
}

// resume opens the marker of an interrupted copy and reads what it lists. Lines
// that make no sense, such as a torn one, are as if they were not there.
func resume(ctx context.Context, root *os.File) (*journal, error) {
	f, err := openMarker(root, unix.O_RDWR|unix.O_APPEND)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, done: map[hostpath.Path]map[int]bool{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			f.Close()
			return nil, err
		}
		number, name, ok := strings.Cut(lines.Text(), " ")
		n, err1 := strconv.Atoi(number)
		p, err2 := hostpath.Parse(name)
		if !ok || err1 != nil || err2 != nil {
			continue
		}
		if j.done[p] == nil {
			j.done[p] = map[int]bool{}
		}
		j.done[p][n] = true
	}
	if err := lines.Err(); err != nil {
		f.Close()
		return nil, pathError("read", markerPath, err)
	}
	// What comes next starts a line, even after a torn one.
	if _, err := f.WriteString("\n"); err != nil {
		f.Close()
		return nil, pathError("write", markerPath, err)
	}
	return j, nil
}

func (j *journal) has(p hostpath.Path, part int) bool { return j.done[p][part] }

func (j *journal) wrote(p hostpath.Path, part int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := fmt.Fprintf(j.file, "%d %s\n", part, p)
	return pathError("write", markerPath, err)
}

// forget makes the journal empty, so that nothing is reused.
func (j *journal) forget() { j.done = nil }

func (j *journal) close() { j.file.Close() }
