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

// reserved reports whether a name in the root is one of a copy under way: the
// marker, one that has no content yet, the journal of a shard.
func reserved(name string) bool {
	rest, ok := strings.CutPrefix(name, Marker)
	return ok && (rest == "" || rest[0] == '.')
}

// Reserved reports whether a path of a volume is no content of it, but of a copy
// that is under way.
func Reserved(p hostpath.Path) bool { return reservedPath(p) }

// reservedPath is reserved for a path of the volume.
func reservedPath(p hostpath.Path) bool {
	return !strings.Contains(string(p[1:]), "/") && reserved(string(p[1:]))
}

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
	result := empty
	err := eachName(root, func(name string) error {
		if name != "lost+found" && !reserved(name) {
			result = occupied
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	// After the names, since shards begin side by side: whoever sees something
	// that another one made sees the marker, too, which that one made first.
	own, err := markerOf(root)
	switch {
	case errors.Is(err, unix.ENOENT):
		return result, nil
	case err != nil:
		return 0, err
	case own != "" && own != seed:
		return 0, fmt.Errorf("%w: it is an interrupted copy of seed %s", ErrOccupied, own)
	}
	return marked, nil
}

// eachName calls f with the names in the root, in no order.
func eachName(root *os.File, f func(name string) error) error {
	fd, err := openat(int(root.Fd()), ".", dirFlags, 0)
	if err != nil {
		return pathError("open", hostpath.Root, err)
	}
	dir := os.NewFile(uintptr(fd), root.Name())
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		for _, name := range names {
			if err := f(name); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return pathError("read", hostpath.Root, err)
		}
	}
}

// openOwn opens a reserved name.
func openOwn(root *os.File, name string, flags int) (*os.File, error) {
	fd, err := openat(int(root.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, pathError("open", hostpath.Path("/"+name), err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// markerOf reads which seed the marker is of. It is "" after a power cut before
// the content was flushed, while the name was: the journal of the file system
// keeps names in their order.
func markerOf(root *os.File) (oci.Digest, error) {
	f, err := openOwn(root, Marker, unix.O_RDONLY)
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

// journal is the open marker of the copy that is under way, or the journal of a
// shard of it. It is safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	file *os.File
	done map[hostpath.Path]map[int]bool // parts that were written by runs before
}

// begin makes the marker. Its first line is written before it has its name, so
// that there is none without. Shards may begin at the same time: each makes one,
// and all are the same.
func begin(root *os.File, seed oci.Digest, shard Shard) (*journal, error) {
	fd := int(root.Fd())
	temp := unnamed
	if !shard.whole() {
		temp += shard.suffix()
	}
	if err := unix.Unlinkat(fd, temp, 0); err != nil && err != unix.ENOENT {
		return nil, pathError("unlink", hostpath.Path("/"+temp), err)
	}
	f, err := openOwn(root, temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_APPEND)
	if err != nil {
		return nil, err
	}
	if _, err = f.WriteString(string(seed) + "\n"); err == nil {
		err = unix.Renameat(fd, temp, fd, Marker)
	}
	if err != nil {
		f.Close()
		return nil, pathError("write", markerPath, err)
	}
	return &journal{file: f}, nil
}

// resume opens the marker of an interrupted copy and reads what it and the
// journals of shards list.
func resume(ctx context.Context, root *os.File, seed oci.Digest) (*journal, error) {
	f, err := openOwn(root, Marker, unix.O_RDWR|unix.O_APPEND)
	if err != nil {
		return nil, err
	}
	j := &journal{file: f, done: map[hostpath.Path]map[int]bool{}}
	if err = j.read(ctx, f); err == nil {
		err = j.readShards(ctx, root, seed)
	}
	if err == nil {
		// What comes next starts a line, even after a torn one.
		if _, werr := f.WriteString("\n"); werr != nil {
			err = pathError("write", markerPath, werr)
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return j, nil
}

// read adds what a journal lists. Lines that make no sense, such as a torn one,
// are as if they were not there.
func (j *journal) read(ctx context.Context, f io.Reader) error {
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return err
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
	return pathError("read", markerPath, lines.Err())
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
