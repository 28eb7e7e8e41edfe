package listeners

import (
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// word is an argument with the place where its value was read.
type word struct {
	text string
	from facts.Source
}

// ofCommand finds the addresses in the arguments of a server's command line:
// --listen ADDRESS, --port N, -l ADDRESS:PORT, -p N. Programs that are clients
// by nature give nothing.
func ofCommand(args []word) []facts.Listener {
	if len(args) == 0 || isClient(hostpath.Path(args[0].text).Base()) {
		return nil
	}
	var out []facts.Listener
	var host word
	var ports []word
	add := func(w word, bare bool) {
		if _, ok := parsePort(w.text); ok {
			if bare {
				ports = append(ports, w)
			}
			return
		}
		if l, ok := parseAddress(w.text, "tcp", 0); ok && (l.Protocol == "unix" || strings.Contains(w.text, ":")) {
			l.Source = w.from
			out = append(out, l)
		}
	}
	for i := 1; i < len(args); i++ {
		option, value, attached := strings.Cut(args[i].text, "=")
		next := word{text: value, from: args[i].from}
		if !attached && i+1 < len(args) {
			next = args[i+1]
		}
		switch kind := optionKind(option); kind {
		case noOption:
			// A bare ADDRESS:PORT, as in redis-server *:6379.
			if i > 1 && strings.HasPrefix(args[i-1].text, "-") || strings.HasPrefix(args[i].text, "-") || strings.Contains(args[i].text, "/") {
				continue
			}
			if h, _, ok := strings.Cut(args[i].text, ":"); ok && (h == "*" || h == "0.0.0.0" || h == "localhost" || strings.HasPrefix(h, "127.")) {
				add(args[i], false)
			}
			continue
		case portOption:
			add(next, true)
		case addressOption:
			add(next, true)
			if !strings.Contains(next.text, ":") && !strings.Contains(next.text, "/") && host.text == "" {
				host = next
			}
		case shortOption:
			add(next, false)
		case shortPort:
			if _, ok := parsePort(next.text); ok {
				add(next, true)
			}
		}
		if !attached {
			i++
		}
	}
	for _, p := range ports {
		n, _ := parsePort(p.text)
		address, ok := "", true
		if _, isPort := parsePort(host.text); !isPort {
			address, ok = parseHost(host.text)
		}
		if ok {
			out = append(out, facts.Listener{Protocol: "tcp", Address: address, Port: n, Source: p.from})
		}
	}
	return out
}

type kindOfOption int

const (
	noOption kindOfOption = iota
	portOption
	addressOption
	shortOption // only with ADDRESS:PORT
	shortPort   // only with a number
)

func optionKind(s string) kindOfOption {
	switch s {
	case "-p", "-P":
		return shortPort
	case "-l", "-L", "-b", "-a", "-S", "-h", "-H":
		return shortOption
	}
	name, ok := strings.CutPrefix(s, "-")
	if !ok {
		return noOption
	}
	name = strings.ToLower(strings.TrimPrefix(name, "-"))
	switch name {
	case "port", "http-port", "https-port", "listen-port", "server.port", "http.port", "httpport", "tcp-port", "web-port", "web.port":
		return portOption
	case "listen", "listen-address", "listen-addr", "bind", "bind-address", "bind-addr", "address", "addr", "http-address", "http-addr",
		"http-listen", "http-bind", "web.listen-address", "http.listen-address", "listen-on", "host", "socket", "unix-socket", "http.addr",
		"server.address", "listen.address", "http-listen-address", "listenaddress":
		return addressOption
	}
	return noOption
}

// isClient is true for programs whose ports are those of other hosts.
func isClient(program string) bool {
	switch program {
	case "ssh", "autossh", "mysql", "mariadb", "mysqldump", "mysqladmin", "psql", "pg_dump", "curl", "wget", "rsync", "scp", "sftp",
		"redis-cli", "nc", "ncat", "socat", "openvpn", "stunnel", "sh", "bash", "dash":
		return true
	}
	return false
}

// ofVariables finds the addresses in variables that by their name are the
// service's own: PORT, LISTEN_ADDRESS, and NAME_PORT for a unit of that name.
func ofVariables(base string, vars map[string]word) []facts.Listener {
	own := strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == '.' || r == '@' {
			return '_'
		}
		return r
	}, base))
	prefixes := []string{"", own + "_", strings.TrimSuffix(own, "D") + "_"}
	var out []facts.Listener
	for _, p := range prefixes {
		for _, name := range []string{"LISTEN", "LISTEN_ADDRESS", "LISTEN_ADDR", "BIND", "BIND_ADDRESS", "BIND_ADDR", "HTTP_ADDR"} {
			if w, ok := vars[p+name]; ok && strings.Contains(w.text, ":") || ok && strings.HasPrefix(w.text, "/") {
				if l, ok := parseAddress(w.text, "tcp", 0); ok {
					l.Source = w.from
					out = append(out, l)
				}
			}
		}
		for _, name := range []string{"PORT", "HTTP_PORT", "HTTPS_PORT", "LISTEN_PORT", "SERVER_PORT"} {
			w, ok := vars[p+name]
			n, isPort := parsePort(w.text)
			if !ok || !isPort {
				continue
			}
			l := facts.Listener{Protocol: "tcp", Port: n, Source: w.from}
			for _, host := range []string{"ADDRESS", "HOST", "LISTEN_ADDRESS", "BIND_ADDRESS", "BIND", "LISTEN"} {
				if h, ok := vars[p+host]; ok {
					if a, ok := parseHost(h.text); ok && a != "" && !strings.Contains(a, ":") {
						l.Address = a
						break
					}
				}
			}
			out = append(out, l)
		}
	}
	return out
}
