package live_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/rootfs"
	"github.com/statelift/statelift/stages/scan/collect"
	"github.com/statelift/statelift/stages/scan/live"
)

const childDir = "STATELIFT_TEST_CHILD"

// TestMain is also the child: a service that listens and writes.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve opens what the test looks for, says where it listens, and waits for the
// end of its input.
func serve(dir string) error {
	file := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), flags|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		return f
	}
	keep := []*os.File{file("write", os.O_WRONLY), file("append", os.O_WRONLY|os.O_APPEND), file("both", os.O_RDWR), file("read", os.O_RDONLY), file("gone", os.O_WRONLY)}
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		return err
	}
	null, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	keep = append(keep, null)
	mapped := file("mapped", os.O_RDWR)
	if err := mapped.Truncate(4096); err != nil {
		return err
	}
	if _, err := unix.Mmap(int(mapped.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return err
	}
	mapped.Close() // the mapping stays
	var ports []string
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		defer l.Close()
		ports = append(ports, l.Addr().String())
	}
	u, err := net.Listen("unix", filepath.Join(dir, "a b.sock"))
	if err != nil {
		return err
	}
	defer u.Close()
	d, err := net.ListenPacket("unixgram", filepath.Join(dir, "dgram.sock"))
	if err != nil {
		return err
	}
	defer d.Close()
	abstract, err := net.Listen("unix", fmt.Sprintf("@statelift-test-%d", os.Getpid()))
	if err != nil {
		return err
	}
	defer abstract.Close()
	udp, port, err := lowUDP()
	if err != nil {
		return err
	}
	defer udp.Close()
	fmt.Println(port, strings.Join(ports, " "))
	bufio.NewReader(os.Stdin).ReadString('\n') // until the parent is done
	for _, f := range keep {
		f.Close()
	}
	return nil
}

// lowUDP listens on a port that is no client's.
func lowUDP() (conn net.PacketConn, port int, err error) {
	for port = 18953; port < 19053; port++ {
		if conn, err = net.ListenPacket("udp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			return conn, port, nil
		}
	}
	return nil, 0, err
}

func look(t *testing.T, root string) (processes []facts.Process, listeners []facts.Listener, text string) {
	t.Helper()
	r, err := rootfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var all strings.Builder
	err = live.Collector{}.Collect(context.Background(), r, nil, func(f collect.Found) error {
		j, err := json.Marshal(f)
		if err != nil {
			return err
		}
		all.Write(j)
		switch d := f.Data.(type) {
		case facts.Process:
			processes = append(processes, d)
		case facts.Listener:
			listeners = append(listeners, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return processes, listeners, all.String()
}

func TestRealProcess(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "--password=on-the-command-line")
	cmd.Env = append(os.Environ(), childDir+"="+dir, "SECRET=in-the-environment")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	processes, listeners, text := look(t, "/")
	i := slices.IndexFunc(processes, func(p facts.Process) bool { return p.PID == cmd.Process.Pid })
	if i < 0 {
		t.Fatalf("process %d is missing", cmd.Process.Pid)
	}
	p := processes[i]
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	base := hostpath.Clean(real)
	want := facts.Process{PID: cmd.Process.Pid, Exe: hostpath.Clean(exe), UID: uint32(os.Geteuid()), Unit: p.Unit, Writing: []hostpath.Path{base.Join("append"), base.Join("both"), base.Join("mapped"), base.Join("write")}}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	has := func(want facts.Listener) {
		t.Helper()
		want.Live = true
		if !slices.ContainsFunc(listeners, func(l facts.Listener) bool { l.Source = facts.Source{}; l.Unit = want.Unit; return l == want }) {
			t.Errorf("missing listener %+v", want)
		}
	}
	udp, line, _ := strings.Cut(line, " ")
	for _, a := range strings.Fields(line) {
		host, portText, err := net.SplitHostPort(a)
		if err != nil {
			t.Fatal(err)
		}
		var port int
		fmt.Sscan(portText, &port)
		if host == "::" {
			host = ""
		}
		has(facts.Listener{Protocol: "tcp", Address: host, Port: port})
	}
	has(facts.Listener{Protocol: "unix", Address: string(base.Join("a b.sock"))})
	has(facts.Listener{Protocol: "unix", Address: string(base.Join("dgram.sock"))})
	has(facts.Listener{Protocol: "unix", Address: fmt.Sprintf("@statelift-test-%d", cmd.Process.Pid)})
	var udpPort int
	fmt.Sscan(udp, &udpPort)
	has(facts.Listener{Protocol: "udp", Address: "127.0.0.1", Port: udpPort})
	for _, secret := range []string{"on-the-command-line", "in-the-environment"} {
		if strings.Contains(text, secret) {
			t.Errorf("%q is in the facts", secret)
		}
	}
	for _, p := range processes {
		if p.PID == os.Getpid() {
			t.Error("the scan reports itself")
		}
	}
}

// TestListenersAgainstSS compares the TCP sockets with those of ss(8).
func TestListenersAgainstSS(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	before := ss(t)
	_, listeners, _ := look(t, "/")
	got := map[string]bool{}
	for _, l := range listeners {
		if l.Protocol == "tcp" {
			got[fmt.Sprintf("%s %d", l.Address, l.Port)] = true
		}
	}
	compared := 0
	for address := range ss(t) {
		if !before[address] { // other processes come and go
			continue
		}
		if !got[address] {
			t.Errorf("ss has %s", address)
		}
		compared++
	}
	if compared < 3 {
		t.Errorf("ss told only %d", compared)
	}
}

// ss lists the listening TCP sockets as "address port".
func ss(t *testing.T) map[string]bool {
	t.Helper()
	out, err := exec.Command("ss", "-Hltn").Output()
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		i := strings.LastIndexByte(f[3], ':')
		host, _, _ := strings.Cut(strings.Trim(f[3][:i], "[]"), "%")
		if host == "*" || host == "0.0.0.0" || host == "::" {
			host = ""
		}
		list[host+" "+f[3][i+1:]] = true
	}
	return list
}

func TestOtherRootsAreNotLive(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "proc/1"), 0o755); err != nil {
		t.Fatal(err)
	}
	processes, listeners, _ := look(t, root)
	if len(processes)+len(listeners) > 0 {
		t.Errorf("%v %v", processes, listeners)
	}
}
