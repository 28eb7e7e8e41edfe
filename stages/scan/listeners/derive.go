// Package listeners derives, from what other collectors found, the addresses on
// which services listen: from the settings of applications, from socket units,
// and from the command lines of services and init scripts.
package listeners

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
	"github.com/statelift/statelift/pipeline/unitfile"
)

// Derive lists the addresses that settings and socket units name, in their
// order and each once. A listener from settings has the profile and no unit; one
// of a socket has the unit that the socket starts. What nobody configured is
// not there: default ports are the profile's knowledge.
func Derive(settings []facts.Setting, units []facts.Unit) []facts.Listener {
	var d deriver
	for _, s := range settings {
		d.simple(s)
	}
	d.mysql(settings)
	d.postgresql(settings)
	d.redis(settings)
	d.sshd(settings)
	for _, u := range units {
		d.socket(u)
	}
	return d.out
}

type deriver struct {
	out  []facts.Listener
	seen map[facts.Listener]bool
}

// add keeps a listener unless the same address of the same service is known.
func (d *deriver) add(l facts.Listener) {
	key := l
	key.Source = facts.Source{}
	if d.seen[key] || l.Protocol != "unix" && (l.Port < 1 || l.Port > 65535) {
		return
	}
	if d.seen == nil {
		d.seen = map[facts.Listener]bool{}
	}
	d.seen[key] = true
	d.out = append(d.out, l)
}

// simple reads directives that say an address by themselves: Listen of Apache,
// listen of nginx and of pools of php-fpm, connectors of Tomcat.
func (d *deriver) simple(s facts.Setting) {
	section, name := "", s.Key
	if i := strings.LastIndexByte(s.Key, '.'); i >= 0 {
		section, name = s.Key[:i], s.Key[i+1:]
	}
	words := strings.Fields(s.Value)
	if len(words) == 0 || !strings.EqualFold(name, "listen") {
		if strings.HasSuffix(s.Key, ".Connector.port") {
			d.endpoint(s, s.Value, "tcp", 0)
		}
		return
	}
	if section == "" {
		if name == "Listen" { // Apache: address, protocol
			d.endpoint(s, words[0], "tcp", 0)
		}
		return
	}
	protocol := "tcp"
	for _, w := range words[1:] {
		if w == "udp" || w == "quic" {
			protocol = "udp"
		}
	}
	// $pool is the name of the pool in php-fpm.
	address := strings.ReplaceAll(words[0], "$pool", section)
	standard := 0
	if path.Base(strings.ReplaceAll(section, ".", "/")) == "server" {
		standard = 80
	}
	d.endpoint(s, address, protocol, standard)
}

// endpoint adds the address in text, with the evidence of s.
func (d *deriver) endpoint(s facts.Setting, text, protocol string, standard int) {
	if l, ok := parseAddress(text, protocol, standard); ok {
		l.Profile, l.Source = s.Profile, s.Source
		d.add(l)
	}
}

// parseAddress reads 80, :80, 127.0.0.1:80, [::1]:80, *:80, name:80, a path and
// unix:PATH. An address without a port has the standard one; 0 refuses it.
func parseAddress(text, protocol string, standard int) (facts.Listener, bool) {
	text = strings.Trim(text, `"'`)
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		text = strings.TrimPrefix(rest, "//")
	}
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, "@") {
		if strings.HasPrefix(text, "/") {
			text = string(hostpath.Clean(text))
		}
		return facts.Listener{Protocol: "unix", Address: text}, !strings.ContainsAny(text, "$*")
	}
	if port, ok := parsePort(text); ok {
		return facts.Listener{Protocol: protocol, Port: port}, true
	}
	host, portText := text, ""
	switch i := strings.LastIndexByte(text, ':'); {
	case strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]"):
	case strings.HasPrefix(text, "[") && i > 0 && text[i-1] == ']',
		i >= 0 && strings.Count(text, ":") == 1:
		host, portText = text[:i], text[i+1:]
	}
	port := standard
	if portText != "" {
		p, ok := parsePort(portText)
		if !ok {
			return facts.Listener{}, false
		}
		port = p
	}
	host, ok := parseHost(host)
	return facts.Listener{Protocol: protocol, Address: host, Port: port}, ok && port > 0
}

func parsePort(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n > 0 && n < 1<<16 && s[0] != '+'
}

// parseHost makes every way to say "all" the same, and refuses what is no host.
func parseHost(s string) (string, bool) {
	s = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
	switch s {
	case "", "*", "0.0.0.0", "::":
		return "", true
	}
	for i := range len(s) {
		if c := s[i]; !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(".:-_%", c) >= 0) {
			return "", false
		}
	}
	return s, true
}

// String is the address in words: tcp 127.0.0.1:80, unix /run/x.sock.
func String(l facts.Listener) string {
	switch {
	case l.Protocol == "unix":
		return "unix " + hostpath.Quote(l.Address)
	case strings.Contains(l.Address, ":"):
		return fmt.Sprintf("%s [%s]:%d", l.Protocol, l.Address, l.Port)
	}
	return fmt.Sprintf("%s %s:%d", l.Protocol, l.Address, l.Port)
}

// socket reads the Listen*= of a socket that is enabled (systemd.socket(5)).
func (d *deriver) socket(u facts.Unit) {
	name := unitfile.Name(u.Name)
	if u.Type != "socket" || u.Masked || !u.Enabled || name.IsTemplate() {
		return
	}
	service := name.Base() + ".service"
	if v, ok := u.Last("Socket", "Accept"); ok && isTrue(v.Value) {
		service = name.Prefix() + "@.service"
	}
	if v, ok := u.Last("Socket", "Service"); ok {
		service = v.Value
	}
	for _, v := range u.Directives {
		protocol := "tcp"
		switch {
		case v.Section != "Socket":
			continue
		case v.Key == "ListenDatagram":
			protocol = "udp"
		case v.Key != "ListenStream" && v.Key != "ListenSequentialPacket":
			continue
		}
		value, err := unitfile.Expand(v.Value, name, string(u.Path), unitfile.Host{})
		if err != nil {
			continue
		}
		if l, ok := parseAddress(value, protocol, 0); ok {
			l.Unit, l.Source = service, v.Source
			d.add(l)
		}
	}
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true
	}
	return false
}
