package live

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/stages/scan/collect"
)

// socket is one line of a table of /proc/net.
type socket struct {
	listener facts.Listener
	inode    uint64
}

// sockets emits the listening ones, each address once.
func (l *looker) sockets(ctx context.Context) error {
	type key struct{ protocol, address, unit, port string }
	seen := map[key]bool{}
	for _, t := range []struct {
		name string
		read func(table string) []socket
	}{
		{"tcp", func(s string) []socket { return internet(s, "tcp") }},
		{"tcp6", func(s string) []socket { return internet(s, "tcp") }},
		{"udp", func(s string) []socket { return internet(s, "udp") }},
		{"udp6", func(s string) []socket { return internet(s, "udp") }},
		{"unix", local},
	} {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := proc.Join("net", t.name)
		data, err := l.root.ReadFile(p, maxTable)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			if err := l.emit(collect.Problem("live", facts.Source{Path: p}, "listening sockets cannot be read")); err != nil {
				return err
			}
			continue
		}
		for _, s := range t.read(string(data)) {
			s.listener.Unit = l.holders[s.inode].unit
			s.listener.Live = true
			s.listener.Source = facts.Source{Path: p}
			k := key{s.listener.Protocol, s.listener.Address, s.listener.Unit, strconv.Itoa(s.listener.Port)}
			if seen[k] {
				continue
			}
			seen[k] = true
			name := s.listener.Protocol + " " + hostpath.Quote(s.listener.Address) + ":" + k.port
			if err := l.emit(collect.Found{Kind: facts.KindListener, Name: name, Source: s.listener.Source, Data: s.listener}); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	tcpListen = "0A" // TCP_LISTEN
	udpOpen   = "07" // TCP_CLOSE: not connected
	// ephemeral is where Linux takes ports for clients from: a UDP socket there
	// waits for an answer.
	ephemeral = 32768
)

// internet reads /proc/net/tcp and udp, of both versions of IP.
func internet(table, protocol string) []socket {
	var out []socket
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 10 || protocol == "tcp" && f[3] != tcpListen || protocol == "udp" && f[3] != udpOpen {
			continue
		}
		address, port, ok := endpoint(f[1])
		inode, err := strconv.ParseUint(f[9], 10, 64)
		if !ok || err != nil || port == 0 || protocol == "udp" && port >= ephemeral {
			continue
		}
		out = append(out, socket{facts.Listener{Protocol: protocol, Address: address, Port: port}, inode})
	}
	return out
}

// endpoint reads an address as the kernel prints it: words of 32 bits in the
// machine's order of bytes, a colon, the port.
func endpoint(s string) (address string, port int, ok bool) {
	host, portText, ok := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	p, err2 := strconv.ParseUint(portText, 16, 16)
	if !ok || err != nil || err2 != nil || len(raw) != 4 && len(raw) != 16 {
		return "", 0, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	if a = a.Unmap(); a.IsUnspecified() {
		return "", int(p), true
	}
	return a.String(), int(p), true
}

// local reads /proc/net/unix: sockets that accept connections, and datagram
// sockets that have a path.
func local(table string) []socket {
	const acceptsConnections = 1 << 16 // __SO_ACCEPTCON
	var out []socket
	for line := range strings.Lines(table) {
		line = strings.TrimRight(line, "\n")
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		flags, err := strconv.ParseUint(f[3], 16, 32)
		inode, err2 := strconv.ParseUint(f[6], 10, 64)
		if err != nil || err2 != nil {
			continue
		}
		// The path is the rest of the line, blanks and all.
		_, name, _ := strings.Cut(line, " "+f[6]+" ")
		datagram := f[4] == "0002" && strings.HasPrefix(name, "/")
		if flags&acceptsConnections == 0 && !datagram || name == "" {
			continue
		}
		if strings.HasPrefix(name, "/") {
			name = string(hostpath.Clean(name))
		}
		out = append(out, socket{facts.Listener{Protocol: "unix", Address: name}, inode})
	}
	return out
}
