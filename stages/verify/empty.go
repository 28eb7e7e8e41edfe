package verify

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/workspace"
)

// empty looks at a volume that starts empty: no seed and no receipt tell of it.
// In a cluster its workload writes there, so only a rehearsal's is looked at.
func (r *run) empty(v handoff.Volume) {
	if r.made.Copies.Target != rehearsal {
		return
	}
	err := isEmpty(r.Workspace.Path(workspace.Volumes, v.Name), v)
	r.check(aVolume, v.Name, err, "it starts empty, of %d:%d with mode %04o", v.UID, v.GID, v.Mode&0o7777)
}

func isEmpty(dir string, v handoff.Volume) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f := os.NewFile(uintptr(fd), dir)
	defer f.Close()
	var faults []error
	names, err := f.Readdirnames(1)
	switch {
	case err == nil:
		faults = append(faults, fmt.Errorf("it starts empty and holds %q", names[0]))
	case !errors.Is(err, io.EOF):
		faults = append(faults, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if st.Uid != v.UID || st.Gid != v.GID {
		faults = append(faults, fmt.Errorf("its owner is %d:%d, not %d:%d", st.Uid, st.Gid, v.UID, v.GID))
	}
	if have, want := st.Mode&0o7777, v.Mode&0o7777; have != want {
		faults = append(faults, fmt.Errorf("its mode is %04o, not %04o", have, want))
	}
	return errors.Join(faults...)
}
