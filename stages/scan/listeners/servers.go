package listeners

import (
	"strconv"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// instance is one server's own settings by key, of which the last counts.
type instance map[string]facts.Setting

func (in instance) value(key string) string { return in[key].Value }

// evidence is the first of the keys that is set.
func (in instance) evidence(keys ...string) facts.Setting {
	for _, k := range keys {
		if s, ok := in[k]; ok {
			return s
		}
	}
	return facts.Setting{}
}

// mysql puts port, bind_address and socket of the server's groups together, for
// each profile.
func (d *deriver) mysql(settings []facts.Setting) {
	servers, order := map[string]instance{}, []string(nil)
	for _, s := range settings {
		group, option, ok := strings.Cut(s.Key, ".")
		if !ok || !isServerGroup(group) || strings.Contains(option, ".") {
			continue
		}
		option = strings.ReplaceAll(strings.ToLower(option), "-", "_")
		switch option {
		case "port", "bind_address", "socket", "skip_networking":
		default:
			continue
		}
		if servers[s.Profile] == nil {
			servers[s.Profile] = instance{}
			order = append(order, s.Profile)
		}
		servers[s.Profile][option] = s
	}
	for _, p := range order {
		in := servers[p]
		skip, isSet := in["skip_networking"]
		off := isSet && skip.Value != "0" && !strings.EqualFold(skip.Value, "off")
		at := in.evidence("bind_address", "port")
		if !off && at.Key != "" {
			port := 3306
			if n, ok := parsePort(in.value("port")); ok {
				port = n
			}
			for _, host := range strings.Split(in.value("bind_address"), ",") {
				d.host(at, strings.TrimSpace(host), port)
			}
		}
		if s, ok := in["socket"]; ok && strings.HasPrefix(s.Value, "/") {
			d.endpoint(s, s.Value, "tcp", 0)
		}
	}
}

// isServerGroup is true for groups that the server reads.
func isServerGroup(group string) bool {
	base, version, _ := strings.Cut(group, "-")
	switch base {
	case "mysqld", "mariadb", "mariadbd", "server":
		return version == "" || version[0] >= '0' && version[0] <= '9'
	}
	return group == "client-server"
}

func (d *deriver) host(at facts.Setting, host string, port int) {
	if host, ok := parseHost(host); ok {
		d.add(facts.Listener{Protocol: "tcp", Address: host, Port: port, Profile: at.Profile, Source: at.Source})
	}
}

// postgresql reads each cluster: a main file with what it includes.
func (d *deriver) postgresql(settings []facts.Setting) {
	var clusters []instance
	var main hostpath.Path
	for _, s := range settings {
		if strings.Contains(s.Key, ".") {
			continue
		}
		if base := s.Path.Base(); base == "postgresql.conf" && s.Path != main {
			main = s.Path
			clusters = append(clusters, instance{})
		}
		if len(clusters) > 0 && (s.Path == main || s.Path.Within(main.Dir()) || s.Path.Base() == "postgresql.auto.conf") {
			clusters[len(clusters)-1][s.Key] = s
		}
	}
	for _, in := range clusters {
		port := 5432
		if n, ok := parsePort(in.value("port")); ok {
			port = n
		}
		hosts, isSet := in["listen_addresses"]
		at := in.evidence("listen_addresses", "port")
		switch {
		case isSet:
			for _, h := range strings.Split(hosts.Value, ",") {
				if h = strings.TrimSpace(h); h != "" {
					d.host(at, h, port)
				}
			}
		case at.Key != "":
			d.host(at, "localhost", port)
		}
		if s, ok := in["unix_socket_directories"]; ok {
			for _, dir := range strings.Split(s.Value, ",") {
				if dir = strings.TrimSpace(dir); strings.HasPrefix(dir, "/") {
					d.endpoint(s, string(hostpath.Clean(dir).Join(".s.PGSQL."+strconv.Itoa(port))), "tcp", 0)
				}
			}
		}
	}
}

// redis reads each file with a bind, port or unixsocket as one server.
func (d *deriver) redis(settings []facts.Setting) {
	servers, order := map[hostpath.Path]instance{}, []hostpath.Path(nil)
	for _, s := range settings {
		switch s.Key {
		case "bind", "port", "tls-port", "unixsocket", "protected-mode", "appendonly", "dbfilename":
			if servers[s.Path] == nil {
				servers[s.Path] = instance{}
				order = append(order, s.Path)
			}
			servers[s.Path][s.Key] = s
		}
	}
	for _, p := range order {
		in := servers[p]
		sure := in.evidence("bind", "unixsocket", "protected-mode", "appendonly", "dbfilename").Key != ""
		if !sure && !strings.Contains(string(p), "redis") && !strings.Contains(string(p), "valkey") {
			continue // a port of something else
		}
		for _, key := range []string{"port", "tls-port"} {
			s, isSet := in[key]
			port, ok := parsePort(s.Value)
			switch {
			case isSet && !ok, !isSet && key == "tls-port": // 0 turns it off
				continue
			case !isSet:
				if in.evidence("bind").Key == "" {
					continue
				}
				port = 6379
			}
			at := in.evidence("bind", key)
			hosts := strings.Fields(in.value("bind"))
			if len(hosts) == 0 {
				hosts = []string{""}
			}
			for _, h := range hosts {
				d.host(at, strings.TrimPrefix(h, "-"), port)
			}
		}
		if s, ok := in["unixsocket"]; ok {
			d.endpoint(s, s.Value, "tcp", 0)
		}
	}
}

// sshd reads Port and ListenAddress of sshd_config(5).
func (d *deriver) sshd(settings []facts.Setting) {
	var ports, addresses []facts.Setting
	for _, s := range settings {
		if !s.Path.Within("/etc/ssh") {
			continue
		}
		switch {
		case strings.EqualFold(s.Key, "Port"):
			ports = append(ports, s)
		case strings.EqualFold(s.Key, "ListenAddress"):
			addresses = append(addresses, s)
		}
	}
	for _, a := range addresses {
		d.sshdAddress(a, ports)
	}
	if len(addresses) > 0 {
		return
	}
	for _, p := range ports {
		d.endpoint(p, p.Value, "tcp", 0)
	}
}

// sshdAddress listens on every Port, unless the address has one of its own.
func (d *deriver) sshdAddress(a facts.Setting, ports []facts.Setting) {
	if l, ok := parseAddress(a.Value, "tcp", 0); ok {
		l.Profile, l.Source = a.Profile, a.Source
		d.add(l)
		return
	}
	if len(ports) == 0 {
		d.host(a, a.Value, 22)
	}
	for _, p := range ports {
		if n, ok := parsePort(p.Value); ok {
			d.host(a, a.Value, n)
		}
	}
}
