package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/statelift/statelift/pipeline/facts"
	"github.com/statelift/statelift/pipeline/handoff"
	"github.com/statelift/statelift/pipeline/hostpath"
)

// maxTable is far above any hosts(5) or interfaces(5).
const maxTable = 1 << 20

// maxMentions keeps the list readable.
const maxMentions = 200

// readNames learns how the host calls itself, and which names an administrator
// gave to others in hosts(5). own are names and addresses that the user adds.
func (h *host) readNames(own []string) []handoff.HostAlias {
	h.ownAddress = map[string]bool{}
	add := func(name string) {
		if name = strings.ToLower(name); name != "" && name != "localhost" {
			h.ownAddress[name] = true
		}
	}
	add(h.os.Hostname)
	for _, s := range own {
		add(s)
	}
	for _, a := range h.interfaceAddresses() {
		add(a)
	}
	data, err := h.root.ReadFile("/etc/hosts", maxTable)
	if err != nil {
		return nil
	}
	var aliases []handoff.HostAlias
	for i, line := range strings.Split(string(data), "\n") {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(f[0])
		if err != nil || ip.IsMulticast() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() {
			continue
		}
		at := facts.Source{Path: "/etc/hosts", Line: i + 1}
		switch {
		case ip.IsLoopback():
			for _, name := range f[1:] {
				if !strings.HasPrefix(name, "ip6-") && !strings.HasPrefix(name, "localhost") {
					add(name)
				}
			}
		case h.ownAddress[ip.String()] || slices.ContainsFunc(f[1:], func(n string) bool { return h.ownAddress[strings.ToLower(n)] }):
			add(ip.String())
			for _, name := range f[1:] {
				add(name)
			}
			// The services of the host reach themselves by these names.
			aliases = append(aliases, handoff.HostAlias{IP: "127.0.0.1", Names: f[1:], Source: at})
		default:
			aliases = append(aliases, handoff.HostAlias{IP: ip.String(), Names: f[1:], Source: at})
		}
	}
	return aliases
}

// interfaceAddresses are the static addresses in the host's network
// configuration, whichever of the usual kinds it is.
func (h *host) interfaceAddresses() []string {
	files := []hostpath.Path{"/etc/network/interfaces"}
	for _, dir := range []hostpath.Path{"/etc/network/interfaces.d", "/etc/systemd/network", "/etc/netplan", "/etc/sysconfig/network-scripts", "/etc/NetworkManager/system-connections"} {
		list, err := h.root.ReadDir(dir)
		if err != nil {
			continue // not that kind
		}
		for _, d := range list {
			files = append(files, dir.Join(d.Name()))
		}
	}
	var out []string
	for _, file := range files {
		data, err := h.root.ReadFile(file, maxTable)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(data), "\n") {
			out = append(out, addressIn(line)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// addressIn finds the host's own address in a line: one that follows a word like
// address (not gateway, not dns).
func addressIn(line string) []string {
	text := strings.ToLower(strings.TrimSpace(line))
	if strings.HasPrefix(text, "#") {
		return nil
	}
	key, _, _ := strings.Cut(strings.NewReplacer("=", " ", ":", " ").Replace(text), " ")
	own := strings.HasPrefix(key, "address") || strings.HasPrefix(key, "ipaddr") || key == "ipv6addr" || key == "-"
	if !own {
		return nil
	}
	var out []string
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(" \t=[],;\"'", r) }) {
		if prefix, err := netip.ParsePrefix(word); err == nil {
			out = append(out, prefix.Addr().String())
		} else if ip, err := netip.ParseAddr(word); err == nil && key != "-" {
			out = append(out, ip.String())
		}
	}
	return out
}

// findMentions lists settings and variables that name the host by its own name
// or address: they may have to change with it.
func (p *planner) findMentions() {
	own := sortedKeys(p.host.ownAddress)
	seen := map[string]bool{}
	add := func(what string, at facts.Source) {
		if key := what + place(at); !seen[key] && len(p.plan.Mentions) < maxMentions {
			seen[key] = true
			p.plan.Mentions = append(p.plan.Mentions, handoff.Mention{What: what, Source: at})
		}
	}
	for _, v := range p.host.settings {
		if v.Secret {
			continue
		}
		for _, name := range own {
			if containsAddress(strings.ToLower(v.Value), name) {
				add(fmt.Sprintf("%s = %s", v.Key, shorten(v.Value)), v.Source)
				break
			}
		}
	}
	for _, s := range p.services {
		for _, variable := range s.env.order {
			v := s.env.vars[variable]
			for _, name := range own {
				if !v.secret && containsAddress(strings.ToLower(v.value), name) {
					add(fmt.Sprintf("%s: %s = %s", s.id, variable, shorten(v.value)), facts.Source{Path: v.file})
					break
				}
			}
		}
	}
}
