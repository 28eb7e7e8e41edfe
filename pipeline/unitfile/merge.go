package unitfile

import "strings"

// Resets tells which earlier assignments an empty value removes: an empty
// assignment resets the list, and some reset a group of lists (systemd.unit(5),
// systemd.socket(5), systemd.timer(5), systemd.path(5)). Dependencies such as
// After= are never reset.
func Resets(section, key string) func(otherKey string) bool {
	var group func(string) bool
	switch {
	case section == "Unit" && isDependency(key):
		return func(string) bool { return false }
	case section == "Unit" && strings.HasPrefix(key, "Condition"):
		group = func(k string) bool { return strings.HasPrefix(k, "Condition") }
	case section == "Unit" && strings.HasPrefix(key, "Assert"):
		group = func(k string) bool { return strings.HasPrefix(k, "Assert") }
	case section == "Socket" && isListen(key):
		group = isListen
	case section == "Timer" && isTrigger(key):
		group = isTrigger
	case section == "Path" && isWatch(key):
		group = isWatch
	default:
		return func(k string) bool { return k == key }
	}
	return group
}

func isDependency(key string) bool {
	switch key {
	case "Requires", "Requisite", "Wants", "BindsTo", "BindTo", "PartOf", "Upholds", "Conflicts", "Before", "After",
		"OnFailure", "OnSuccess", "PropagatesReloadTo", "ReloadPropagatedFrom", "PropagatesStopTo", "StopPropagatedFrom",
		"JoinsNamespaceOf", "RequiresMountsFor", "WantsMountsFor":
		return true
	}
	return false
}

func isListen(key string) bool {
	switch key {
	case "ListenStream", "ListenDatagram", "ListenSequentialPacket", "ListenFIFO", "ListenSpecial", "ListenNetlink",
		"ListenMessageQueue", "ListenUSBFunction":
		return true
	}
	return false
}

func isTrigger(key string) bool {
	switch key {
	case "OnActiveSec", "OnBootSec", "OnStartupSec", "OnUnitActiveSec", "OnUnitInactiveSec", "OnCalendar":
		return true
	}
	return false
}

func isWatch(key string) bool {
	switch key {
	case "PathExists", "PathExistsGlob", "PathChanged", "PathModified", "DirectoryNotEmpty":
		return true
	}
	return false
}

// Merge appends the assignments of one more file to those before it, where an
// empty value resets. The empty value itself is left out.
func Merge[A any](before, more []A, fields func(A) (section, key, value string)) []A {
	out := before
	for _, a := range more {
		section, key, value := fields(a)
		if value != "" {
			out = append(out, a)
			continue
		}
		gone := Resets(section, key)
		kept := make([]A, 0, len(out))
		for _, b := range out {
			if s, k, _ := fields(b); s != section || !gone(k) {
				kept = append(kept, b)
			}
		}
		out = kept
	}
	return out
}
