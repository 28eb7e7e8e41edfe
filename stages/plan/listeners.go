package plan

import (
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
)

// findListeners learns on what the service listens: from the scan's facts, else
// from its socket unit, its application's settings and its command line.
func (p *planner) findListeners(s *service) {
	for _, l := range p.host.listeners {
		if l.Unit == s.id || l.Unit == "" && s.profile != nil && l.Profile == s.profile.Name {
			s.addListener(l)
		}
	}
	if len(s.listens) > 0 || s.job() {
		return
	}
	if s.socket != nil {
		for _, d := range s.socket.Values("Socket", "ListenStream") {
			s.listenAt("tcp", d.Value, d.Source)
		}
		for _, d := range s.socket.Values("Socket", "ListenDatagram") {
			s.listenAt("udp", d.Value, d.Source)
		}
	}
	if s.profile != nil {
		p.listenBySettings(s)
	} else {
		p.listenByCommand(s)
	}
}

func (s *service) addListener(l facts.Listener) {
	same := func(o facts.Listener) bool {
		return o.Protocol == l.Protocol && o.Address == l.Address && o.Port == l.Port
	}
	if !slices.ContainsFunc(s.listens, same) {
		l.Unit = s.id
		s.listens = append(s.listens, l)
	}
}

// listenAt reads an address as configuration writes it: 80, *:80, 0.0.0.0:80,
// [::]:80, localhost:9000, /run/x.sock, unix:/run/x.sock. Words that follow it
// are options.
func (s *service) listenAt(protocol, value string, at facts.Source) bool {
	address, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	address = strings.Trim(address, `"';`)
	address = strings.TrimPrefix(address, "unix:")
	if strings.HasPrefix(address, "/") {
		s.addListener(facts.Listener{Protocol: "unix", Address: address, Source: at})
		return true
	}
	host, port := "", address
	if strings.Contains(address, ":") {
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			return false
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return false
	}
	s.addListener(facts.Listener{Protocol: protocol, Address: anyAddress(host), Port: int(n), Source: at})
	return true
}

// anyAddress writes the ways to say "all addresses" as facts do: "".
func anyAddress(host string) string {
	if host == "*" || host == "0.0.0.0" || host == "::" {
		return ""
	}
	return host
}

// listenBySettings reads what the usual settings of servers say: listen, port,
// bind, socket. What is not set is the profile's.
func (p *planner) listenBySettings(s *service) {
	run := s.profile.Run
	var ports, sockets, binds []facts.Setting
	for _, v := range p.host.settings {
		if v.Profile != s.profile.Name || v.Secret || v.Value == "" {
			continue
		}
		section, key := "", strings.ReplaceAll(strings.ToLower(v.Key), "-", "_")
		if i := strings.LastIndexByte(key, '.'); i >= 0 {
			section, key = key[:i], key[i+1:]
		}
		if section == "client" || strings.HasPrefix(section, "mysqldump") {
			continue // for programs that connect
		}
		switch key {
		case "listen":
			s.listenAt("tcp", v.Value, v.Source)
		case "port":
			ports = append(ports, v)
		case "bind", "bind_address", "listen_addresses", "listen_address":
			binds = append(binds, v)
		case "socket", "unixsocket", "unix_socket":
			sockets = append(sockets, v)
		}
	}
	if len(sockets) > 0 {
		last := sockets[len(sockets)-1]
		s.listenAt("tcp", last.Value, last.Source)
	} else {
		for _, path := range s.profile.Paths {
			if strings.HasSuffix(strings.ToLower(path.Setting), "socket") && path.Default != "" {
				s.listenAt("tcp", path.Default, facts.Source{})
			}
		}
	}
	if slices.ContainsFunc(s.listens, func(l facts.Listener) bool { return l.Protocol != "unix" }) {
		return
	}
	if len(ports) > 0 {
		if n, err := strconv.ParseUint(ports[len(ports)-1].Value, 10, 16); err == nil && n > 0 {
			p.listenOn(s, "tcp", int(n), binds, ports[len(ports)-1].Source)
		}
		return
	}
	for _, port := range run.Ports {
		p.listenOn(s, strings.ToLower(firstOf(port.Protocol, "tcp")), int(port.Number), binds, facts.Source{})
	}
}

// listenOn adds a port on the addresses that are bound, which for some
// applications is loopback when nothing is said.
func (p *planner) listenOn(s *service, protocol string, port int, binds []facts.Setting, at facts.Source) {
	var hosts []string
	if len(binds) > 0 {
		last := binds[len(binds)-1]
		at = last.Source
		for h := range strings.FieldsFuncSeq(strings.Trim(last.Value, `'"`), func(r rune) bool { return r == ' ' || r == ',' }) {
			hosts = append(hosts, anyAddress(strings.TrimPrefix(h, "-")))
		}
	} else if s.profile.Run.Loopback {
		hosts = []string{"127.0.0.1"}
	} else {
		hosts = []string{""}
	}
	for _, h := range hosts {
		s.addListener(facts.Listener{Protocol: protocol, Address: h, Port: port, Source: at})
	}
}

// listenByCommand reads a command line of which nothing is known: words that are
// an address with a port, and the value of an option that is called port.
func (p *planner) listenByCommand(s *service) {
	words, at := s.rawCommand(p)
	for i, w := range words {
		option, value, joined := strings.Cut(w, "=")
		if !joined && i+1 < len(words) {
			value = words[i+1]
		}
		switch option {
		case "-p", "-P", "--port", "-port", "--listen-port", "--http-port":
			if n, err := strconv.ParseUint(value, 10, 16); err == nil && n > 0 {
				s.addListener(facts.Listener{Protocol: "tcp", Port: int(n), Source: at})
			}
			continue
		}
		if joined {
			w = value
		}
		if host, port, err := net.SplitHostPort(w); err == nil && isAddress(host) {
			if n, err := strconv.ParseUint(port, 10, 16); err == nil && n > 0 {
				s.addListener(facts.Listener{Protocol: "tcp", Address: anyAddress(host), Port: int(n), Source: at})
			}
		}
	}
}

// isAddress accepts what a server can listen on by itself: a number or the name
// of loopback. Other names are where it connects to.
func isAddress(host string) bool {
	return host == "" || host == "*" || host == "localhost" || host == "0.0.0.0" || host == "::" || host == "::1" || strings.HasPrefix(host, "127.")
}

// rawCommand is the command line with its variables put in. It is for finding
// things only: it never goes into the plan.
func (s *service) rawCommand(p *planner) ([]string, facts.Source) {
	if s.script != nil {
		return strings.Fields(s.script.Args), facts.Source{Path: s.script.Path}
	}
	d, ok := s.unit.Last("Service", "ExecStart")
	if !ok {
		return nil, facts.Source{}
	}
	commands, err := parseCommands(d.Value, p.specifiers(s))
	if err != nil || len(commands) == 0 {
		return nil, d.Source
	}
	var out []string
	vars := s.env.variables()
	for _, w := range commands[len(commands)-1].Words {
		if name, ok := strings.CutPrefix(w, "$"); ok && vars[name].Value != "" {
			out = append(out, strings.Fields(vars[name].Value)...)
			continue
		}
		for name, v := range vars {
			if !v.Secret {
				w = strings.ReplaceAll(w, "${"+name+"}", v.Value)
			}
		}
		out = append(out, w)
	}
	return out, d.Source
}
